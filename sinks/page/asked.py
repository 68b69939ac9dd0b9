"""What an address of the page asks for, and addresses that ask for something else beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import urlencode

from starlette.datastructures import QueryParams

from sinks.figures.desk import SpanWords, Words
from sinks.figures.spans import NAMED, BadQuestion, Named
from sinks.figures.spend import COLUMNS, Step, of_calls

SPANS: Final[Mapping[Named, str]] = {
    "hour": "Last 60 minutes",
    "24h": "Last 24 hours",
    "today": "Today",
    "yesterday": "Yesterday",
    "week": "This week",
    "7d": "Last 7 days",
    "30d": "Last 30 days",
    "month": "This month",
    "last-month": "Last month",
    "90d": "Last 90 days",
}
WORDS: Final[Mapping[str, str]] = {
    "provider": "Provider",
    "model": "Model",
    "operation": "Operation",
    "feature": "Feature",
    "task_type": "Task type",
    "team": "Team",
    "environment": "Environment",
    "user_id": "User",
    "session_id": "Session",
    "price_version": "Price version",
    "status": "Status",
    "service_tier": "Service tier",
}
ROWS_MAX: Final = 10_000  # of one answer of the API
HOURLY: Final = frozenset({"hour", "24h", "today", "yesterday"})  # a day of these is one bar


@dataclass(frozen=True, slots=True)
class Address:
    """Of one view of the page, such as ``explore``."""

    path: str
    span: SpanWords
    only: tuple[tuple[str, tuple[str, ...]], ...]
    by: str

    @classmethod
    def of(cls, path: str, query: QueryParams) -> Address:
        """Raises ``BadQuestion``."""
        since, until, named = query.get("from", ""), query.get("to", ""), query.get("span", "")
        if named and named not in NAMED:
            raise BadQuestion(f"span: '{named[:40]}' is none of {', '.join(NAMED)}")
        span = SpanWords(
            named=named or (None if since else "30d"),
            since="" if named else since,
            until="" if named else until,
            zone=query.get("zone", ""),
            currency=query.get("currency", "") or "USD",
        )
        only = {column: query.getlist(column) for column in COLUMNS if column in query}
        return cls(path, span, Words.of(span, only).only, query.get("by", "feature"))

    @property
    def words(self) -> Words:
        return Words(self.span, self.only, (self.by,))

    @property
    def step(self) -> Step:
        """What a bar is."""
        return "hour" if self.span.named in HOURLY else "day"

    @property
    def of_calls(self) -> bool:
        """Whether single calls alone can tell it."""
        return of_calls((self.by, *dict(self.only)))

    def with_span(self, named: Named) -> str:
        return replace(self, span=replace(self.span, named=named, since="", until="")).text

    def told_by(self, column: str) -> Address:
        return replace(self, by=column)

    def with_only(self, column: str, value: str) -> str:
        """The same of this value alone, told by the next column that says something."""
        only = dict(self.only) | {column: (value,)}
        return replace(self, path="explore", only=tuple(sorted(only.items())), by=self._next(only)).text

    def without(self, column: str) -> str:
        return replace(self, only=tuple(each for each in self.only if each[0] != column)).text

    @property
    def as_csv(self) -> str:
        """All rows, by the API."""
        return f"{replace(self, path='v1/spend').text}&limit={ROWS_MAX}&format=csv"

    def _next(self, only: Mapping[str, Sequence[str]]) -> str:
        order = ("feature", "model", "team", "user_id", "task_type", "provider", "operation", "environment")
        return next((column for column in order if column not in only and column != self.by), "model")

    @property
    def text(self) -> str:
        span = self.span
        pairs = [("span", span.named)] if span.named else [("from", span.since), ("to", span.until)]
        pairs += [("zone", span.zone)] if span.zone else []
        pairs += [("currency", span.currency)] if span.currency != "USD" else []
        pairs += [("by", self.by)]
        pairs += [(column, value) for column, values in self.only for value in values]
        return f"{self.path}?{urlencode([pair for pair in pairs if pair[1] is not None])}"
