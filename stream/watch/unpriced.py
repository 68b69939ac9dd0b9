"""Which models have calls without a price: what the rule about them asks the warehouse.

Rollups say exactly how many calls have no cost. Why, only single calls say: they are read one clock hour at a time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any, Final, NamedTuple, Self

from costream.events import DROPPED_MODEL, DROPPED_PROVIDER
from costream.pricing.reasons import Reason
from stream.watch.queries import Reader
from stream.watch.series import HOUR

REACH_DAYS: Final = 7  # today (UTC) and the days before it; less than an alert that has ended is remembered
NAMED_MAX: Final = 100  # models told of by name: a producer may invent as many as it likes. The others are counted

SCOPE: Final = "model="

# Of these a price is missing, whatever the call reports.
NO_PRICE: Final = (
    *(Reason.UNKNOWN_PROVIDER, Reason.UNKNOWN_MODEL, Reason.NO_PRICE_AT_THAT_TIME, Reason.NO_RATE),
    Reason.NO_EXCHANGE_RATE,
)
# Of this too, unless other calls of the model have a price.
NO_PRICE_OF_A_UNIT: Final = Reason.QUANTITY_UNPRICED


class SoldModel(NamedTuple):
    """A model by whose it is and what it is called, as events say it."""

    provider: str
    model: str

    @property
    def scope(self) -> str:
        """``model=PROVIDER/MODEL``; the first slash ends the provider, so one in its name is spelled out."""
        return f"{SCOPE}{self.provider.replace('%', '%25').replace('/', '%2F')}/{self.model}"

    @classmethod
    def of(cls, scope: str) -> Self:
        provider, _, model = scope.removeprefix(SCOPE).partition("/")
        return cls(provider.replace("%2F", "/").replace("%25", "%"), model)


DROPPED: Final = SoldModel(DROPPED_PROVIDER, DROPPED_MODEL)  # reports of clients, which nobody sells


@dataclass(frozen=True, slots=True)
class Why:
    """Why calls of a model have no price, of the latest of them."""

    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Lacking:
    """Of one hour: the models whose calls lack a price, those with the most calls first, and how many there are."""

    models: Mapping[SoldModel, Why]
    count: int


@dataclass(frozen=True, slots=True)
class Volume:
    """The calls of a model without a cost, in reach. ``tokens`` are theirs; where calls with a price and without are
    in one row of the rollups nobody can tell them apart, and theirs are at least so many."""

    calls: int
    tokens: int
    is_least: bool
    since: datetime  # the first hour


@dataclass(frozen=True, slots=True)
class Unpriced:
    """A model without a price: how many calls, and why."""

    name: SoldModel
    volume: Volume
    why: Why


@dataclass(frozen=True, slots=True)
class Mended:
    """A model that was told of and lacks no price any more. ``hour``: the one in which its calls had a price, None
    where it was not called without one in all the reach. ``calls`` are those in reach that stay without a cost."""

    hour: datetime | None
    calls: int


@dataclass(frozen=True, slots=True)
class Lately:
    """When a model was called, by clock hours in reach; None where it was not."""

    unpriced_calls: int
    unpriced: datetime | None  # the last hour with a call without a cost, the running one included
    priced: datetime | None  # the last hour that is over with a call that has one
    called: datetime | None  # the last hour that is over with any call


# Models travel as two lists.
_GIVEN: Final = "arrayZip({providers:Array(String)}, {models:Array(String)})"
_IS_GIVEN: Final = f"has({_GIVEN}, (toString(provider), toString(model)))"

_HOURS: Final = f"""
SELECT toUnixTimestamp(hour) AS at, sum(h.unpriced_calls) AS unpriced
FROM usage_hourly AS h
WHERE hour >= toDateTime({{since:UInt32}}, 'UTC')
  AND ({{every:UInt8}} OR toUnixTimestamp(hour) IN {{hours:Array(UInt32)}})
GROUP BY hour HAVING sumIf(h.unpriced_calls, NOT {_IS_GIVEN}) > 0"""  # noqa: S608 - a constant

# Single calls; a copy must not count: FINAL.
_LACKING: Final = f"""
SELECT provider, model, why.1 AS reason, why.2 AS detail, toInt64(count() OVER ()) AS found
FROM (
  SELECT provider, model,
    countIf(cost_status = 'unpriced' AND cost_reason IN {{no_price:Array(String)}}) AS lacking,
    countIf(cost_status = 'unpriced' AND cost_reason = {{of_a_unit:String}}) AS lacking_a_unit,
    countIf(cost_status != 'unpriced') AS priced,
    argMaxIf((toString(cost_reason), cost_detail), occurred_at, cost_status = 'unpriced'
      AND (cost_reason IN {{no_price:Array(String)}} OR cost_reason = {{of_a_unit:String}})) AS why
  FROM usage_events_rows FINAL
  WHERE occurred_at >= toDateTime64({{since:UInt32}}, 3, 'UTC')
    AND occurred_at < toDateTime64({{until:UInt32}}, 3, 'UTC')
    AND {{these:UInt8}} = {_IS_GIVEN}
  GROUP BY provider, model
  HAVING lacking > 0 OR (lacking_a_unit > 0 AND priced = 0)
)
ORDER BY lacking + lacking_a_unit DESC, provider, model LIMIT {{named_max:UInt32}}"""  # noqa: S608 - a constant

_VOLUMES: Final = f"""
SELECT provider, model, sum(h.unpriced_calls) AS unpriced,
  sumIf(h.input_tokens + h.output_tokens, h.unpriced_calls = h.calls) AS tokens,
  countIf(h.unpriced_calls > 0 AND h.unpriced_calls < h.calls) > 0 AS is_least,
  toUnixTimestamp(minIf(hour, h.unpriced_calls > 0)) AS first
