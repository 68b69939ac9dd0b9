"""costream forecast: what will have been spent when the day, the week and the month end."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.table import Column, Table

from stream.cli import common

if TYPE_CHECKING:
    from sinks.answers.forecast import Forecast
    from stream.runtime.settings import Settings

Value = Annotated[str | None, typer.Option(metavar="VALUE", help="Only calls with this value; '' for those without.")]

METHODS: Final = {
    "rhythm": "the last two weeks, the trend of {weeks} weeks, and what each weekday usually is; from {days}",
    "elapsed": "too little history ({days}; 14 are needed): what was spent so far, divided by the share of the period "
    "that is over",
}


def forecast(
    provider: Value = None,
    model: Value = None,
    operation: Value = None,
    feature: Value = None,
    task_type: Value = None,
    team: Value = None,
    environment: Value = None,
    zone: Annotated[str, typer.Option(help="By whose clocks days begin. Default: COSTREAM_ZONE.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object; money is text.")] = False,
) -> None:
    """Tell what will have been spent when this day, this week and this month end: USD so far, USD expected, and between
    which amounts the end will be in 80 of 100 cases. Of everything together, or of calls with these values.

    Told from the hours of the last 112 days. With less than 14 whole days it says so and tells the simple projection.
    docs/forecast.md has the method and how far off it was.

    Example: costream forecast --feature chatbot --team search --zone Asia/Seoul
    """
    settings = common.settings()
    address = common.address(settings)
    from sinks.answers.forecast import Hour, as_document, known_since
    from sinks.answers.forecast import forecast as told_from
    from sinks.clickhouse.hours_of_subjects import hours_of_subjects
    from sinks.clickhouse.reader import Reader

    clocks = _clocks(zone, settings)
    asked = {
        "provider": provider,
        "model": model,
        "operation": operation,
        "feature": feature,
        "task_type": task_type,
        "team": team,
        "environment": environment,
    }
    scope = {dimension: value for dimension, value in asked.items() if value is not None}
    now = _now()
    since = known_since(now, clocks)
    with common.explained(), closing(Reader(address)) as reader:
        only = {dimension: [value] for dimension, value in scope.items()}
        hours = [Hour(*row) for row in hours_of_subjects(reader, since=since, until=now, only=only).iter_rows()]
    found = told_from(hours, now=now, since=since, zone=clocks)
    if as_json:
        typer.echo(json.dumps(as_document(found, scope=scope, zone=zone or settings.zone), ensure_ascii=False))
    else:
        _tell(found, scope, clocks, zone or settings.zone)


def _now() -> datetime:
    return datetime.now(UTC)


def _clocks(name: str, settings: Settings) -> tzinfo:
    from stream.budgets.zones import NoZone, zone

    try:
        return zone(name or settings.zone)
    except NoZone as error:
        common.fail(f"--zone: {common.visible(str(error))}; nothing was asked", status=common.EXIT_USAGE)


def _tell(found: Forecast, scope: Mapping[str, str], clocks: tzinfo, zone: str) -> None:
    what = ", ".join(f"{dimension} '{value}'" for dimension, value in scope.items()) or "everything together"
    common.say(f"cost of {what}, as of {_moment(found.made_at, clocks)} ({zone})", style="bold")
    if not found.calls:
        common.say("no call of it is stored in the last 112 days: there is nothing to tell a forecast from")
        return
    days = common.counted(found.whole_days, "whole day")
    common.say(METHODS[found.method].format(weeks=found.weeks, days=days))
    right = [
        Column(name, justify="right", overflow="fold") for name in ("so far USD", "expected USD", "80 % from", "to")
    ]
    table = Table(Column("", no_wrap=True), Column("ends", no_wrap=True), *right, box=None, pad_edge=False)
    for one in found.outlooks:
        amounts = (one.so_far, one.expected, one.low, one.high)
        table.add_row(one.period, _moment(one.end, clocks), *map(_usd, amounts))
    common.console.print(table)
    for sentence in _notes(found):
        common.say(sentence)


def _notes(found: Forecast) -> list[str]:
    notes = []
    if found.unpriced_calls:
        of = f"{found.unpriced_calls:,} of {common.counted(found.calls, 'call')}"
        notes.append(f"{of} have no price: they are in none of these figures")
    if any(one.expected is None for one in found.outlooks):
        notes.append("unknown: less than 5 % of the period is over, which says nothing of the rest")
    elif found.method == "rhythm" and any(one.low is None for one in found.outlooks):
        notes.append("unknown: the errors of earlier forecasts are known from 35 whole days on")
    return notes


def _moment(moment: datetime, clocks: tzinfo) -> str:
    return f"{moment.astimezone(clocks):%Y-%m-%d %H:%M}"


def _usd(amount: Decimal | None) -> str:
    from costream.alerts import rounded

    return "unknown" if amount is None else f"{rounded(amount, digits=2):,f}"
