"""The addresses of the page that show figures."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final

from fastapi import APIRouter, Request, Response

from sinks.api.app import refused_in
from sinks.errors import WarehouseError
from sinks.figures.desk import Desk
from sinks.figures.spans import BadQuestion
from sinks.page import views
from sinks.page.asked import Address
from sinks.page.rendering import refusal, shown

ID_CHARS_MAX: Final = 1_024

Show = Callable[[Request, Desk, Address], Coroutine[Any, Any, Response]]

page = APIRouter(include_in_schema=False)


def view(path: str) -> Callable[[Show], Show]:
    """A view at ``/path``; or in its place the sentence that says why there is none."""

    def registered(show: Show) -> Show:
        async def answer(request: Request) -> Response:
            try:
                return await show(request, request.app.state.desk, Address.of(path, request.query_params))
            except BadQuestion as error:
                return refusal(request, "That cannot be asked", f"{error}.", status=400)
            except WarehouseError as error:
                return not_answered(request, error)

        page.add_api_route(f"/{path}", answer, methods=["GET"])
        return show

    return registered


def not_answered(request: Request, error: WarehouseError) -> Response:
    if sentence := refused_in(error):
        return refusal(request, "That cannot be asked", f"{sentence}.", status=400)
    detail = "The warehouse does not answer now. This page comes back by itself when it does."
    return refusal(request, "No figures now", detail, status=503)


@view("")
async def overview(request: Request, desk: Desk, address: Address) -> Response:
    zone = address.span.zone or desk.zone
    content = await views.overview(desk, address, desk.clocks(zone))
    about: views.Context = {"address": address, "zone": zone, "currency": address.span.currency}
    return shown(request, "overview.html", title="Overview", **content, **about)


@view("explore")
async def explore(request: Request, desk: Desk, address: Address) -> Response:
    zone = address.span.zone or desk.zone
    content = await views.explore(desk, address, desk.clocks(zone))
    about: views.Context = {"address": address, "zone": zone, "currency": address.span.currency}
    return shown(request, "explore.html", title="Explore", **content, **about)


@view("budgets")
async def budgets(request: Request, desk: Desk, address: Address) -> Response:
    zone = address.span.zone or desk.zone
    content = await views.budgets(desk, address, desk.clocks(zone))
    return shown(request, "budgets.html", title="Budgets", zone=zone, **content)


@view("alerts")
async def alerts(request: Request, desk: Desk, _: Address) -> Response:
    content = await views.alerts(desk, every="all" in request.query_params)
    return shown(request, "alerts.html", title="Alerts", **content)


@view("alert")
async def alert(request: Request, desk: Desk, _: Address) -> Response:
    alert_id = request.query_params.get("id", "")[:ID_CHARS_MAX]
    content = await views.alert(desk, alert_id)
    if content is None:
        return refusal(request, "There is no such alert", f"No alert '{alert_id}' is stored.", status=404)
    can_act = request.app.state.acknowledge is not None
    return shown(request, "alert.html", title="Alert", can_act=can_act, **content)


@view("call")
async def call(request: Request, desk: Desk, _: Address) -> Response:
    content = await views.call(desk, request.query_params.get("id", "")[:ID_CHARS_MAX])
    return shown(request, "call.html", title="Explain", **content)
