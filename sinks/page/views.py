"""What each view of the page shows: answers of the desk, asked for together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Any, Final, TypeVar

from costream.alerts import Alert
from sinks.answers.forecast import Forecast
from sinks.errors import WarehouseError
from sinks.figures.desk import Desk, SpanWords, Words
from sinks.figures.refusals import refused_in
from sinks.figures.spend import Step
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


async def overview(desk: Desk, address: Address) -> Context:
    """What was spent this month, by whom, where it will end, and what is wrong. The sums, alerts and budgets on top
    follow the news; the rest comes a little later, so that one open page does not keep the warehouse busy."""
    span, about = address.span, _about(desk, address)
    clocks = desk.clocks(about["zone"])
    month, hour, today = (replace(span, named=named, since="", until="") for named in ("month", "hour", "today"))
    before = replace(span, named=None, **_month_before(desk.now(), clocks))
    asked: Mapping[str, Awaitable[Any]] = {
        "month": desk.whole(month),
        "before": _or_why_not(desk.whole(before, relaxed=True)),
        "hour": desk.whole(hour),
        "today": desk.whole(today),
        "mine": desk.spend(Words(span, by=(address.by,)), limit=ROWS, relaxed=True),
        "models": desk.spend(Words(span, by=("model",)), limit=ROWS, relaxed=True),
        "users": _or_why_not(desk.spend(Words(span, by=("user_id",)), limit=ROWS, relaxed=True)),
        "standing": desk.alerts(standing_only=True, limit=ROWS),
        "budgets": desk.budgets(subjects_max=1),
        "over_time": _over_time(desk, Words(span, by=(address.by,)), step=address.step, clocks=clocks, relaxed=True),
        "month_end": _month_end(desk, span.zone, clocks, relaxed=True),
    }
    told = dict(zip(asked, await asyncio.gather(*asked.values()), strict=True))
    forecast, month_end = told["month_end"]
    return {
        **about,
        **{name: told[name] for name in ("mine", "models", "users", "standing", "over_time")},
        **{name: told[name][1] for name in ("month", "hour", "today")},
        "before": None if isinstance(told["before"], str) else told["before"][1],
        "outlook": next(one for one in forecast.outlooks if one.period == "month"),
        "forecast": forecast,
        "month_end": month_end,
        "budgets": [row for row in told["budgets"] if row["ratio"] is not None][:ROWS],
    }


def _about(desk: Desk, address: Address) -> Context:
    return {"address": address, "zone": address.span.zone or desk.zone, "currency": address.span.currency}


async def _over_time(desk: Desk, words: Words, *, step: Step, clocks: tzinfo, relaxed: bool = False) -> Context:
    page = await desk.over_time(words, step=step, relaxed=relaxed)
    return charts.costs_over_time(page.rows, currency=words.span.currency, clocks=clocks, step=step)


async def _month_end(desk: Desk, zone: str, clocks: tzinfo, *, relaxed: bool = False) -> tuple[Forecast, Context]:
    """The forecast of everything, and the chart of the month with it; both in USD."""
    (forecast, _), days = await asyncio.gather(
        desk.forecast({}, zone=zone, relaxed=relaxed),
        desk.over_time(Words(SpanWords(zone=zone)), step="day", relaxed=relaxed),
    )
    return forecast, charts.month_with_end(days.rows, forecast, clocks=clocks, currency="USD")


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


async def explore(desk: Desk, address: Address) -> Context:
    """Any mix of columns and values, over time, down to single calls."""
    words, about = address.words, _about(desk, address)
    clocks = desk.clocks(about["zone"])
    total, rows, calls, chart = await asyncio.gather(
        desk.total(words),
        desk.spend(words, limit=ROWS_OF_EXPLORE),
        desk.calls(Words(words.span, words.only), limit=CALLS),
        _nothing() if address.of_calls else _over_time(desk, words, step=address.step, clocks=clocks),
    )
    return {
        **about,
        "total": total,
        "rows": rows,
        "calls": calls,
        "over_time": chart,
        "span": desk.span(words.span),
    }


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


async def budgets(desk: Desk, address: Address) -> Context:
    about = _about(desk, address)
    rows, (forecast, month_end) = await asyncio.gather(
        desk.budgets(subjects_max=SUBJECTS),
        _month_end(desk, address.span.zone, desk.clocks(about["zone"])),
    )
    return {**about, "budgets": rows, "forecast": forecast, "month_end": month_end}


async def call(desk: Desk, request_id: str) -> Context:
    return {"found": await desk.explain(request_id), "request_id": request_id}
