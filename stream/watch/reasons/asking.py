"""What the reasons of an alert ask the warehouse. The window need not be a clock hour, so its side comes from calls."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from costream.alerts import Alert
from costream.pricing.rates import PICO, Linear
from costream.pricing.texts import price_of
from stream.watch.queries import Reader, seconds
from stream.watch.reasons.evidence import Change, Evidence, Part, Rates, Spender
from stream.watch.scopes import value_of

NAMES_MAX: Final = 1_000  # models or features compared for one alert, the dearest first
USERS_MAX: Final = 5  # one will be named

# A column's name is no value: it is that of a dimension (the guard of the embedded engine refuses bound names).
_OF_SCOPE: Final = "({every:UInt8} OR SCOPED = {value:String})"
_IN_WINDOW: Final = (
    "occurred_at >= toDateTime64({start:UInt32}, 3, 'UTC') AND occurred_at < toDateTime64({end:UInt32}, 3, 'UTC')"
)
_PART: Final = ("calls", "tokens", "written", "cached", "cost")
_SIDES: Final = ", ".join(f"sum({name}) AS {name}_now, sum({name}_before) AS {name}_usual" for name in _PART)
_ALL: Final = ", ".join(
    f"sum({name}_{when}) OVER () AS all_{name}_{when}" for name in _PART for when in ("now", "usual")
)
_BY_NAME: Final = """
SELECT *, ALL_SIDES
FROM (
  SELECT name, BOTH_SIDES
  FROM (
    SELECT NAMED AS name, toInt64(count()) AS calls, toInt64(0) AS calls_before,
      sum(toInt64(ifNull(input_tokens, 0)) + ifNull(output_tokens, 0)) AS tokens, toInt64(0) AS tokens_before,
      sum(toInt64(ifNull(output_tokens, 0))) AS written, toInt64(0) AS written_before,
      sum(toInt64(ifNull(cache_read_tokens, 0))) AS cached, toInt64(0) AS cached_before,
      ifNull(sum(cost_usd), toDecimal128(0, 12)) AS cost, toDecimal128(0, 12) AS cost_before
    FROM usage_events_rows FINAL
    WHERE IN_WINDOW AND OF_SCOPE
    GROUP BY name
    UNION ALL
    SELECT NAMED AS name, 0, sum(h.calls), 0, sum(h.input_tokens + h.output_tokens), 0, sum(h.output_tokens),
      0, sum(h.cache_read_tokens), toDecimal128(0, 12), ifNull(sum(h.cost_usd), toDecimal128(0, 12))
    FROM usage_hourly AS h
    WHERE hour >= toDateTime({since:UInt32}, 'UTC') AND hour < toDateTime({start:UInt32}, 'UTC')
      AND toUnixTimestamp(hour) IN {usual:Array(UInt32)} AND OF_SCOPE
    GROUP BY name
  )
  GROUP BY name
)
ORDER BY cost_now DESC, name LIMIT {names_max:UInt32}
""".replace("ALL_SIDES", _ALL).replace("BOTH_SIDES", _SIDES)

_SPENDERS: Final = """
SELECT user_id, ifNull(sum(cost_usd), 0) AS cost
FROM usage_events_rows FINAL
WHERE user_id != '' AND IN_WINDOW AND OF_SCOPE
GROUP BY user_id
ORDER BY cost DESC, user_id LIMIT {users_max:UInt32}
"""

_USER_DAYS: Final = """
SELECT user_id, ifNull(sum(cost_usd), 0) AS cost
FROM usage_user_daily
WHERE day >= toDate({since:String}) AND day < toDate({until:String}) AND user_id IN {users:Array(String)}
GROUP BY user_id
"""

# By model the price that most of its money went by.
_PRICED_BY: Final = """
SELECT model, argMax(priced_by, (cost, priced_by)) AS price_id
FROM (
  SELECT model, price_id AS priced_by, sum(cost_usd) AS cost
  FROM usage_events_rows FINAL
  WHERE price_id != '' AND IN_WINDOW AND OF_SCOPE
  GROUP BY model, priced_by
)
GROUP BY model
"""

_PRICES: Final = """
SELECT price_id, price FROM prices WHERE price_id IN {price_ids:Array(String)}
"""


def evidence(reader: Reader, alert: Alert, *, usual: Sequence[datetime]) -> Evidence:
    """The alert's window beside its usual hours, by model, feature and user."""
    if not usual:
        return Evidence(usual_hours=0)
    of_scope = value_of(alert.scope)
    models, all_models = _changes(reader, "model", alert, usual)
    return Evidence(
        usual_hours=len(usual),
        models=models,
        other_models=_less(all_models, models.values()),
        features={} if of_scope and of_scope.dimension == "feature" else _changes(reader, "feature", alert, usual)[0],
        users=_spenders(reader, alert, days=() if of_scope else _whole_days(alert, usual)),
        rates=dict(_rates(reader, alert, models)),
    )


