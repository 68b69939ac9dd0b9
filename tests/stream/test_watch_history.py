"""What a rule remembers between two looks: it reads what may have changed, and believes nothing that has."""

from __future__ import annotations

from collections.abc import Set
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, cast

import polars as pl

from stream.watch.case import Windows
from stream.watch.history import Hours, Scopes, SplitHours
from stream.watch.series import HOUR, MINUTE, Series, Spend

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
NOW = NOON + MINUTE * 20
ONE, TWO = Spend(Decimal(1)), Spend(Decimal(2))
NEEDED = 100  # hours
SINCE = NOON - HOUR * (NEEDED + 24)


class Stored:
    """What is stored of each scope by the hour, and what was asked of it."""

    def __init__(self, **hours: Hours) -> None:
        self.hours = hours
        self.asked: list[tuple[list[str], set[datetime] | None]] = []

    def fetch(
        self, scopes: list[str], since: datetime, until: datetime, only: set[datetime] | None
    ) -> dict[str, Hours]:
        if scopes:
            self.asked.append((scopes, only))
        return {
            scope: {
                hour: spend
                for hour, spend in self.hours[scope].items()
                if since <= hour <= until and (only is None or hour in only)
            }
            for scope in scopes
        }


def looked(
    scopes: Scopes, *wanted: str, now: datetime = NOW, changed: Set[datetime] = frozenset()
) -> dict[str, Series]:
    return scopes.read({*wanted}, now=now, changed=changed)


def test_a_first_look_reads_all_hours_that_a_baseline_of_yesterday_needs() -> None:
    stored = Stored(a={SINCE - HOUR: ONE, SINCE: ONE, NOON: TWO, NOON + HOUR: ONE}, b={})
    found = looked(Scopes(stored.fetch, hours_needed=NEEDED), "b", "a")
    assert {scope: dict(series.hours) for scope, series in found.items()} == {"a": {SINCE: ONE, NOON: TWO}, "b": {}}
    assert stored.asked == [(["a", "b"], None)]


def test_another_look_in_the_same_hour_reads_the_last_two_and_those_in_reach_that_changed() -> None:
    stored = Stored(a={SINCE: ONE, NOON - HOUR * 9: ONE})
    scopes = Scopes(stored.fetch, hours_needed=NEEDED)
    looked(scopes, "a")
    looked(scopes, "a", changed={SINCE - HOUR, SINCE, NOON, NOON + HOUR})
    assert stored.asked[1:] == [(["a"], {SINCE, NOON - HOUR, NOON})]


def test_what_changed_is_read_and_what_is_no_longer_stored_is_gone() -> None:
    kept, mended, gone = (NOON - HOUR * back for back in (7, 8, 9))
    stored = Stored(a={kept: ONE, mended: ONE, gone: ONE})
    scopes = Scopes(stored.fetch, hours_needed=NEEDED)
    looked(scopes, "a")
    stored.hours["a"] = {mended: TWO, NOON: ONE}
    found = looked(scopes, "a", changed={mended, gone})["a"]
    assert dict(found.hours) == {kept: ONE, mended: TWO, NOON: ONE}, "nobody said that the first had changed"


def test_a_new_hour_and_what_was_forgotten_are_read_as_a_whole() -> None:
    stored = Stored(a={})
    scopes = Scopes(stored.fetch, hours_needed=NEEDED)
    looked(scopes, "a")
    looked(scopes, "a", now=NOW + HOUR)
    scopes.forget()
    looked(scopes, "a", now=NOW + HOUR)
    assert stored.asked == [(["a"], None)] * 3


def test_up_to_forty_eight_hours_are_read_by_themselves() -> None:
    stored = Stored(a={})
    scopes = Scopes(stored.fetch, hours_needed=NEEDED)
    looked(scopes, "a")
    for many in (46, 47):  # and the last two
        looked(scopes, "a", changed={NOON - HOUR * back for back in range(2, 2 + many)})
    (_, some), (_, everything) = stored.asked[1:]
    assert some is not None
    assert (len(some), everything) == (48, None)


def test_a_scope_that_nobody_wants_is_let_go_and_read_as_a_whole_when_it_is_wanted_again() -> None:
    stored = Stored(a={NOON: ONE}, b={NOON: TWO})
    scopes = Scopes(stored.fetch, hours_needed=NEEDED)
    looked(scopes, "a", "b")
    assert looked(scopes, "b").keys() == {"b"}
    assert dict(looked(scopes, "a", "b")["a"].hours) == {NOON: ONE}
    last_two = {NOON - HOUR, NOON}
    assert stored.asked[1:] == [(["b"], last_two), (["b"], last_two), (["a"], None)]


