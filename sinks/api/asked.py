"""The parameters that questions share, as FastAPI reads and documents them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Annotated

from fastapi import Depends, Query, Request

from sinks.api.formats import Format
from sinks.clickhouse.vocabulary import DIMENSIONS
from sinks.figures.desk import Desk, SpanWords
from sinks.figures.spans import Named
from sinks.figures.spend import COLUMNS, Only

CHARS_MAX = 1_024
Text = Annotated[str, Query(max_length=CHARS_MAX)]
Values = Annotated[
    list[str], Query(description="Only calls with one of these values; may be repeated. Empty: those without.")
]
Zone = Annotated[
    str,
    Query(max_length=60, description="By whose clocks days begin, such as Asia/Seoul. By itself that of the server."),
]
Currency = Annotated[
    str, Query(max_length=3, description="Of `cost`, beside `cost_usd`; null where a day of it has no exchange rate.")
]
Limit = Annotated[int, Query(ge=1, le=10_000, description="Rows at the most; `next` says where the rest begins.")]
Hours = Annotated[int, Query(description="The last so many hours, up to now.")]
Written = Annotated[
    Format | None, Query(alias="format", description="json, csv or arrow; else what `Accept` names, else json.")
]
Dimension = Annotated[str | None, Query(json_schema_extra={"enum": list(DIMENSIONS)})]
Column = Annotated[str, Query(json_schema_extra={"enum": list(COLUMNS)})]
ByColumns = Annotated[
    list[str],
    Query(
        description="What tells rows apart; may be repeated.",
        json_schema_extra={"items": {"type": "string", "enum": list(COLUMNS)}},
    ),
]


def desk_of(request: Request) -> Desk:
    desk: Desk = request.app.state.desk
    return desk


def span_words(
    span: Annotated[Named | None, Query(description="By name; by itself `month`, from its first day on.")] = None,
    since: Annotated[
        str,
        Query(alias="from", max_length=60, description="A day, or a moment in ISO 8601; instead of `span`."),
    ] = "",
    until: Annotated[
        str, Query(alias="to", max_length=60, description="Until before this day or moment; by itself now.")
    ] = "",
    zone: Zone = "",
    currency: Currency = "USD",
) -> SpanWords:
    return SpanWords.of(span, since, until, zone=zone, currency=currency)


def filters(names: Sequence[str]) -> Callable[..., dict[str, list[str]]]:
    """A dependency with a parameter for each of ``names``: what is given of them."""

    def given(**values: list[str]) -> dict[str, list[str]]:
        return {name: found for name, found in values.items() if found}

    parameters = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=[], annotation=Values) for name in names
    ]
    given.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # FastAPI goes by it
    return given


def form_of(request: Request, written: Written = None) -> Format:
    if written is not None:
        return written
    accepted = request.headers.get("accept", "")
    if "text/csv" in accepted:
        return "csv"
    return "arrow" if "vnd.apache.arrow" in accepted else "json"


TheDesk = Annotated[Desk, Depends(desk_of)]
TheSpan = Annotated[SpanWords, Depends(span_words)]
Filters = Annotated[Only, Depends(filters(DIMENSIONS))]
FiltersOfCalls = Annotated[Only, Depends(filters(COLUMNS))]
Form = Annotated[Format, Depends(form_of)]
