"""The addresses of the page that show figures."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from starlette.datastructures import QueryParams
from starlette.responses import StreamingResponse

from sinks.errors import WarehouseError
from sinks.figures.desk import Desk
from sinks.figures.refusals import refused_in
from sinks.figures.spans import BadQuestion
from sinks.page import views
from sinks.page.asked import Address
from sinks.page.rendering import (
    FRAGMENT,
    Shown,
    around,
    headers,
    middle,
    refusal,
    response,
    shown,
)

ID_CHARS_MAX: Final = 1_024
MOMENT_SECONDS: Final = 0.3

Show = Callable[[Desk, Address, QueryParams], Coroutine[Any, Any, Shown]]

page = APIRouter(include_in_schema=False)


def view(path: str, title: str) -> Callable[[Show], Show]:
    """A view at ``/path``; or in its place the sentence that says why there is none.

    Where the figures take longer than a moment, what stands around them is sent first, so that a browser shows
    something.
    """

    def registered(show: Show) -> Show:
        async def answer(request: Request) -> Response:
            showing = asyncio.create_task(_shown(show, path, request))
            if FRAGMENT in request.headers:
                return response(request, await showing)
            done, _ = await asyncio.wait({showing}, timeout=MOMENT_SECONDS)
            if done:
                return response(request, showing.result())
            return _streamed(request, showing, Shown(f"{path or 'overview'}.html", title))

        page.add_api_route(f"/{path}", answer, methods=["GET"])
        return show

    return registered


async def _shown(show: Show, path: str, request: Request) -> Shown:
    query = request.query_params
    try:
        return await show(request.app.state.desk, Address.of(path, query), query)
    except BadQuestion as error:
        return refusal("That cannot be asked", f"{error}.", status=400)
    except WarehouseError as error:
        return not_answered(error)


def _streamed(request: Request, showing: asyncio.Task[Shown], around_it: Shown) -> Response:
    before, behind = around(request, around_it)

    async def parts() -> AsyncIterator[str]:
        yield before
        yield middle(request, await showing)
        yield behind

    return StreamingResponse(parts(), media_type="text/html", headers=headers(request, around_it))


def not_answered(error: WarehouseError) -> Shown:
    if sentence := refused_in(error):
        return refusal("That cannot be asked", f"{sentence}.", status=400)
    detail = "The warehouse does not answer now. This page comes back by itself when it does."
    return refusal("No figures now", detail, status=503)


@view("", "Overview")
async def overview(desk: Desk, address: Address, _: QueryParams) -> Shown:
    return shown("overview.html", title="Overview", **await views.overview(desk, address))


@view("explore", "Explore")
async def explore(desk: Desk, address: Address, _: QueryParams) -> Shown:
    return shown("explore.html", title="Explore", **await views.explore(desk, address))


@view("budgets", "Budgets")
async def budgets(desk: Desk, address: Address, _: QueryParams) -> Shown:
    return shown("budgets.html", title="Budgets", **await views.budgets(desk, address))


@view("alerts", "Alerts")
async def alerts(desk: Desk, _: Address, query: QueryParams) -> Shown:
    content = await views.alerts(desk, every="all" in query)
    return shown("alerts.html", title="Alerts", **content)


@view("alert", "Alert")
async def alert(desk: Desk, _: Address, query: QueryParams) -> Shown:
    alert_id = query.get("id", "")[:ID_CHARS_MAX]
    content = await views.alert(desk, alert_id)
    if content is None:
        return refusal("There is no such alert", f"No alert '{alert_id}' is stored.", status=404)
    return shown("alert.html", title="Alert", **content)


@view("call", "Explain")
async def call(desk: Desk, _: Address, query: QueryParams) -> Shown:
    content = await views.call(desk, query.get("id", "")[:ID_CHARS_MAX])
    return shown("call.html", title="Explain", **content)
