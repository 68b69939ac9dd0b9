"""News: an open page hears that there is something new, and fetches its view again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

import anyio
from fastapi import APIRouter, Request, Response
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.responses import PlainTextResponse

from sinks.errors import WarehouseError
from sinks.figures.desk import Desk

LOOK_SECONDS: Final = 1.0
PING_SECONDS: Final = 15
END_SECONDS_MAX: Final = 2.0  # that an open page is given to end in order
LISTENERS_MAX: Final = 500

live = APIRouter(include_in_schema=False)


@dataclass(slots=True)
class Listeners:
    """How many pages listen now."""

    now: int = 0


@live.get("/pulse")
async def pulse(request: Request) -> Response:
    """A text that is another one when there is news, for whoever cannot listen."""
    desk: Desk = request.app.state.desk
    try:
        return PlainTextResponse(await desk.answers.pulse(), headers={"cache-control": "no-store"})
    except WarehouseError:
        return PlainTextResponse("", status_code=503)


@live.get("/live")
async def listen(request: Request) -> Response:
    listeners: Listeners = request.app.state.listeners
    if listeners.now >= LISTENERS_MAX:
        return PlainTextResponse("too many listen now; ask /pulse", status_code=503)
    ending = anyio.Event()
    return EventSourceResponse(
        _news(request.app.state.desk, listeners, ending),
        ping=PING_SECONDS,
        shutdown_event=ending,
        shutdown_grace_period=END_SECONDS_MAX,
    )


async def _news(desk: Desk, listeners: Listeners, ending: anyio.Event) -> AsyncIterator[ServerSentEvent]:
    """Until the server ends. While the warehouse is away there is no news."""
    listeners.now += 1
    before = ""
    try:
        while not ending.is_set():
            now = await _pulse(desk) or before
            if before and now != before:
                yield ServerSentEvent(event="news", data="")
            before = now
            with anyio.move_on_after(LOOK_SECONDS):
                await ending.wait()
    finally:
        listeners.now -= 1


async def _pulse(desk: Desk) -> str:
    try:
        return await desk.answers.pulse()
    except WarehouseError:
        return ""
