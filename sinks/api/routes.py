"""The questions under /v1."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any, Final

import polars as pl
from fastapi import APIRouter, Path, Query, Request, Response

from sinks.answers.forecast import as_document
from sinks.api import shapes
from sinks.api.asked import (
    CHARS_MAX,
    ByColumns,
    Column,
    Dimension,
    Filters,
    FiltersOfCalls,
    Form,
    Hours,
    Limit,
    Text,
    TheDesk,
    TheSpan,
    Zone,
)
from sinks.api.formats import MEDIA, document, problem, table
from sinks.figures.desk import SUBJECTS_MAX, Words
from sinks.figures.spend import Step
from sinks.figures.system import MonthsBy

Name = Annotated[str, Path(max_length=CHARS_MAX)]

REFUSALS: Final[dict[int | str, dict[str, Any]]] = {
    400: {"model": shapes.Problem, "description": "The question cannot be meant; `detail` says which part."},
    401: {"model": shapes.Problem, "description": "A token is needed."},
    413: {"model": shapes.Problem, "description": "The question takes too much time or memory."},
    429: {"model": shapes.Problem, "description": "Too many requests in a minute."},
    503: {"model": shapes.Problem, "description": "The warehouse does not answer now."},
}
NOT_FOUND: Final[dict[int | str, dict[str, Any]]] = {404: {"model": shapes.Problem, "description": "There is none."}}

api = APIRouter(prefix="/v1", responses=REFUSALS, tags=["figures"])


def _says(model: type[Any], *, tables: bool = False) -> dict[int | str, dict[str, Any]]:
    """The answer in the OpenAPI document; the code writes its bytes itself."""
    forms: dict[str, Any] = {media: {} for form, media in MEDIA.items() if form != "json"} if tables else {}
    return {200: {"model": model, "content": forms, "description": "The answer."}}


@api.get("/spend", responses=_says(shapes.Spend, tables=True), summary="What was spent, by any columns")
async def spend(
    request: Request,
    desk: TheDesk,
    span: TheSpan,
    only: FiltersOfCalls,
    form: Form,
    by: ByColumns = ["feature"],  # noqa: B006 - FastAPI copies it
    limit: Limit = 1_000,
    offset: Annotated[int, Query(ge=0, le=1_000_000, description="Rows to pass over.")] = 0,
) -> Response:
    """The dearest first. Users, sessions and price versions are told from single calls, which are kept for
    COSTREAM_RETENTION; users alone from their days."""
    words = Words.of(span, only, by)
    page, total = await asyncio.gather(desk.spend(words, limit=limit, offset=offset), desk.total(words))
    beside = page.span.told | {"total": total}
    return table(request, page.rows, form=form, beside=beside, more=offset + limit if page.has_more else None)


@api.get("/spend/over-time", responses=_says(shapes.SpendOverTime, tables=True), summary="What was spent, over time")
async def spend_over_time(
    request: Request,
    desk: TheDesk,
    span: TheSpan,
    only: Filters,
    form: Form,
    step: Annotated[Step, Query(description="Hours of UTC that begin in the span, or days of the zone.")] = "day",
    by: Dimension = None,
) -> Response:
    """By a dimension: a line for each of the eight dearest, and one for the rest."""
    page = await desk.over_time(Words.of(span, only, (by,) if by else ()), step=step)
    return table(request, page.rows, form=form, beside=page.span.told | {"step": step})


@api.get("/total", responses=_says(shapes.Whole), summary="All calls of a span in one")
async def whole(request: Request, desk: TheDesk, span: TheSpan) -> Response:
    asked, found = await desk.whole(span)
    return document(request, asked.told | found)


@api.get("/calls", responses=_says(shapes.Calls, tables=True), summary="Single calls, the newest first")
async def calls(
    request: Request,
    desk: TheDesk,
    span: TheSpan,
    only: FiltersOfCalls,
    form: Form,
    limit: Limit = 100,
    after: Annotated[str, Query(max_length=4_096, description="The `next` of the answer before.")] = "",
) -> Response:
    page = await desk.calls(Words.of(span, only), limit=limit, after=after)
    return table(request, page.rows, form=form, beside=page.span.told, more=page.next_call)


@api.get(
    "/calls/{request_id:path}",
    responses=_says(shapes.Explained) | NOT_FOUND,
    summary="Why a call costs what it costs",
)
async def explain(request: Request, desk: TheDesk, request_id: Name) -> Response:
    """Its quantities times the prices that were in force, where those stand, and what was refused or taken out under
    the same id."""
    found = await desk.explain(request_id)
    if not any(found[name] for name in ("calls", "removed", "dead_letters")):
        return problem(404, f"no call with the id '{request_id}' is stored")
    return document(request, found)


@api.get("/values", responses=_says(shapes.ColumnValues), summary="The values that a column has, the dearest first")
async def values(request: Request, desk: TheDesk, span: TheSpan, column: Column) -> Response:
    beside = desk.span(span).told | {"column": column}
    return document(request, beside | {"values": await desk.values(span, column)})


@api.get("/users/costs", responses=_says(shapes.UserCosts, tables=True), summary="What one user spends, by model")
async def user_cost_summary(
    request: Request,
    desk: TheDesk,
    form: Form,
    user_id: Annotated[str, Query(max_length=CHARS_MAX)],
    period_hours: Hours = 24,
) -> Response:
    """In USD, the dearest first; a user who is not known has no row."""
    rows = await desk.user_cost_summary(user_id=user_id, period_hours=period_hours)
    beside = {"user_id": user_id, "period_hours": period_hours, "currency": "USD"}
    return table(request, rows, form=form, beside=beside)


@api.get("/users/top", responses=_says(shapes.Rows, tables=True), summary="Who costs most this month (UTC)")
async def top_users(request: Request, desk: TheDesk, form: Form) -> Response:
    return table(request, await desk.top_users(), form=form, beside={})


@api.get("/system/metrics", responses=_says(shapes.SystemMetrics), summary="The last hours of the whole system")
async def system_metrics(request: Request, desk: TheDesk, period_hours: Hours = 24) -> Response:
    """Hours, providers and tasks sum to the total each."""
    return document(request, await desk.system_metrics(period_hours=period_hours))


@api.get("/months", responses=_says(shapes.Rows, tables=True), summary="Each month (UTC) beside the one before it")
async def months(
    request: Request,
    desk: TheDesk,
    form: Form,
    by: Annotated[MonthsBy, Query(description="By feature or model; by itself all calls together.")] = "",
    limit: Limit = 1_000,
) -> Response:
    """What was spent in USD, and the change; null where the month before is not known."""
    return table(request, await desk.months(by=by, limit=limit), form=form, beside={})


@api.get("/budgets", responses=_says(shapes.Budgets, tables=True), summary="Where each budget and limit stands now")
async def budgets(
    request: Request,
    desk: TheDesk,
    form: Form,
    budget: Text = "",
    subjects: Annotated[int, Query(ge=1, le=SUBJECTS_MAX, description="Of each budget so many subjects.")] = 5,
) -> Response:
    rows = await desk.budgets(name=budget, subjects_max=subjects)
    return table(request, pl.DataFrame(rows, infer_schema_length=None), form=form, beside={})


@api.get("/forecast", responses=_says(shapes.Forecast), summary="What the day, the week and the month will have cost")
async def forecast(request: Request, desk: TheDesk, only: Filters, zone: Zone = "") -> Response:
    """In USD. `low` and `high` hold the end in 80 of 100 cases (docs/forecast.md)."""
    found, named = await desk.forecast(only, zone=zone)
    scope: Mapping[str, Any] = {name: list(values) for name, values in only.items()}
    return document(request, as_document(found, scope=scope, zone=named))


@api.get("/alerts", responses=_says(shapes.Alerts), summary="Alerts, the latest first")
async def alerts(
    request: Request,
    desk: TheDesk,
    standing: Annotated[bool, Query(description="Those that stand now alone.")] = True,
    limit: Limit = 100,
) -> Response:
    found = await desk.alerts(standing_only=standing, limit=limit)
    return document(request, {"rows": [json.loads(alert.to_json()) for alert in found], "next": None})


@api.get(
    "/alerts/{alert_id}",
    responses=_says(shapes.AlertHistory) | NOT_FOUND,
    summary="One alert: its revisions, who was told, and what people have done",
)
async def alert(request: Request, desk: TheDesk, alert_id: Name) -> Response:
    found = await desk.alert(alert_id)
    if not found.revisions:
        return problem(404, f"no alert '{alert_id}' is stored")
    content = {
        "revisions": [json.loads(each.to_json()) for each in found.revisions],
        "deliveries": found.deliveries,
        "acts": [asdict(act) for act in found.acts],
    }
    return document(request, content)
