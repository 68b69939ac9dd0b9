"""A view as HTML: the whole page, or what is in its middle where the page asks for that alone."""

from __future__ import annotations

import hashlib
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from fastapi import Request
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse

from sinks.api.formats import plain
from sinks.clickhouse.vocabulary import DIMENSIONS
from sinks.figures.desk import Desk
from sinks.page import views, words
from sinks.page.asked import SPANS, WORDS

STATIC: Final = Path(__file__).parent / "static"


def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("sinks.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    digests = {file.name: hashlib.sha256(file.read_bytes()).hexdigest()[:8] for file in STATIC.iterdir()}
    environment.globals |= {
        "money": words.money,
        "exact": words.exact,
        "percent": words.percent,
        "count": words.count,
        "counted": words.counted,
        "change": words.change,
        "named": words.name,
        "used": views.used,
        "plain": plain,
        "words": WORDS,
        "spans": SPANS,
        "dimensions": DIMENSIONS,
        "digests": digests,
    }
    return environment


_TEMPLATES: Final = _templates()


def shown(request: Request, template: str, *, title: str, status: int = 200, **context: Any) -> HTMLResponse:
    """``zone`` and ``currency`` are those of the desk and USD, where the context names none."""
    desk: Desk = request.app.state.desk
    zone = context.get("zone") or desk.zone
    clocks = desk.clocks(zone)
    clock = f"{desk.now().astimezone(clocks):%H:%M:%S} {zone}"

    def moment(at: datetime) -> str:
        return words.moment(views.aware(at), clocks)

    known = {
        "title": title,
        "fragment": "x-fragment" in request.headers,
        "root": request.scope.get("root_path", ""),
        "view": template.removesuffix(".html"),
        "clock": clock,
        "moment": moment,
        "currency": "USD",
    }
    text = _TEMPLATES.get_template(template).render({**known, **context, "zone": zone})
    return HTMLResponse(text, status_code=status, headers={"x-clock": clock, "cache-control": "no-store"})


def refusal(request: Request, title: str, detail: str, *, status: int) -> HTMLResponse:
    return shown(request, "refused.html", title=title, status=status, detail=detail)
