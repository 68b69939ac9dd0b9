"""Stored calls priced anew, on the real engine: exact, once, resumed wherever it broke off, told to the last digit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from costream.alerts import Alert
from costream.pricing import PriceBook
from sinks.clickhouse import repricings as stored
from sinks.clickhouse.calls_of_span import Span
from sinks.clickhouse.connect import ClickHouseAddress
from sinks.clickhouse.writer import Writer
from sinks.errors import WarehouseTooSmall
from stream.audit import audit
from stream.audit.ground import RowsMissing, SpanNotKept
from stream.repricing.changes import as_rows, changed
from stream.repricing.run import NumbersUsedUp, Repricer
from stream.watch.watcher import Watcher
from tests.support.databases import emptied
from tests.support.ingest import flush_of, ingest_of, run
from tests.support.repriced import LIST, NOW, OURS, PARTITIONS, SOURCE, WEEK, Killed, MortalWriter, Place, Right, call
from tests.support.rules import money_rules_of
from tests.support.warehouse import Server


def expected(numbers: Sequence[int], book: PriceBook) -> dict[str, tuple[Decimal | None, str]]:
    """Each call by a plain quote of its own."""
    from stream.pricing.quotes import quotes

    told = quotes([call(number).decode() for number in numbers], book, now=NOW, new_id=lambda: "")
    costs = {one["request_id"]: (one["cost_usd"], one["cost_status"]) for one in told}
    return {name: (None if usd is None else Decimal(usd), status) for name, (usd, status) in costs.items()}


@pytest.fixture(scope="module")
def one_database(clickhouse_endpoint: Server) -> ClickHouseAddress:
    return clickhouse_endpoint.fresh()


@pytest.fixture
def place(one_database: ClickHouseAddress) -> Iterator[Place]:
    """A warehouse with 200 calls of two days."""
    place = Place(emptied(one_database))
    with closing(place):
        place.store([call(number) for number in range(200)])
        yield place


TOTALS = """
SELECT sum(calls) AS calls, sum(unpriced_calls) AS unpriced, sum(partial_calls) AS partial, sum(cost_usd) AS usd
FROM {table}"""


def totals(place: Place) -> set[tuple[Any, ...]]:
    """By every table that has money: one answer, where they agree."""
    tables = ("usage_hourly", "usage_daily", "usage_user_daily")
    raw = """SELECT count(), countIf(cost_status = 'unpriced'), countIf(cost_status = 'partial'), sum(cost_usd)
      FROM usage_events"""
    return {place.frame(sql).row(0) for sql in (raw, *(TOTALS.format(table=table) for table in tables))}


def test_every_call_gets_the_price_of_the_book_and_every_rollup_its_sum(place: Place) -> None:
    (before,) = totals(place)
    done = place.reprice()
    assert place.costs() == expected(range(200), OURS)
    (now,) = totals(place)
    assert (now[0], before[0]) == (200, 200)
    assert place.broken() == {}
    assert done.run is not None
    assert (done.run.number, done.calls, done.cost_usd) == (1, 120, now[3] - unchanged(place))
    assert done.cost_usd_before == before[3] - unchanged(place)
    assert (done.finished, done.corrected, done.restless) == ((), corrections(place), 0)
    untold = "SELECT count() FROM usage_events WHERE price_id != '' AND price_id NOT IN (SELECT price_id FROM prices)"
    assert place.frame(untold).item() == 0, "every price has its text"


def corrections(place: Place) -> int:
    """Rows, in the tables that have money."""
    tables = ("usage_hourly", "usage_daily", "usage_user_daily")
    sql = "SELECT toInt64(count()) FROM {table}_rows FINAL WHERE startsWith(source, 'correction:')"
    return sum(place.frame(sql.format(table=table)).item() for table in tables)


def unchanged(place: Place) -> Decimal:
    usd: Decimal = place.frame("SELECT sum(cost_usd) FROM usage_events WHERE price_rev = 0").item()
    return usd


def test_the_second_time_nothing_changes(place: Place) -> None:
    place.reprice()
    writer = MortalWriter(place.warehouse.writer, dies_at=1)
    done = place.reprice(writer=writer)
    assert (done.run, done.calls, done.corrected, writer.writes) == (None, 0, 0, [])


@pytest.mark.slow
def test_what_a_revision_changed_and_the_next_took_back_sums_to_nothing(place: Place) -> None:
    costs, (before,) = place.costs(), totals(place)
    place.reprice(OURS)
    place.reprice(LIST)
    assert place.costs() == costs
    assert totals(place) == {before}
    cells = place.frame("SELECT sum(difference_usd) AS usd, count() AS runs FROM cost_adjustments GROUP BY hour, model")
    assert (set(cells["usd"]), set(cells["runs"]) <= {2, 4}) == ({Decimal(0)}, True)
    assert place.broken() == {}


def test_the_adjustments_tell_old_and_new_cost_why_and_who(place: Place) -> None:
    """2,840 tokens in and 14 out: at 0.15 and 0.60 USD a million before, at 9 USD a million and 1e-12 USD after."""
    hour = NOW - timedelta(hours=50)
    place.store([call(number, feature="late", occurred_at=hour.isoformat()) for number in (400, 440)])
    place.reprice()
    (row,) = place.frame("SELECT * FROM cost_adjustments WHERE feature = 'late'").to_dicts()
    assert row["hour"] == hour.replace(minute=0)
    assert (row["provider"], row["model"], row["repricing"], row["calls"]) == ("openai", "gpt-4o-mini", 1, 2)
    tokens = 1_400 + 1_440
    assert row["cost_usd_before"] == Decimal(tokens) * Decimal("0.00000015") + 14 * Decimal("0.0000006")
    assert row["cost_usd"] == Decimal(tokens) * Decimal("0.000009") + Decimal("0.000000000014")
    assert row["difference_usd"] == row["cost_usd"] - row["cost_usd_before"]
    assert (row["adjusted_by"], row["reason"], row["adjusted_at"]) == ("ada", "the contract came late", NOW)


def test_what_was_unknown_and_is_known_now_was_unknown_and_not_zero(place: Place) -> None:
    place.reprice()
    rows = place.frame("SELECT * FROM cost_adjustments WHERE model = 'a'")
    assert rows["cost_usd_before"].to_list() == [None] * rows.height
    assert rows["unpriced_calls_before"].sum() == rows["calls"].sum() == 40
    assert rows["unpriced_calls"].sum() == 0
    assert rows["difference_usd"].sum() == rows["cost_usd"].sum() > 0


@pytest.mark.slow
def test_only_the_span_and_the_names_that_were_asked_for_change(place: Place) -> None:
    span = Span(NOW - timedelta(hours=10, minutes=1), NOW - timedelta(hours=5, minutes=1), feature="chat")
    place.reprice(span=span)
    rows = place.frame("SELECT occurred_at, feature, price_rev FROM usage_events WHERE price_rev > 0")
    assert rows.height > 0
    assert set(rows["feature"]) == {"chat"}
    assert span.start <= rows["occurred_at"].min() < rows["occurred_at"].max() < span.end  # type: ignore[operator]
    assert place.broken() == {}


def test_a_late_redelivery_of_an_old_row_does_not_win(place: Place) -> None:
    old = place.frame("SELECT * FROM usage_events_rows FINAL")
    place.reprice()
    costs = place.costs()
    place.warehouse.writer.insert("usage_events", old)
    assert place.costs() == costs
    place.command("OPTIMIZE TABLE usage_events_rows FINAL")
    assert place.costs() == costs
    assert place.broken() == {}


@pytest.mark.slow
def test_a_record_that_is_read_again_keeps_its_new_price(place: Place) -> None:
    place.reprice()
    costs, sums = place.costs(), totals(place)
    again = place.started()
    place.offsets = dict.fromkeys(range(PARTITIONS), 0)
    run(place.warehouse, again, place.records([call(number) for number in range(200)]))
    assert (place.costs(), totals(place), place.broken()) == (costs, sums, {})


@pytest.mark.slow
def test_workers_of_both_prices_go_on_meanwhile(place: Place) -> None:
    """One has its rows in memory from before, one has read them back: neither takes a correction away."""
    place.reprice()
    place.store([call(number) for number in range(200, 260)])  # by the old book
    place.ingest = place.started(OURS)
    place.store([call(number) for number in range(260, 320)])
    assert place.broken() == {}
    place.reprice()
    assert place.costs() == expected(range(320), OURS)
    assert len(totals(place)) == 1
    assert place.broken() == {}


@pytest.mark.slow
def test_what_the_ledger_has_not_applied_is_left_to_the_worker(place: Place) -> None:
    torn = place.records([call(number) for number in range(200, 240)])
    place.warehouse.store(flush_of(place.ingest, torn), tables=("usage_events", "usage_hourly"))
    place.reprice()
    late = place.frame("SELECT price_rev FROM usage_events WHERE toUInt32(splitByChar('-', request_id)[2]) >= 200")
    assert set(late["price_rev"]) == {0}
    place.ingest = place.started()
    run(place.warehouse, place.ingest, torn)
    assert place.broken() == {}
    place.reprice()
    assert place.costs() == expected(range(240), OURS)
    assert place.broken() == {}


def kill_and_resume(place: Place, dies_at: int, *, after: bool, was: PriceBook, becomes: PriceBook) -> None:
    """Once, at that write. Each hour has old or new digits then, and the next run does the rest."""
    mortal = MortalWriter(place.warehouse.writer, dies_at=dies_at, after=after)
    with pytest.raises(Killed):
        place.reprice(becomes, writer=mortal, rows_max=60)
    of_hours(place, expected(range(200), was), expected(range(200), becomes))
    place.reprice(becomes, rows_max=60)
    assert place.costs() == expected(range(200), becomes)
    assert len(totals(place)) == 1


def writes_of_a_run(place: Place) -> list[str]:
    writer = MortalWriter(place.warehouse.writer, dies_at=0)
    place.reprice(writer=writer, rows_max=60)
    return writer.writes


@pytest.mark.slow
def test_wherever_it_breaks_off_each_hour_has_old_or_new_digits_and_the_next_run_does_the_rest(place: Place) -> None:
    """Killed before and after its writes, back and forth between two books."""
    writes = writes_of_a_run(place)
    assert set(writes) == {
        *("repricings", "prices", "cost_adjustments", "usage_events"),
        *("usage_hourly", "usage_daily", "usage_user_daily"),
    }
    assert writes.count("repricings") == 2, "when it begins, and when it has ended"
    was, becomes = OURS, LIST
    deaths = [(number, after) for number in range(1, len(writes) + 1) for after in (False, True)]
    for dies_at, after in deaths:
        kill_and_resume(place, dies_at, after=after, was=was, becomes=becomes)
        was, becomes = becomes, was
    assert place.broken() == {}
    states = place.frame("SELECT DISTINCT state FROM repricings")
    assert set(states["state"]) == {"broken off", "finished"}
    told = place.frame("SELECT sum(difference_usd) AS usd FROM cost_adjustments").item()
    costs = [sum(usd or 0 for usd, _ in expected(range(200), book).values()) for book in (LIST, was)]
    assert told == costs[1] - costs[0]


def of_hours(place: Place, was: dict[str, Any], becomes: dict[str, Any]) -> None:
    hours: dict[datetime, list[str]] = {}
    for request_id, hour in place.frame("SELECT request_id, toStartOfHour(occurred_at) FROM usage_events").iter_rows():
        hours.setdefault(hour, []).append(request_id)
    costs = place.costs()
    for ids in hours.values():
        now = {each: costs[each] for each in ids}
        assert now in ({each: was[each] for each in ids}, {each: becomes[each] for each in ids})


@pytest.mark.slow
def test_an_hour_with_very_many_calls_changes_in_parts_that_are_told_one_by_one(place: Place) -> None:
    hour = (NOW - timedelta(hours=60)).replace(minute=5)
    place.store([call(number, occurred_at=hour.isoformat()) for number in range(500, 800)])
    killed = MortalWriter(place.warehouse.writer, dies_at=8, after=True)
    with pytest.raises(Killed):
        place.reprice(span=Span(hour, hour + timedelta(minutes=1)), writer=killed, rows_max=60)
    place.reprice(rows_max=60)
    parts = place.frame("SELECT part FROM cost_adjustments_rows WHERE parts = 5 AND repricing = 1")
    assert 1 < parts["part"].n_unique() < 5, "it was killed in the middle of the hour"
    assert place.broken() == {}
    assert (place.frame("SELECT sum(calls) FROM cost_adjustments").item(), len(totals(place))) == (120 + 180, 1)


@dataclass
class SmallWriter:
    """Takes no more than so many calls at once."""

    writer: Writer
    rows_max: int

    def insert(self, table: str, frame: pl.DataFrame) -> int:
        return self.writer.insert(table, frame)

    def insert_at_once(self, table: str, frame: pl.DataFrame) -> int:
        if frame.height > self.rows_max:
            raise WarehouseTooSmall(where="here", reason="too large")
        return self.writer.insert_at_once(table, frame)


EARLY = (NOW - timedelta(hours=60)).replace(minute=0)
ONE_HOUR = Span(EARLY, EARLY + timedelta(hours=1))


def four_calls_of_one_hour(place: Place) -> None:
    place.store([call(number, occurred_at=EARLY.isoformat()) for number in (500, 505, 510, 515)])


def test_a_plan_that_is_made_anew_in_halves_is_none_that_the_next_run_takes_for_done(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream.repricing.run.SPLIT_ROWS_MIN", 3)
    four_calls_of_one_hour(place)
    place.store([call(520, occurred_at=ONE_HOUR.end.isoformat())])
    span = Span(EARLY, EARLY + timedelta(hours=2))
    place.reprice(span=span, writer=SmallWriter(place.warehouse.writer, 3))
    halves = "SELECT sum(calls) FROM cost_adjustments_rows FINAL WHERE parts > 1 AND state = 'applied'"
    assert place.frame(halves).item() == 4
    assert place.reprice(span=span).calls == 0
    assert place.frame("SELECT sum(calls) FROM cost_adjustments").item() == 5


def test_few_calls_that_the_warehouse_refuses_are_not_cut_any_further(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream.repricing.run.SPLIT_ROWS_MIN", 4)
    four_calls_of_one_hour(place)
    with pytest.raises(WarehouseTooSmall):
        place.reprice(span=ONE_HOUR, writer=SmallWriter(place.warehouse.writer, 3))
    assert place.reprice(span=ONE_HOUR).calls == 4


def test_who_watches_is_told_of_each_block_of_calls_and_of_each_table_of_rollups(place: Place) -> None:
    four_calls_of_one_hour(place)
    told: list[tuple[str, int, int]] = []
    place.reprice(span=ONE_HOUR, rows_max=2, progress=lambda *step: told.append(step))
    calls, rollups = (f"{what} of {EARLY:%Y-%m-%d}" for what in ("calls", "rollups"))
    assert told == [*((calls, done, 2) for done in range(2)), *((rollups, done, 3) for done in range(3))]


@dataclass
class GuardedWriter(MortalWriter):
    """Sees to it that the right to write was asked for before each write, since the one before."""

    right: Right = field(default_factory=Right)

    def _write(self, table: str, insert: Callable[[str, pl.DataFrame], int], frame: pl.DataFrame) -> int:
        assert self.right.asked, table
        self.right.asked = 0
        return super()._write(table, insert, frame)


def guarded(place: Place, **options: Any) -> Repricer:
    right: Any = Right()
    repricer = place.repricer(writer=GuardedWriter(place.warehouse.writer, dies_at=0, right=right), **options)
    repricer.claim = right
    return repricer


def test_the_right_to_write_is_asked_for_before_each_write(place: Place) -> None:
    four_calls_of_one_hour(place)
    assert guarded(place).run(ONE_HOUR, by="ada", reason="the contract came late").calls == 4


@pytest.mark.parametrize(("dies_at", "is_applied"), [(5, False), (6, True)])
def test_the_next_run_finishes_what_had_changed_its_calls_and_corrects_its_days_alone(
    place: Place, monkeypatch: pytest.MonkeyPatch, dies_at: int, is_applied: bool
) -> None:
    """It broke off before it said that its plan is applied, or before the rollups."""
    monkeypatch.setattr("stream.repricing.run.DAYS_ROWS_MAX", 1)
    four_calls_of_one_hour(place)
    with pytest.raises(Killed):
        place.reprice(span=ONE_HOUR, writer=MortalWriter(place.warehouse.writer, dies_at=dies_at))
    assert place.frame("SELECT countIf(state = 'applied') FROM cost_adjustments_rows").item() == 2 * is_applied
    told: list[str] = []
    repricer = guarded(place, progress=lambda doing, _done, _steps: told.append(doing))
    done = repricer.run(ONE_HOUR, by="ada", reason="once more")
    assert ([run.number for run in done.finished], done.run, done.calls) == ([1], None, 0)
    assert (set(told), done.corrected) == (
        {f"rollups of {EARLY:%Y-%m-%d}", f"calls of {EARLY:%Y-%m-%d}"},
        corrections(place),
    )
    assert place.frame("SELECT sum(calls) FROM cost_adjustments").item() == 4
    assert place.broken() == {}


def test_the_text_of_a_price_is_stored_also_for_a_call_that_has_another_name_there(place: Place) -> None:
    place.store([call(503, occurred_at=EARLY.isoformat())])
    row = "SELECT * REPLACE ('old' AS provider, 'acme' AS provider_sent) FROM usage_events_rows FINAL"
    place.command(f"INSERT INTO usage_events_rows {row} WHERE request_id = 'call-503'")
    place.reprice(span=ONE_HOUR)
    told = "SELECT provider, price_source FROM usage_events WHERE price_id IN (SELECT price_id FROM prices)"
    assert place.frame(f"{told} AND request_id = 'call-503'").rows() == [("old", "rate_card")]


def test_when_all_numbers_are_used_up_nothing_is_changed(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "NUMBER_MAX", 1)
    four_calls_of_one_hour(place)
    place.reprice(span=ONE_HOUR)
    writer = MortalWriter(place.warehouse.writer, dies_at=1)
    with pytest.raises(NumbersUsedUp, match=r"^1 re-pricings are as many as there can be; nothing was changed$"):
        place.reprice(LIST, writer=writer)


def test_what_was_found_to_have_come_to_nothing_is_not_written_down_again_by_each_run(place: Place) -> None:
    four_calls_of_one_hour(place)
    with pytest.raises(Killed):
        place.reprice(span=ONE_HOUR, writer=MortalWriter(place.warehouse.writer, dies_at=4))  # before the calls
    writers = [MortalWriter(place.warehouse.writer, dies_at=0) for _ in range(2)]
    for writer in writers:
        place.reprice(LIST, span=ONE_HOUR, writer=writer)
    assert [writer.writes for writer in writers] == [["cost_adjustments", "repricings"], []]


@pytest.mark.slow
def test_a_block_that_is_too_large_for_the_warehouse_goes_by_halves(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream.repricing.run.SPLIT_ROWS_MIN", 1)
    hour = (NOW - timedelta(hours=60)).replace(minute=5)
    place.store([call(number, occurred_at=hour.isoformat()) for number in range(500, 550)])
    place.reprice(writer=SmallWriter(place.warehouse.writer, 7), rows_max=1_000)
    assert place.broken() == {}
    assert place.frame("SELECT sum(calls) FROM cost_adjustments").item() == 120 + 30
    assert set(place.frame("SELECT price_rev FROM usage_events WHERE model = 'a'")["price_rev"]) == {1}
    assert place.reprice().calls == 0, "which looks at what was planned once more"
    assert place.frame("SELECT sum(calls) FROM cost_adjustments").item() == 120 + 30
    assert place.broken() == {}


def test_a_block_travels_as_one_part(place: Place) -> None:
    """Which is what makes an hour change whole or not at all."""
    place.reprice(rows_max=1_000)
    parts = place.frame("SELECT uniq(_part) AS parts FROM usage_events_rows WHERE price_rev = 1 GROUP BY _partition_id")
    assert set(parts["parts"]) == {1}


def test_a_span_that_is_not_kept_whole_is_refused(place: Place) -> None:
    early = Span(NOW - timedelta(days=89), NOW)
    with pytest.raises(SpanNotKept, match=r"single calls are kept whole from .* Nothing was changed; give --from"):
        place.reprice(span=early)


def test_where_calls_are_missing_nothing_is_changed(place: Place) -> None:
    place.command("DELETE FROM usage_events_rows WHERE request_id = 'call-8'")
    with pytest.raises(RowsMissing, match=r"single calls of partition . of topic-1 are missing"):
        place.reprice()
    assert place.frame("SELECT count() FROM repricings").item() == 0


@pytest.mark.slow
def test_a_call_that_an_audit_has_taken_out_is_none_any_more(place: Place) -> None:
    from sinks.clickhouse.remover import Remover
    from stream.audit import repair

    twice = call(8, occurred_at=(NOW - timedelta(hours=100)).isoformat())
    again = ingest_of(
        place.warehouse, SOURCE, range(PARTITIONS), count=PARTITIONS, since=NOW, ids_max=1, clock=lambda: NOW
    )
    place.ingest = again
    place.store([twice])
    place.reprice()
    with closing(Remover(place.address)) as remover:
        repair(place.reader, place.warehouse.writer, remover, clock=lambda: NOW, pause=lambda: None)
    assert place.broken() == {}
    place.reprice(LIST)
    assert place.broken() == {}
    assert len(totals(place)) == 1


# --- what the watch says of it ---------------------------------------------------------------------------------------


class Topic:
    def __init__(self) -> None:
        self.said: list[Alert] = []

    def publish(self, alerts: Sequence[Alert]) -> None:
        self.said += alerts


def alerts_of(place: Place) -> set[str]:
    """The rules about hours that raise one. That some models have no price is told, what was spent of a budget today,
    which late in a day is much, and what is expected of a month, which early in it is."""
    topic = Topic()
    rules = money_rules_of(place.reader)
    writer = place.warehouse.writer
    watcher = Watcher(rules=lambda: rules, reader=place.reader, writer=writer, publish=topic.publish, clock=lambda: NOW)
    watcher.restore()
    watcher.evaluate(NOW)
    return {alert.rule for alert in topic.said} - {"unknown_price", "budget", "budget_forecast"}


@pytest.mark.slow
def test_hours_that_are_over_raise_no_alert_whatever_they_cost_now(place: Place) -> None:
    """Ten million tokens in each hour of four days: 1.50 USD, and 90 USD by the other price."""
    hours = [NOW - timedelta(hours=back) for back in range(96)]
    calls = [
        call(5_000 + 10 * back, input_tokens=10_000_000, occurred_at=hour.isoformat())
        for back, hour in enumerate(hours)
    ]
    place.store(calls)
    assert alerts_of(place) == set()
    past = (NOW - timedelta(hours=6)).replace(minute=0)
    place.reprice(span=Span(past, past + timedelta(hours=2)))
    assert alerts_of(place) == set()
    place.reprice(span=Span(NOW.replace(minute=0), NOW + timedelta(minutes=1)))
    assert "hourly_spike" in alerts_of(place), "or this test would show nothing"


# --- what the audit says of it --------------------------------------------------------------------------------------


ONE_CALL = "SELECT * FROM usage_events_rows FINAL WHERE price_rev = 1 ORDER BY request_id LIMIT 1"
ONE_CELL = "SELECT * FROM cost_adjustments_rows FINAL ORDER BY ALL LIMIT 1"


@pytest.mark.parametrize(
    ("table", "of", "other"),
    [
        pytest.param("usage_events_rows", ONE_CALL, "7 AS price_rev", marks=pytest.mark.slow),
        ("usage_events_rows", ONE_CALL, "toDecimal64(5, 12) AS cost_usd"),
        ("cost_adjustments_rows", ONE_CELL, "calls - 1 AS calls"),
        pytest.param(
            *("cost_adjustments_rows", ONE_CELL, "cost_usd + toDecimal128('0.000000000001', 12) AS cost_usd"),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_cost_that_no_adjustment_tells_is_named(place: Place, table: str, of: str, other: str) -> None:
    place.reprice()
    place.command(f"INSERT INTO {table} SELECT * REPLACE ({other}) FROM ({of})")
    report = audit(place.reader, clock=lambda: NOW, pause=lambda: None)
    check = report.check("adjustments")
    assert (check.holds, check.differing, len(check.findings)) == (False, 1, 1)
    assert set(check.findings[0].where) == {"repricing", "hour", "provider", "model", "feature"}
    assert set(check.findings[0].numbers) == {"calls", "calls_told", "cost_usd", "cost_usd_told"}
    assert [step.check for step in report.next_steps if step.check == "adjustments"] == ["adjustments"]


@pytest.mark.slow
def test_what_was_written_after_a_run_was_given_up_is_told_by_the_next_one(place: Place) -> None:
    """An insert that reached the warehouse so late that the run had been found to have come to nothing."""
    mortal = MortalWriter(place.warehouse.writer, dies_at=4)  # before the calls
    with pytest.raises(Killed):
        place.reprice(writer=mortal)
    late = as_rows(changed(place.frame("SELECT * FROM usage_events_rows FINAL"), OURS), repricing=1)
    assert place.reprice(span=Span(WEEK.start, WEEK.start + timedelta(hours=1))).finished[0].number == 1
    place.warehouse.writer.insert_at_once("usage_events", late)
    assert set(place.broken()) == {"adjustments", "usage_hourly", "usage_daily", "usage_user_daily"}
    assert place.reprice().calls == 0
    assert place.broken() == {}
    assert place.frame("SELECT sum(calls) FROM cost_adjustments").item() == 120


@pytest.mark.slow
def test_a_repair_says_of_what_broke_off_how_far_it_came(place: Place) -> None:
    from sinks.clickhouse.remover import Remover
    from stream.audit import repair

    with pytest.raises(Killed):
        place.reprice(writer=MortalWriter(place.warehouse.writer, dies_at=4, after=True))
    assert {"usage_hourly", "usage_daily"} <= set(place.broken())
    with closing(Remover(place.address)) as remover:
        repair(place.reader, place.warehouse.writer, remover, clock=lambda: NOW, pause=lambda: None)
    assert place.broken() == {}
    assert place.frame("SELECT state FROM repricings")["state"].to_list() == ["broken off"]
    assert place.frame("SELECT sum(calls) FROM cost_adjustments").item() == 120


def test_hours_share_a_block_until_it_is_full_of_calls_or_of_bytes() -> None:
    hour = 3_600_000
    most = stored.BLOCK_BYTES_MAX
    hours = [
        (0, 4, 9),
        (hour, 6, 9),
        (2 * hour, 1, most),
        (5 * hour, 25, 9),
        (6 * hour, 1, 2 * most + 1),
        (7 * hour, 2, 9),
    ]
    assert list(stored.in_blocks(hours, rows_max=10)) == [
        stored.Block(0, 2 * hour),
        stored.Block(2 * hour, 3 * hour),
        *(stored.Block(5 * hour, 6 * hour, part, 3) for part in range(3)),
        *(stored.Block(6 * hour, 7 * hour, part, 3) for part in range(3)),
        stored.Block(7 * hour, 8 * hour),
    ]
    assert list(stored.in_blocks([], rows_max=10)) == []


def test_a_span_that_ends_at_midnight_has_nothing_of_the_day_that_begins_then() -> None:
    first, midnight = datetime(2026, 11, 20, 23, 59, tzinfo=UTC), datetime(2026, 11, 22, tzinfo=UTC)
    assert Span(first, midnight).days == (date(2026, 11, 20), date(2026, 11, 22))
    assert Span(first, midnight + timedelta(milliseconds=1)).days == (date(2026, 11, 20), date(2026, 11, 23))


def test_a_block_is_cut_by_hours_and_an_hour_by_its_ids() -> None:
    hour = 3_600_000
    one, two = stored.Block(0, 3 * hour).halves()
    assert (one, two) == (stored.Block(0, hour), stored.Block(hour, 3 * hour))
    some = stored.Block(0, hour, part=1, parts=3)
    assert some.halves() == (stored.Block(0, hour, 1, 6), stored.Block(0, hour, 4, 6))
