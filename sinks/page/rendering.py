"""A view as HTML: the whole page, or what is in its middle where the page asks for that alone."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from fastapi import Request
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse

from sinks.clickhouse.vocabulary import DIMENSIONS
from sinks.figures.desk import Desk
from sinks.figures.plain import plain
from sinks.page import words
from sinks.page.asked import SPANS, WORDS

STATIC: Final = Path(__file__).parent / "static"
MIDDLE: Final = "<!-- middle -->"  # where a view goes, in the frame
FRAGMENT: Final = "x-fragment"  # the header of who wants the middle alone


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
        "used": words.used,
        "plain": plain,
        "words": WORDS,
        "spans": SPANS,
        "dimensions": DIMENSIONS,
        "digests": digests,
    }
    return environment


_TEMPLATES: Final = _templates()


@dataclass(frozen=True, slots=True)
class Shown:
    """A view: its template, the title of its page, and what it shows. ``zone`` and ``currency`` are those of the desk
    and USD, where the context names none."""

    template: str
    title: str
    context: Mapping[str, Any] = field(default_factory=dict)
    status: int = 200


def shown(template: str, *, title: str, status: int = 200, **context: Any) -> Shown:
    return Shown(template, title, context, status)


def refusal(title: str, detail: str, *, status: int) -> Shown:
    return shown("refused.html", title=title, status=status, detail=detail)


def middle(request: Request, view: Shown) -> str:
    """What is in the middle of the page: all that changes when there is news."""
    return _TEMPLATES.get_template(view.template).render(_known(request, view))


def around(request: Request, view: Shown) -> tuple[str, str]:
    """What stands before the middle and behind it."""
    before, _, behind = _TEMPLATES.get_template("frame.html").render(_known(request, view)).partition(MIDDLE)
    return before, behind


def response(request: Request, view: Shown) -> HTMLResponse:
    text = middle(request, view)
    if FRAGMENT not in request.headers:
        before, behind = around(request, view)
        text = f"{before}{text}{behind}"
    return HTMLResponse(text, status_code=view.status, headers=headers(request, view))


def headers(request: Request, view: Shown) -> dict[str, str]:
    return {"x-clock": _clock(request.app.state.desk, view), "cache-control": "no-store"}


def _known(request: Request, view: Shown) -> dict[str, Any]:
    desk: Desk = request.app.state.desk
    zone = view.context.get("zone") or desk.zone
    clocks = desk.clocks(zone)

    known = {
        "title": view.title,
        "root": request.scope.get("root_path", ""),
        "view": view.template.removesuffix(".html"),
        "clock": _clock(desk, view),
        "moment": partial(words.moment, clocks=clocks),
        "currency": "USD",
        "can_act": request.app.state.acknowledge is not None,
    }
    return {**known, **view.context, "zone": zone}


def _clock(desk: Desk, view: Shown) -> str:
    zone = view.context.get("zone") or desk.zone
    return f"{desk.now().astimezone(desk.clocks(zone)):%H:%M:%S} {zone}"