def worked_out_by_looks(*looks: dict[str, Any]) -> int:
    """How often the baseline of NOON is worked out, once after each look."""
    stored = Stored(a={NOON - HOUR * 2: ONE}, b={})
    scopes, count = Scopes(stored.fetch, hours_needed=NEEDED), 0

    def baseline(series: Series, hour: datetime) -> None:
        nonlocal count
        count += 1

    rule = cast(Windows, SimpleNamespace(baseline=baseline))
    for look in looks:
        stored.hours["a"] |= look.get("stored", {})
        wanted = look.get("wanted", ("a",))
        found = looked(scopes, *wanted, now=look.get("now", NOW), changed=look.get("changed", frozenset()))
        if "a" in wanted:
            scopes.baselines.of(rule, "a", found["a"], NOON)
    return count


def test_a_baseline_is_worked_out_anew_only_where_something_under_it_may_have_changed() -> None:
    earlier = {NOON - HOUR: ONE}
    assert worked_out_by_looks({}, {}) == 1
    assert worked_out_by_looks({}, {"stored": {NOON: ONE}}) == 1
    assert worked_out_by_looks({}, {"stored": earlier}) == 2
    assert worked_out_by_looks({}, {"now": NOW + HOUR}) == 2
    assert worked_out_by_looks({}, {"wanted": ("b",)}, {}) == 2


# --- hours by the minute ---------------------------------------------------------------------------------------------


class Calls:
    """A warehouse in which each minute that is asked for cost one USD; it keeps which hours were asked for."""

    def __init__(self) -> None:
        self.asked: list[set[datetime]] = []

    def frame(self, sql: str, **parameters: Any) -> pl.DataFrame:
        hours = [datetime.fromtimestamp(each, UTC) for each in parameters["hours"]]
        self.asked.append(set(hours))
        at = [int((hour + MINUTE * minute).timestamp()) for hour in hours for minute in range(60)]
        rows = {"at": at, "cost": [Decimal(1)] * len(at), "unpriced": [0] * len(at)}
        return pl.DataFrame(rows, schema={"at": pl.Int64, "cost": pl.Decimal(38, 12), "unpriced": pl.Int64})


def test_an_hour_that_is_over_is_read_by_the_minute_once() -> None:
    calls = Calls()
    split = SplitHours(calls)
    for late in range(3):
        minutes = split.read({NOON - HOUR: ONE}, now=NOW + MINUTE * late)
        assert minutes[NOON - HOUR].before(60) == Spend(Decimal(60))
    assert calls.asked == [{NOON - HOUR}]
    assert split.read({}, now=NOW) == {}


def test_the_hour_that_runs_is_read_once_a_minute() -> None:
    calls = Calls()
    split = SplitHours(calls)
    for seconds in (0, 59.9, 60, 61, 125):
        split.read({NOON: ONE}, now=NOW + timedelta(seconds=seconds))
    assert calls.asked == [{NOON}] * 3
    assert split.read({NOON: ONE}, now=NOW + MINUTE * 2)[NOON].over == 22


def test_an_hour_that_has_spent_more_or_was_touched_is_read_again_in_the_next_minute_once() -> None:
    calls = Calls()
    split, hour = SplitHours(calls), NOON - HOUR
    split.read({hour: ONE}, now=NOW)
    split.read({hour: TWO}, now=NOW + MINUTE * 0.5)
    assert len(calls.asked) == 1
    for late in (1, 2):
        split.read({hour: TWO}, now=NOW + MINUTE * late)
    assert len(calls.asked) == 2
    split.touched({hour})
    for late in (2, 3, 4):
        split.read({hour: TWO}, now=NOW + MINUTE * late)
    assert len(calls.asked) == 3


def test_what_was_touched_elsewhere_is_no_reason_to_read_an_hour_again() -> None:
    calls = Calls()
    split, hour = SplitHours(calls), NOON - HOUR
    split.read({hour: ONE}, now=NOW)
    split.touched({NOON - HOUR * 5})
    split.read({hour: ONE}, now=NOW + MINUTE)
    assert len(calls.asked) == 1


def test_hours_that_nobody_asks_for_are_forgotten_and_read_again() -> None:
    calls = Calls()
    split, one, other = SplitHours(calls), NOON - HOUR, NOON - HOUR * 2
    assert split.read({one: ONE, other: ONE}, now=NOW).keys() == {one, other}
    assert split.read({one: ONE}, now=NOW).keys() == {one}
    split.read({one: ONE, other: ONE}, now=NOW)
    assert calls.asked == [{one, other}, {other}]
