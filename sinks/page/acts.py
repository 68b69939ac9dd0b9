"""What people do on the page: give a token, and say that they see to an alert."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Final
from urllib.parse import parse_qs, urlsplit

import structlog
from anyio import to_thread
from fastapi import APIRouter, Request, Response
from starlette.responses import RedirectResponse

from sinks.api.access import COOKIE, Access
from sinks.clickhouse.acts import NOTE_CHARS_MAX, Act, new_act
from sinks.errors import WarehouseError
from sinks.figures.desk import Desk
from sinks.page.rendering import refusal, response, shown

Acknowledge = Callable[[Act], object]  # stores what a person has done about an alert

FORM_BYTES_MAX: Final = 8_192
ACK_HOURS: Final = {"4": 4, "24": 24, "168": 168}
NAME_CHARS_MAX: Final = 100

NOT_STORED: Final = (
    "The warehouse did not take it, and nobody is told less than before. Does it answer, and may the user of this "
    "server write? The log of the server has the reason."
)

acts = APIRouter(include_in_schema=False)
log = structlog.get_logger(__name__)


@acts.post("/alerts/ack")
async def ack(request: Request) -> Response:
    desk: Desk = request.app.state.desk
    acknowledge: Acknowledge | None = request.app.state.acknowledge
    form = await _form(request)
    if acknowledge is None or not _is_ours(request):
        return response(request, refusal("Not from here", "Nothing was done.", status=403))
    act = _ack(form, at=desk.now())
    try:
        if act is None or not (await desk.alert(act.alert_id)).revisions:
            told = "An alert that is stored, a name and a time are needed; nothing was done."
            return response(request, refusal("That cannot be done", told, status=400))
        await to_thread.run_sync(partial(acknowledge, act))
    except WarehouseError as error:
        log.warning("act_not_stored", alert_id=form.get("id", ""), reason=str(error))
        return response(request, refusal("Not stored", NOT_STORED, status=503))
    return RedirectResponse(f"{request.scope.get('root_path', '')}/alerts", status_code=303)


def _ack(form: Mapping[str, str], *, at: datetime) -> Act | None:
    """None where something is missing."""
    alert_id, by, hours = form.get("id", ""), form.get("by", "").strip(), ACK_HOURS.get(form.get("hours", ""))
    if not (alert_id and by and hours):
        return None
    until, note = at + timedelta(hours=hours), form.get("note", "").strip()[:NOTE_CHARS_MAX]
    return new_act("ack", alert_id=alert_id, until=until, acted_by=by[:NAME_CHARS_MAX], note=note, at=at)


@acts.get("/login")
async def login(request: Request) -> Response:
    return response(request, shown("login.html", title="Token", detail=""))


@acts.post("/login")
async def let_in(request: Request) -> Response:
    access: Access = request.app.state.access
    secret = (await _form(request)).get("token", "").strip()
    if access.named(secret) is None:
        return response(request, shown("login.html", title="Token", status=401, detail="That token is not known."))
    root = request.scope.get("root_path", "")
    answer = RedirectResponse(f"{root}/", status_code=303)
    secure = request.url.scheme == "https"
    answer.set_cookie(COOKIE, secret, httponly=True, samesite="strict", secure=secure, path=root or "/")
    return answer


async def _form(request: Request) -> Mapping[str, str]:
    """The fields of a form, the first of each name; of one that is too large, none."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > FORM_BYTES_MAX:
            return {}
    return {name: values[0] for name, values in parse_qs(body.decode(errors="replace")).items()}


def _is_ours(request: Request) -> bool:
    """Whether the form was sent from this page, and not by another one through the same browser."""
    origin = request.headers.get("origin", "")
    return bool(origin) and urlsplit(origin).netloc == request.headers.get("host", "")