def _changes(reader: Reader, named: str, alert: Alert, usual: Sequence[datetime]) -> tuple[dict[str, Change], Change]:
    """By name, the dearest; and all of them together."""
    rows = reader.frame(
        _scoped(_BY_NAME, alert).replace("NAMED", named),
        since=seconds(min(usual)),
        usual=[seconds(hour) for hour in usual],
        names_max=NAMES_MAX,
        **_window(alert),
    )
    changes = {row["name"]: _change(row, "") for row in rows.iter_rows(named=True)}
    return changes, _change(rows.row(0, named=True), "all_") if changes else Change()


def _change(row: Mapping[str, Any], of: str) -> Change:
    return Change(now=_part(row, of, "now"), usual=_part(row, of, "usual"))


def _part(row: Mapping[str, Any], of: str, when: str) -> Part:
    calls, tokens, written, cached, cost_usd = (row[f"{of}{name}_{when}"] for name in _PART)
    return Part(calls=calls, tokens=tokens, output_tokens=written, cached_tokens=cached, cost_usd=cost_usd)


def _less(all_of_them: Change, named: Iterable[Change]) -> Change:
    """All without those that are named."""
    now, usual = all_of_them.now, all_of_them.usual
    for change in named:
        now, usual = now - change.now, usual - change.usual
    return Change(now, usual)


def _rates(reader: Reader, alert: Alert, models: Mapping[str, Change]) -> Iterator[tuple[str, Rates]]:
    """Of the models whose price has one for a token of each kind."""
    priced_by = reader.frame(_scoped(_PRICED_BY, alert), **_window(alert))
    ids = dict(priced_by.filter(priced_by["model"].is_in([*models])).iter_rows())
    texts = dict(reader.frame(_PRICES, price_ids=sorted({*ids.values()})).iter_rows()) if ids else {}
    for model, price_id in ids.items():
        try:
            price = price_of(texts[price_id])
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
            continue  # written by a build that knows more, or gone: what it would have explained stays in the price
        yield model, _rates_of(price, models[model].now)


def _rates_of(price: Linear, now: Part) -> Rates:
    """By the bracket of an average call."""
    read = max(0, now.tokens - now.output_tokens) // max(1, now.calls)
    charged = price.bracket(read * PICO).charged
    return Rates(*(Fraction(charged(unit)) / PICO for unit in ("input_tokens", "cache_read_tokens", "output_tokens")))


def _spenders(reader: Reader, alert: Alert, *, days: Sequence[date]) -> tuple[Spender, ...]:
    """The dearest users of the window. A user's usual cost comes from whole days, over all features together."""
    rows = reader.frame(_scoped(_SPENDERS, alert), users_max=USERS_MAX, **_window(alert))
    costs = {row["user_id"]: row["cost"] for row in rows.iter_rows(named=True)}
    if not costs or not days:
        return tuple(Spender(user, cost, None) for user, cost in costs.items())
    last = max(days) + timedelta(days=1)
    earlier = reader.frame(_USER_DAYS, since=f"{min(days)}", until=f"{last}", users=list(costs))
    before = {row["user_id"]: row["cost"] for row in earlier.iter_rows(named=True)}
    hours = 24 * len(days)
    return tuple(Spender(user, cost, before.get(user, Decimal(0)) / hours) for user, cost in costs.items())


def _whole_days(alert: Alert, usual: Sequence[datetime]) -> Sequence[date]:
    """The whole days between the first usual hour and the day of the alert."""
    first, end = (min(usual) + timedelta(hours=23)).date(), alert.window_start.date()
    return [first + timedelta(days=each) for each in range((end - first).days)]


def _scoped(sql: str, alert: Alert) -> str:
    of_scope = value_of(alert.scope)
    asked = sql.replace("IN_WINDOW", _IN_WINDOW).replace("OF_SCOPE", _OF_SCOPE)
    return asked.replace("SCOPED", of_scope.dimension if of_scope else "feature")


def _window(alert: Alert) -> dict[str, Any]:
    of_scope = value_of(alert.scope)
    asked = {"every": int(of_scope is None), "value": of_scope.value if of_scope else ""}
    return {"start": seconds(alert.window_start), "end": seconds(alert.window_end)} | asked
