"""The desk where figures are asked for: questions in the words of people, their answers kept for whoever asks next."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any, Final

import polars as pl

from costream.alerts import Alert
from costream.pricing import PriceBook
from sinks.answers.explain import as_document as as_explained
from sinks.answers.forecast import Forecast
from sinks.clickhouse.acts import Act, acts_in_force, acts_of
from sinks.clickhouse.budget_status import budget_status
from sinks.clickhouse.calls import known_call
from sinks.clickhouse.deliveries import deliveries_of
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.stored_alerts import latest_alerts, revisions_of
from sinks.figures import calls, people, spend, system
from sinks.figures.answers import Answers
from sinks.figures.outlook import outlook
from sinks.figures.spans import Named, Span, ZoneOf, clocks_of, span_of
from sinks.figures.spend import Asked, Only, Step
from sinks.figures.system import MonthsBy

SUBJECTS_MAX: Final = 1_000
ONE_MORE: Final = 1  # than is told: it says that there are more


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class SpanWords:
    """A span as it was asked for: a name, or ``since`` and ``until`` as texts. An empty zone is that of the desk."""

    named: Named | None = "month"
    since: str = ""
    until: str = ""
    zone: str = ""
    currency: str = "USD"

    @classmethod
    def of(cls, named: Named | None, since: str, until: str, *, zone: str, currency: str) -> SpanWords:
        """Where nothing of it is given, the month that runs."""
        return cls(named or (None if since or until else "month"), since, until, zone, currency)


@dataclass(frozen=True, slots=True)
class Words:
    """What was asked for, as one key: a span, the values that count by column, and what tells rows apart."""

    span: SpanWords
    only: tuple[tuple[str, tuple[str, ...]], ...] = ()
    by: tuple[str, ...] = ()

    @classmethod
    def of(cls, span: SpanWords, only: Only, by: Sequence[str] = ()) -> Words:
        return cls(span, tuple(sorted((name, tuple(values)) for name, values in only.items())), tuple(by))

    @property
    def values(self) -> dict[str, tuple[str, ...]]:
        return dict(self.only)


@dataclass(frozen=True, slots=True)
class Page:
    """Rows of a span; ``has_more`` says that there are others behind them."""

    span: Span
    rows: pl.DataFrame
    has_more: bool = False

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def next_call(self) -> str | None:
        """Where the rest of a page of single calls begins."""
        if not self.has_more:
            return None
        last = self.rows.row(-1, named=True)
        return calls.Place(last["occurred_at"], last["request_id"]).text()


class Desk:
    """All questions. ``zone`` is the one that a question has which names none; ``relaxed`` ones may be told a little
    later."""

    def __init__(
        self, answers: Answers, *, zone: str, zone_of: ZoneOf, book: PriceBook, now: Callable[[], datetime] = utc_now
    ) -> None:
        self.answers, self.zone, self.now = answers, zone, now
        self._zone_of, self._book = zone_of, book

    def span(self, words: SpanWords) -> Span:
        """Raises ``BadQuestion``."""
        return span_of(
            now=self.now(),
            zone=words.zone or self.zone,
            zone_of=self._zone_of,
            named=words.named,
            since=words.since,
            until=words.until,
            currency=words.currency,
        )

    def clocks(self, zone: str) -> tzinfo:
        """Raises ``BadQuestion``."""
        return clocks_of(zone, self._zone_of)

    def _asked(self, words: Words) -> Asked:
        return Asked(self.span(words.span), words.values, words.by)

    async def total(self, words: Words) -> dict[str, Any]:
        asked = self._asked(Words(words.span, words.only))
        row: dict[str, Any] = await self.answers.get(
            ("total", words.span, words.only), lambda reader: spend.total(reader, asked).row(0, named=True)
        )
        return row

    async def spend(self, words: Words, *, limit: int, offset: int = 0, relaxed: bool = False) -> Page:
        asked = self._asked(words)

        def ask(reader: Reader) -> Page:
            return _page(asked.span, spend.spend(reader, asked, limit=limit + ONE_MORE, offset=offset), limit)

        return await self.answers.get(("spend", words, limit, offset), ask, relaxed=relaxed)

    async def over_time(self, words: Words, *, step: Step, relaxed: bool = False) -> Page:
        asked = self._asked(words)
        return await self.answers.get(
            ("over time", words, step),
            lambda reader: Page(asked.span, spend.over_time(reader, asked, step=step)),
            relaxed=relaxed,
        )

    async def calls(self, words: Words, *, limit: int, after: str = "") -> Page:
        asked, place = self._asked(words), calls.Place.of(after) if after else None

        def ask(reader: Reader) -> Page:
            return _page(asked.span, calls.calls(reader, asked, limit=limit + ONE_MORE, after=place), limit)

        return await self.answers.get(("calls", words, limit, after), ask)

    async def values(self, span: SpanWords, column: str) -> Sequence[str]:
        whole = self.span(span)
        return await self.answers.get(("values", span, column), lambda reader: calls.values(reader, whole, column))

    async def user_cost_summary(self, *, user_id: str, period_hours: int) -> pl.DataFrame:
        return await self.answers.get(
            ("user", user_id, period_hours),
            lambda reader: people.user_cost_summary(reader, user_id=user_id, period_hours=period_hours),
        )

    async def top_users(self) -> pl.DataFrame:
        return await self.answers.get(("top users",), people.top_users)

    async def system_metrics(self, *, period_hours: int) -> dict[str, Any]:
        now = self.now()
        return await self.answers.get(
            ("system", period_hours),
            lambda reader: system.system_metrics(reader, period_hours=period_hours, now=now),
        )

    async def whole(self, words: SpanWords, *, relaxed: bool = False) -> tuple[Span, dict[str, Any]]:
        span = self.span(words)
        return await self.answers.get(
            ("whole", words), lambda reader: (span, system.whole(reader, span)), relaxed=relaxed
        )

    async def months(self, *, by: MonthsBy, limit: int) -> pl.DataFrame:
        return await self.answers.get(("months", by, limit), lambda reader: system.months(reader, by=by, limit=limit))

    async def forecast(self, only: Only, *, zone: str = "", relaxed: bool = False) -> tuple[Forecast, str]:
        """And the zone that it is told by."""
        named, now = zone or self.zone, self.now()
        clocks = self.clocks(named)
        words = Words.of(SpanWords(zone=named), only)
        found = await self.answers.get(
            ("forecast", words),
            lambda reader: outlook(reader, only=words.values, now=now, clocks=clocks),
            relaxed=relaxed,
        )
        return found, named

    async def budgets(self, *, name: str = "", subjects_max: int = 5) -> Sequence[dict[str, Any]]:
        return await self.answers.get(
            ("budgets", name, subjects_max), lambda reader: budget_status(reader, name=name, subjects_max=subjects_max)
        )

    async def alerts(self, *, standing_only: bool, limit: int) -> Sequence[Alert]:
        return await self.answers.get(
            ("alerts", standing_only, limit),
            lambda reader: latest_alerts(reader, standing_only=standing_only, limit=limit),
        )

    async def alert(self, alert_id: str) -> AlertHistory:
        def ask(reader: Reader) -> AlertHistory:
            return AlertHistory(
                revisions_of(reader, alert_id), deliveries_of(reader, alert_id), acts_of(reader, alert_id)
            )

        return await self.answers.get(("alert", alert_id), ask)

    async def acts(self) -> Sequence[Act]:
        """What holds now: who sees to an alert, and what is silenced."""
        now = self.now()
        return await self.answers.get(("acts",), lambda reader: acts_in_force(reader, now=now))

    async def explain(self, request_id: str) -> Mapping[str, Any]:
        return await self.answers.get(
            ("explain", request_id),
            lambda reader: as_explained(request_id, known_call(reader, request_id), self._book),
        )


@dataclass(frozen=True, slots=True)
class AlertHistory:
    """``revisions`` from the first on; none where there is no such alert."""

    revisions: Sequence[Alert]
    deliveries: Sequence[Mapping[str, Any]]
    acts: Sequence[Act]


def _page(span: Span, rows: pl.DataFrame, limit: int) -> Page:
    return Page(span, rows.head(limit), len(rows) > limit)
