"""What each view of the page shows: answers of the desk, asked for together."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Any, Final, TypeVar

from costream.alerts import Alert
from sinks.answers.forecast import Forecast
from sinks.errors import WarehouseError
from sinks.figures.desk import Desk, SpanWords, Words
from sinks.figures.refusals import refused_in
from sinks.page import charts
from sinks.page.asked import Address

ROWS: Final = 12
ROWS_OF_EXPLORE: Final = 100
CALLS: Final = 50
ALERTS: Final = 200
SUBJECTS: Final = 8

EFFECTS: Final[Mapping[str, str]] = {
    "calls": "number of calls",
    "tokens_per_call": "tokens a call",
    "model_mix": "choice of models",
    "output_share": "share of output",
    "cached_share": "share of cached input",
    "price": "price",
}

Context = dict[str, Any]
T = TypeVar("T")


async def overview(desk: Desk, address: Address, clocks: tzinfo) -> Context:
    """What was spent this month, by whom, where it will end, and what is wrong. The sums, alerts and budgets on top
    follow the news; the rest comes a little later, so that one open page does not keep the warehouse busy."""
    span, now = address.span, desk.now()
    month, hour, today = (replace(span, named=named, since="", until="") for named in ("month", "hour", "today"))
    before = replace(span, named=None, **_month_before(now, clocks))
    asked: Mapping[str, Awaitable[Any]] = {
        "found": desk.forecast({}, zone=span.zone, relaxed=True),
        "month": desk.whole(month),
        "before": _or_why_not(desk.whole(before, relaxed=True)),
        "hour": desk.whole(hour),
        "today": desk.whole(today),
        "mine": desk.spend(Words(span, by=(address.by,)), limit=ROWS, relaxed=True),
        "models": desk.spend(Words(span, by=("model",)), limit=ROWS, relaxed=True),
        "users": _or_why_not(desk.spend(Words(span, by=("user_id",)), limit=ROWS, relaxed=True)),
        "standing": desk.alerts(standing_only=True, limit=ROWS),
        "budgets": desk.budgets(subjects_max=1),
        "drawn": desk.over_time(
            Words(span, by=(address.by,)), step="hour" if address.steps_by_hour else "day", relaxed=True
        ),
        "days": desk.over_time(Words(replace(month, currency="USD")), step="day", relaxed=True),
    }
    told = dict(zip(asked, await asyncio.gather(*asked.values()), strict=True))
    forecast: Forecast = told["found"][0]
    return {
        **{name: told[name] for name in ("mine", "models", "users", "standing")},
        **{name: told[name][1] for name in ("month", "hour", "today")},
        "before": None if isinstance(told["before"], str) else told["before"][1],
        "outlook": next(one for one in forecast.outlooks if one.period == "month"),
        "forecast": forecast,
        "budgets": [row for row in told["budgets"] if row["ratio"] is not None][:ROWS],
        "over_time": charts.costs_over_time(
            told["drawn"].rows,
            currency=span.currency,
            clocks=clocks,
            step="hour" if address.steps_by_hour else "day",
        ),
        "month_end": charts.month_with_end(told["days"].rows, forecast, clocks=clocks, currency="USD"),
    }


async def _or_why_not(asked: Awaitable[T]) -> T | str:
    """A span that needs single calls which have expired is refused in a sentence, and the rest of the view is
    shown."""
    try:
        return await asked
    except WarehouseError as error:
        if sentence := refused_in(error):
            return sentence
        raise


def _month_before(now: datetime, clocks: tzinfo) -> dict[str, str]:
    """From the first of the month before until the end of the same hour of the same day, or of that month: what the
    board of Grafana holds this month against."""
    local = now.astimezone(clocks).replace(tzinfo=None)
    first = local.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    start = (first - timedelta(days=1)).replace(day=1)
    hours = (local - first) // timedelta(hours=1) + 1
    end = min(start + timedelta(hours=hours), first)
    return {"since": start.isoformat(), "until": end.isoformat()}


async def explore(desk: Desk, address: Address, clocks: tzinfo) -> Context:
    """Any mix of columns and values, over time, down to single calls."""
    words, step = address.words, "hour" if address.steps_by_hour else "day"
    of_time = None if address.of_calls else desk.over_time(words, step="hour" if step == "hour" else "day")
    total, rows, calls, drawn = await asyncio.gather(
        desk.total(words),
        desk.spend(words, limit=ROWS_OF_EXPLORE),
        desk.calls(Words(words.span, words.only), limit=CALLS),
        of_time if of_time is not None else _nothing(),
    )
    chart = None
    if drawn is not None:
        chart = charts.costs_over_time(drawn.rows, currency=words.span.currency, clocks=clocks, step=step)
    return {"total": total, "rows": rows, "calls": calls, "over_time": chart, "span": desk.span(words.span)}


async def _nothing() -> None:
    return None


async def alerts(desk: Desk, *, every: bool) -> Context:
    found, acts = await asyncio.gather(desk.alerts(standing_only=not every, limit=ALERTS), desk.acts())
    seen_to = {act.alert_id: act for act in acts if act.kind == "ack"}
    return {"alerts": found, "every": every, "seen_to": seen_to, "silences": [a for a in acts if a.kind == "silence"]}


async def alert(desk: Desk, alert_id: str) -> Context | None:
    found = await desk.alert(alert_id)
    if not found.revisions:
        return None
    return {"alert": found.revisions[-1], "history": found, "parts": parts_of(found.revisions[-1])}


def parts_of(alert: Alert) -> Sequence[tuple[str, Decimal]]:
    """What a rise is made of, the greatest first; what changed nothing is left out."""
    difference = alert.metadata.get("difference")
    effects = difference.get("effects") if isinstance(difference, Mapping) else None
    if not isinstance(effects, Mapping):
        return ()
    amounts = [(EFFECTS.get(name, name), _amount(value)) for name, value in effects.items()]
    told = [(name, amount) for name, amount in amounts if amount]
    return sorted(told, key=lambda part: -abs(part[1]))


def _amount(value: object) -> Decimal:
    """Alerts on the topic may be anybody's: what is no amount is none."""
    try:
        return Decimal(str(value))
    except ArithmeticError:
        return Decimal(0)


async def budgets(desk: Desk, address: Address, clocks: tzinfo) -> Context:
    month = SpanWords(zone=address.span.zone)
    rows, found, days = await asyncio.gather(
        desk.budgets(subjects_max=SUBJECTS),
        desk.forecast({}, zone=address.span.zone),
        desk.over_time(Words(month), step="day"),
    )
    forecast: Forecast = found[0]
    return {
        "budgets": rows,
        "forecast": forecast,
        "month_end": charts.month_with_end(days.rows, forecast, clocks=clocks, currency="USD"),
    }


async def call(desk: Desk, request_id: str) -> Context:
    found = await desk.explain(request_id)
    return {"found": found, "request_id": request_id, "texts": [_texts(row) for row in found["calls"]]}


def _texts(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """JSON columns of a call, opened."""
    return {name: json.loads(row[name] or "{}") for name in ("metadata", "quantities") if name in row}


def used(ratio: Decimal | None) -> Decimal:
    """Of a bar: 0 to 100."""
    return Decimal(0) if ratio is None else max(Decimal(0), min(Decimal(100), ratio * 100))


def aware(at: datetime) -> datetime:
    return at if at.tzinfo else at.replace(tzinfo=UTC)
