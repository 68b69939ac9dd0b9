"""The whole that answers: the page and the API behind one door, to run by itself or to mount in a host's own."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from sinks.api.access import REQUESTS_A_MINUTE, Access, Token
from sinks.api.app import make_api
from sinks.figures.desk import Desk
from sinks.page.acts import Acknowledge, acts
from sinks.page.live import Listeners, live
from sinks.page.rendering import STATIC
from sinks.page.routes import page


def make_app(
    desk: Desk,
    *,
    tokens: Sequence[Token] = (),
    requests_a_minute: int = REQUESTS_A_MINUTE,
    acknowledge: Acknowledge | None = None,
) -> ASGIApp:
    """For an ASGI server, or mounted: ``host.mount("/costs", make_app(desk))``. Without ``acknowledge`` nobody can say
    on the page that an alert is seen to."""
    app = make_api(desk)
    access = Access(app, tokens=tokens, requests_a_minute=requests_a_minute)
    app.state.access, app.state.acknowledge, app.state.listeners = access, acknowledge, Listeners()
    for router in (page, acts, live):
        app.include_router(router)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    return access
