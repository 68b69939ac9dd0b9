"""The rules about the pipeline itself, each asked on its own: what trouble it finds, and every figure that it tells."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from costream.alerts import Alert, Level, episode_id
from stream.audit import AuditReport, Check
from stream.audit.report import NextStep
from stream.audit.schedule import REACH
from stream.runtime.stalls import Stall
from stream.watch.rules.audit import AuditRule
from stream.watch.rules.flood import FloodRule, Tally, within
from stream.watch.rules.rule import Past, news_of
from stream.watch.rules.stall import StallRule, Storing
from stream.watch.rules.trouble import Fine, Trouble, TroubleRule, Unknown, Verdict, revised
from stream.watch.rules.vanished import Gone, VanishedRule

START = datetime(2026, 11, 23, 12, tzinfo=UTC)
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)


def nothing_to_read(_: datetime) -> None:
    """What a rule is to judge is given to it here."""


AUDIT, VANISHED = AuditRule(nothing_to_read), VanishedRule(nothing_to_read)
STALL = StallRule(nothing_to_read, stall_max=MINUTE)
FLOOD = FloodRule(nothing_to_read, records_max=1_000, share_max=Decimal("0.05"), window=10 * MINUTE)


def told(rule: TroubleRule[Any], reading: Any, now: datetime = START) -> Alert:
    """The alert that a rule opens on what it has read, in its words."""
    (alert,) = news_of(rule, reading, {}, now)
    assert alert.status == "open"
    return alert


def trouble(verdict: Verdict) -> Trouble:
    assert isinstance(verdict, Trouble)
    return verdict


# --- the audit -------------------------------------------------------------------------------------------------------


def report(*steps: NextStep, **differing: int) -> AuditReport:
    checks = tuple(Check(name.replace("_", " "), "?", 9, count) for name, count in differing.items())
    return AuditReport(START, date(2026, 11, 21), checks, (), steps)


def test_an_audit_that_holds_but_for_what_vanished_is_fine() -> None:
    assert isinstance(AUDIT.find(report(raw_rows=0, vanished=0), START), Fine)
    assert isinstance(AUDIT.find(report(raw_rows=0, vanished=4), START), Fine)


def test_differences_of_an_audit_are_summed_named_and_told_with_each_next_step_once() -> None:
    steps = [NextStep("a", "", "one"), NextStep("b", "", ""), NextStep("c", "", "two"), NextStep("d", "", "one")]
    audited = report(*steps, raw_rows=1_200, ids=3, vanished=7, records=0)
    found, alert = trouble(AUDIT.find(audited, START + MINUTE)), told(AUDIT, audited, START + MINUTE)
    assert (found.since, found.value, found.threshold) == (START, 1_203, 0)
    assert found.names == ("ids", "raw rows")
    assert alert.title == "The audit does not hold: raw rows, ids"
    assert "12:00 UTC on 2026-11-23 found 1,203 differences: raw rows (1,200), ids (3)." in alert.message
    assert "What to do: `one`, then `two`; `costream audit`" in alert.message
    assert found.command == "one"


def test_an_audit_without_a_command_leads_to_its_own() -> None:
    found = trouble(AUDIT.find(report(records=1), START))
    assert found.command == "costream audit"
    assert "What to do: see the places;" in told(AUDIT, report(records=1)).message


def test_what_an_audit_found_is_suspect_from_its_reach_before_that_audit_for_as_long_as_its_own_alert_stands() -> None:
    alert = told(AUDIT, report(raw_rows=1), START + MINUTE)
    assert AuditRule.suspect_since({AuditRule.name: alert}.get) == START - REACH
    assert AuditRule.suspect_since({FloodRule.name: alert}.get) is None


# --- a stall ---------------------------------------------------------------------------------------------------------


def test_a_stall_is_one_only_above_its_limit_and_is_told_in_whole_seconds() -> None:
    storing = Storing(Stall("storing a batch", START), got_through=False)
    assert isinstance(STALL.find(storing, START + MINUTE), Unknown)
    found = trouble(STALL.find(storing, START + MINUTE + SECOND * 1.9))
    alert = told(STALL, storing, START + MINUTE + SECOND * 1.9)
    assert (found.since, found.value, found.threshold, found.names) == (START, 61, 60, ())
    assert alert.title == "Nothing is stored since 12:00 UTC on 2026-11-23"
    assert "since 12:00 UTC on 2026-11-23: storing a batch fails" in alert.message
    assert found.command == "costream migrate status"


def test_where_nothing_fails_storing_goes_on_if_anything_ever_got_through() -> None:
    assert isinstance(STALL.find(Storing(None, got_through=True), START), Fine)
    assert isinstance(STALL.find(Storing(None, got_through=False), START), Unknown)


# --- records that vanished -------------------------------------------------------------------------------------------


def gone(count: int) -> list[Gone]:
    return [Gone(number, 10, 19, START + MINUTE * (count - number)) for number in range(count)]


def test_of_what_vanished_every_offset_counts_and_the_first_five_stretches_are_told() -> None:
    assert isinstance(VANISHED.find([], START), Fine)
    found = trouble(VANISHED.find(gone(5), START))
    assert (found.since, found.value, found.threshold) == (START + MINUTE, 50, 0)
    assert found.names == ("0/10", "1/10", "2/10", "3/10", "4/10")
    alert = told(VANISHED, gone(5))
    assert alert.title == "Up to 50 usage records vanished before they were read"
    assert "Noticed at 12:01 UTC on 2026-11-23: partition 0, offsets 10-19; " in alert.message
    assert "partition 4, offsets 10-19." in alert.message
    assert "partition 4, offsets 10-19 and more." in told(VANISHED, gone(6)).message
    assert len(trouble(VANISHED.find(gone(101), START)).names) == 100


# --- dead letters ----------------------------------------------------------------------------------------------------


def tallies(received: int, refused: int, *, span: timedelta = 10 * MINUTE, before: int = 0) -> list[Tally]:
    first = Tally(START, before, before)
    last = Tally(START + span, before + received, before + refused)
    return [first, Tally(START + span / 2, before, before), last]


def flood(received: int, refused: int, *, span: timedelta = 10 * MINUTE, before: int = 0) -> Verdict:
    return FLOOD.find(tallies(received, refused, span=span, before=before), START + span)


def test_one_look_tells_nothing_of_a_flood_and_two_do() -> None:
    assert isinstance(FLOOD.find([], START), Unknown)
    assert isinstance(FLOOD.find([Tally(START, 5_000, 5_000)], START), Unknown)
    two = [Tally(START, 0, 0), Tally(START + MINUTE, 5_000, 5_000)]
    assert isinstance(FLOOD.find(two, START), Trouble)


@pytest.mark.parametrize(
    ("received", "refused", "threshold", "percent"),
    [
        (100_000, 1_001, 1_000, "1.0 %"),  # more than so many
        (10_000, 501, 500, "5.0 %"),  # more than a share
        (100, 51, 50, "51.0 %"),  # a share, and not too few
        (60, 60, 50, "100.0 %"),
    ],
)
def test_a_flood_tells_the_bound_it_has_passed_and_its_share(
    received: int, refused: int, threshold: int, percent: str
) -> None:
    found, alert = (
        trouble(flood(received, refused, before=7_000)),
        told(FLOOD, tallies(received, refused, before=7_000)),
    )
    assert (found.since, found.value, found.threshold, found.names) == (START, refused, threshold, ())
    assert alert.title == f"{refused:,} records were refused in 10 minutes"
    assert f"Since 12:00 UTC on 2026-11-23 {refused:,} of {received:,} records ({percent})" in alert.message


@pytest.mark.parametrize(
    ("span", "said"),
    [(SECOND, "1 minute"), (MINUTE, "1 minute"), (MINUTE * 1.6, "2 minutes"), (10 * MINUTE, "10 minutes")],
)
def test_the_span_of_a_flood_is_told_in_minutes(span: timedelta, said: str) -> None:
    assert told(FLOOD, tallies(5_000, 5_000, span=span)).title.endswith(f"in {said}")


@pytest.mark.parametrize(
    ("received", "refused", "fine"),
    [
        *((100_000, 500, True), (100_000, 501, False)),
        *((4_000, 100, True), (4_000, 101, False)),
        *((25, 25, True), (26, 26, False)),
    ],
)
def test_a_flood_is_over_at_half_of_each_bound(received: int, refused: int, *, fine: bool) -> None:
    assert isinstance(flood(received, refused), Fine if fine else Unknown)


def test_a_window_that_is_not_full_yet_ends_no_flood() -> None:
    assert isinstance(flood(100, 0, span=10 * MINUTE - SECOND), Unknown)
    assert isinstance(flood(100, 0, span=10 * MINUTE), Fine)


def test_of_the_tallies_those_of_the_window_count_and_the_last_before_it() -> None:
    looks = [Tally(START + MINUTE * at, at, at) for at in range(21)]
    now = START + MINUTE * 20
    assert within(looks, now, 10 * MINUTE) == looks[10:]
    assert within(looks, now + SECOND, 10 * MINUTE) == looks[10:]
    assert within(looks, now - SECOND, 10 * MINUTE) == looks[9:]
    assert within(looks[:1], now, 10 * MINUTE) == looks[:1]
    assert within([], now, 10 * MINUTE) == []


def test_a_look_that_lies_two_minutes_before_the_window_counts_and_an_older_one_does_not() -> None:
    now = START + 12 * MINUTE
    just = [Tally(START, 0, 0), Tally(now, 9, 9)]
    assert within(just, now, 10 * MINUTE) == just
    older = [Tally(START - SECOND, 0, 0), Tally(now, 9, 9)]
    assert within(older, now, 10 * MINUTE) == older[1:]


def test_two_looks_are_kept_though_both_lie_before_the_window() -> None:
    """One alone could tell nothing."""
    now = START + 12 * MINUTE
    two = [Tally(START, 0, 0), Tally(START + MINUTE, 9, 9)]
    assert within(two, now, 10 * MINUTE) == two
    three = [*two, Tally(START + 2 * MINUTE, 9, 9)]
    assert within(three, now, 10 * MINUTE) == three[1:]


@pytest.mark.parametrize("fewer", [{"received": 7, "dead_lettered": 9}, {"received": 9, "dead_lettered": 7}])
def test_a_step_back_forgets_what_came_before_though_the_first_look_had_seen_even_less(fewer: dict[str, int]) -> None:
    looks = [Tally(START, 5, 5), Tally(START + MINUTE, 9, 9), Tally(START + 2 * MINUTE, **fewer)]
    assert within(looks, START + 2 * MINUTE, 10 * MINUTE) == looks[2:]


def test_equal_tallies_are_no_step_back() -> None:
    looks = [Tally(START, 5, 5), Tally(START + MINUTE, 5, 5), Tally(START + 2 * MINUTE, 6, 5)]
    assert within(looks, START + 2 * MINUTE, 10 * MINUTE) == looks


# --- the life of an alert --------------------------------------------------------------------------------------------


def found(value: int = 10, *, since: datetime = START, names: tuple[str, ...] = ("a",)) -> Trouble:
    return Trouble(since, Decimal(value), Decimal(3), names, "command")


def revision(
    verdict: Verdict, *known: Alert, now: datetime = START + MINUTE, rule: TroubleRule[Any] = AUDIT
) -> Alert | None:
    latest: Mapping[str, Alert] = {alert.alert_id: alert for alert in known}
    return revised(rule, verdict, latest, now)


def opened(**given: Any) -> Alert:
    alert = revision(found(**given))
    assert alert is not None
    return alert


def test_an_alert_has_every_figure_of_the_trouble() -> None:
    alert = opened()
    assert alert.alert_id == episode_id(rule="audit", scope="pipeline", first_window=START)
    assert (alert.revision, alert.status, alert.level, alert.rule) == (1, "open", Level.CRITICAL, "audit")
    assert (alert.title, alert.message, alert.metric_name) == ("", "", "audit_differences")
    assert (alert.scope, alert.window_start, alert.window_end) == ("pipeline", START, START + MINUTE)
    assert (alert.current_value, alert.threshold_value) == (10, 3)
    assert (alert.expected_value, alert.ratio, alert.unpriced_calls) == (None, None, 0)
    first = "2026-11-23T12:00:00.000+00:00"
    assert alert.metadata == {"first_window": first, "unit": "differences", "names": ["a"], "next": "command"}
    assert alert.timestamp == START + MINUTE


def test_a_window_never_ends_before_it_begins() -> None:
    alert = revision(found(since=START + 5 * MINUTE))
    assert alert is not None
    assert alert.window_start == alert.window_end == START + 5 * MINUTE


def test_an_alert_is_said_again_at_twice_its_figure_or_for_a_new_name_and_keeps_its_id() -> None:
    alert = opened(value=10)
    assert revision(found(19), alert) is None
    assert revision(found(5, names=()), alert) is None
    for again in (found(20, since=START + MINUTE), found(1, since=START + MINUTE, names=("a", "b"))):
        update = revision(again, alert)
        assert update is not None
        assert (update.alert_id, update.revision, update.status) == (alert.alert_id, 2, "updated")
        assert update.metadata["first_window"] == alert.metadata["first_window"]
        assert update.window_start == START


@pytest.mark.parametrize("names", [{}, {"names": None}, {"names": "ab"}])
def test_an_alert_that_says_no_names_is_said_again_with_those_that_are_found(names: dict[str, Any]) -> None:
    alert = opened()
    first = {"first_window": alert.metadata["first_window"]}
    update = revision(found(1, names=("a", "b")), alert.model_copy(update={"metadata": first | names}))
    assert update is not None
    assert (update.status, update.metadata["names"]) == ("updated", ["a", "b"])


def test_an_alert_that_is_over_keeps_what_it_was_and_says_when_it_ended() -> None:
    alert, end = opened(), START + 9 * MINUTE
    cleared = revision(Fine(), alert, now=end)
    assert cleared is not None
    assert (cleared.alert_id, cleared.revision, cleared.status) == (alert.alert_id, 2, "cleared")
    assert (cleared.title, cleared.message, cleared.window_start, cleared.window_end) == ("", "", START, end)
    assert AUDIT.word(cleared, report()).title == "The audit holds again"
    assert AUDIT.word(cleared, report()).message == "The audit of 12:09 UTC on 2026-11-23 found no difference."
    assert (cleared.current_value, cleared.threshold_value, cleared.timestamp) == (0, 3, end)
    assert revision(Fine(), cleared) is None
    assert revision(Unknown(), alert) is None
    assert revision(Fine()) is None


def test_trouble_of_the_same_moment_after_it_was_cleared_counts_on() -> None:
    cleared = revision(Fine(), opened())
    assert cleared is not None
    again = revision(found(), cleared)
    assert again is not None
    assert (again.alert_id, again.revision, again.status) == (cleared.alert_id, 3, "open")


@pytest.mark.parametrize(
    ("rule", "metric", "unit", "level"),
    [
        (AUDIT, "audit_differences", "differences", Level.CRITICAL),
        (STALL, "stalled_seconds", "seconds", Level.CRITICAL),
        (VANISHED, "vanished_records", "records", Level.CRITICAL),
        (FLOOD, "dead_letter_records", "records", Level.WARNING),
    ],
    ids=lambda each: getattr(each, "name", ""),
)
def test_each_rule_names_its_metric_unit_and_level(
    rule: TroubleRule[Any], metric: str, unit: str, level: Level
) -> None:
    alert = revision(found(), rule=rule)
    assert alert is not None
    assert (alert.metric_name, alert.metadata["unit"], alert.level) == (metric, unit, level)
    over = rule.over(alert)
    assert over.title
    assert "12:0" in over.message or rule is VANISHED


@pytest.mark.parametrize(("rule", "every"), [(AUDIT, 1), (STALL, 1), (VANISHED, 15), (FLOOD, 15)])
def test_a_rule_looks_at_once_and_then_every_so_many_seconds(rule: TroubleRule[Any], every: int) -> None:
    assert rule.is_due(START, Past())
    past = Past(looked_at=START, failed=True)
    assert not rule.is_due(START + SECOND * every - timedelta(milliseconds=1), past)
    assert rule.is_due(START + SECOND * every, past)


@pytest.mark.parametrize("rule", [AUDIT, STALL, VANISHED, FLOOD], ids=lambda rule: rule.name)
def test_what_cannot_be_read_says_nothing(rule: TroubleRule[Any]) -> None:
    assert news_of(rule, rule.read(START, Past(), []), {}, START) == []