FROM usage_hourly AS h
WHERE hour >= toDateTime({{since:UInt32}}, 'UTC') AND {_IS_GIVEN}
GROUP BY provider, model HAVING unpriced > 0"""  # noqa: S608 - a constant

_LATELY: Final = f"""
SELECT provider, model, sum(h.unpriced_calls) AS unpriced,
  toUnixTimestamp(maxIf(hour, h.unpriced_calls > 0)) AS unpriced_at,
  toUnixTimestamp(maxIf(hour, h.calls > h.unpriced_calls AND toUnixTimestamp(hour) < {{running:UInt32}})) AS priced_at,
  toUnixTimestamp(maxIf(hour, h.calls > 0 AND toUnixTimestamp(hour) < {{running:UInt32}})) AS called_at
FROM usage_hourly AS h
WHERE hour >= toDateTime({{since:UInt32}}, 'UTC') AND {_IS_GIVEN}
GROUP BY provider, model"""  # noqa: S608 - a constant


def reach_of(now: datetime) -> datetime:
    """From where on calls are looked at: a midnight of UTC."""
    first = now.astimezone(UTC).date() - timedelta(days=REACH_DAYS - 1)
    return datetime.combine(first, time.min, tzinfo=UTC)


def unpriced_hours(
    reader: Reader, *, since: datetime, only: Iterable[datetime] | None, told: Collection[SoldModel]
) -> dict[datetime, int]:
    """How many calls have no cost, for whatever reason, in each hour since then, or of ``only`` these hours. An hour in
    which no others have none than models that were ``told`` of is left out."""
    rows = reader.frame(
        _HOURS,
        since=_seconds(since),
        every=int(only is None),
        hours=sorted(_seconds(hour) for hour in only or ()),
        **_named([*told, DROPPED]),
    )
    return {_moment(row["at"]): row["unpriced"] for row in rows.iter_rows(named=True)}


def lacking_in(
    reader: Reader,
    hour: datetime,
    *,
    only: Collection[SoldModel] | None = None,
    told: Collection[SoldModel] = (),
) -> Lacking:
    """The models with calls in this clock hour that a price would mend, or which of ``only`` these; ``told`` are left
    out. Calls whose usage is missing or contradicts itself are no question of a price."""
    rows = reader.frame(
        _LACKING,
        since=_seconds(hour),
        until=_seconds(hour + HOUR),
        no_price=[str(reason) for reason in NO_PRICE],
        of_a_unit=str(NO_PRICE_OF_A_UNIT),
        these=int(only is not None),
        named_max=NAMED_MAX,
        **_named(only if only is not None else [*told, DROPPED]),
    )
    models = {_model(row): Why(row["reason"], row["detail"]) for row in rows.iter_rows(named=True)}
    return Lacking(models, rows["found"][0] if rows.height else 0)


def volumes(reader: Reader, models: Collection[SoldModel], *, since: datetime) -> dict[SoldModel, Volume]:
    """What each has without a cost since then; of one that the rollups do not have yet nothing."""
    if not models:
        return {}
    rows = reader.frame(_VOLUMES, since=_seconds(since), **_named(models))
    return {
        _model(row): Volume(row["unpriced"], row["tokens"], bool(row["is_least"]), _moment(row["first"]))
        for row in rows.iter_rows(named=True)
    }


def lately(
    reader: Reader, models: Collection[SoldModel], *, since: datetime, running: datetime
) -> dict[SoldModel, Lately]:
    """When each was called since then; one that was not is left out. ``running`` is the clock hour that is not over."""
    if not models:
        return {}
    rows = reader.frame(_LATELY, since=_seconds(since), running=_seconds(running), **_named(models))
    return {
        _model(row): Lately(row["unpriced"], *(_hour(row[name]) for name in ("unpriced_at", "priced_at", "called_at")))
        for row in rows.iter_rows(named=True)
    }


def _named(models: Collection[SoldModel]) -> dict[str, list[str]]:
    return {"providers": [one.provider for one in models], "models": [one.model for one in models]}


def _model(row: Mapping[str, Any]) -> SoldModel:
    return SoldModel(row["provider"], row["model"])


def _hour(seconds: int) -> datetime | None:
    """The largest of no hours is 1970 to the engine."""
    return _moment(seconds) if seconds else None


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
