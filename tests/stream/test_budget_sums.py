"""What workers add up for budgets: each sum equals a plain recount of its calls, whoever counted and whatever broke."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from structlog.testing import capture_logs

from sinks.clickhouse.connect import ClickHouseAddress
from stream.audit import budget_sums
from stream.audit.filling import LOOK, LOOKS, TAKEN_OVER_AFTER
from stream.budgets.budget import COLUMNS, Budget, subject_of
from stream.budgets.counted import Counted
from stream.budgets.periods import NO_END, span_at
from stream.ingest import Ingest
from tests.stream.test_budget_spend import DAILY
from tests.support.databases import emptied
from tests.support.filling import Filling
from tests.support.ingest import ingest_of
from tests.support.repriced import NOW, PARTITIONS, SOURCE, Place, call
from tests.support.warehouse import Server

SYSTEM = replace(DAILY, name="system_day")
NASTY = "it's \\ {start:Date}, a=b; 50%"
BUDGETS = [
    SYSTEM,
    replace(SYSTEM, name="user_day", scope=("user",), zone="Asia/Seoul"),
    replace(SYSTEM, name="hours", period="hour", zone="Asia/Kathmandu"),
    replace(SYSTEM, name="months", period="month", zone="America/New_York", scope=("feature", "model")),
    replace(SYSTEM, name="sessions", period="session", scope=("session", "user")),
    replace(SYSTEM, name="nasty", scope=("user",), only={"feature": ("chat", NASTY), "team": ("", "t")}),
]
COUNTED = Counted.by(BUDGETS)


@pytest.fixture(scope="module")
def one_database(clickhouse_endpoint: Server) -> ClickHouseAddress:
    return clickhouse_endpoint.fresh()


@pytest.fixture
def place(one_database: ClickHouseAddress, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setattr("stream.audit.checks.PAUSE_SECONDS", 0.01)
    with closing(Place(emptied(one_database))) as place:
        place.ingest = worker(place)
        yield place


def worker(place: Place, counted: Counted = COUNTED, *, rows_max: int = 1_000_000) -> Ingest:
    """A worker's state as after a start, by the rules that it knows."""
    since = NOW - timedelta(days=7)
    return ingest_of(
        place.warehouse,
        SOURCE,
        range(PARTITIONS),
        count=PARTITIONS,
        since=since,
        budgets=counted,
        rows_max=rows_max,
        clock=lambda: NOW,
    )


def calls(numbers: Sequence[int]) -> list[bytes]:
    return [
        call(
            number,
            session_id=f"s-{number % 4}" if number % 3 else "",
            user_id=("u-1", NASTY, "", "=,%2C")[number % 4],
            feature=("chat", NASTY)[number % 2],
            team=("", "t", "other")[number % 3],
        )
        for number in numbers
    ]


def recounted(place: Place, budgets: Sequence[Budget] = BUDGETS) -> dict[Any, list[Any]]:
    """By sum, subject, period and day the calls, those without a price, and the cost: from single calls, one by one."""
    sums: dict[Any, list[Any]] = defaultdict(lambda: [0, 0, Decimal(0)])
    for row in place.frame("SELECT * FROM usage_events").iter_rows(named=True):
        for budget in {budget.spending: budget for budget in budgets}.values():
            values = [(word, row[COLUMNS[word]]) for word in budget.scope]
            chosen = all(row[COLUMNS[word]] in some for word, some in budget.only.items())
            if not chosen or not all(value for _, value in values):
                continue
            span = span_at(row["occurred_at"], budget.period, budget.zone)
            key = (budget.spending, subject_of(values), span.start, span.end or NO_END, row["occurred_at"].date())
            sums[key][0] += 1
            sums[key][1] += row["cost_usd"] is None
            sums[key][2] += row["cost_usd"] or 0
    return dict(sums)


def stored(place: Place) -> dict[Any, list[Any]]:
    rows = place.frame(
        "SELECT spending, subject, period_start, period_end, day, sum(calls), sum(unpriced_calls), sum(cost_usd) "
        "FROM budget_spend_rows FINAL GROUP BY ALL HAVING sum(calls) != 0"
    ).rows()
    sums = {one.spending for one in COUNTED.sums}
    return {row[:5]: list(row[5:]) for row in rows if row[0] in sums}


def whole(place: Place, sums: dict[Any, list[Any]]) -> dict[Any, list[Any]]:
    """Those of days on which each is whole."""
    days = {one.sum.spending: one.whole_from for one in budget_sums.in_force(place.reader)}
    return {key: each for key, each in sums.items() if key[4] >= days[key[0]]}


def filling_in(place: Place, budgets: Sequence[Budget] = BUDGETS) -> Filling:
    return Filling(place.warehouse, budgets, NOW)


def test_each_sum_is_that_of_a_plain_recount_and_the_audit_says_so(place: Place) -> None:
    place.store(calls(range(120)))
    place.store(calls(range(30)))  # repeats
    filling_in(place).run()
    assert stored(place) == recounted(place)
    assert len({key[0] for key in stored(place)}) == len(COUNTED.sums) == 6
    assert place.broken() == {}


@pytest.mark.slow
def test_what_workers_counted_from_the_first_call_on_needs_no_correction(place: Place) -> None:
    place.store(calls(range(60)))
    filling = filling_in(place)
    filling.run()
    assert filling.is_whole
    assert place.frame("SELECT toInt64(count()) FROM budget_spend_rows WHERE source != 'topic-1'").item() == 0


def test_sums_of_new_budgets_are_filled_in_from_the_start_of_their_period(place: Place) -> None:
    place.ingest = worker(place, Counted.by([SYSTEM]))
    place.store(calls(range(60)))
    place.ingest = worker(place)
    place.store(calls(range(60, 90)))
    filling = filling_in(place)
    filling.run(TAKEN_OVER_AFTER)
    assert not filling.is_whole
    assert stored(place) != recounted(place)
    filling.run()
    assert filling.is_whole
    assert whole(place, stored(place)) == whole(place, recounted(place))
    days = {one.sum.spending: one.whole_from for one in budget_sums.in_force(place.reader)}
    assert days[SYSTEM.spending] == NOW.date() - timedelta(days=NOW.hour == 0)
    assert place.broken() == {}


@pytest.mark.slow
def test_a_worker_that_goes_on_over_filled_in_sums_counts_right(place: Place) -> None:
    place.ingest = worker(place, Counted.by([]))
    place.store(calls(range(60)))
    place.ingest = worker(place, rows_max=3)
    filling = filling_in(place)
    filling.run()
    for start in range(60, 120, 15):
        place.store(calls(range(start, start + 15)))
    assert filling.is_whole
    assert place.broken() == {}
    place.ingest = worker(place)
    place.store(calls(range(120, 150)))
    assert filling.is_whole
    assert place.broken() == {}


@pytest.mark.slow
def test_what_a_worker_by_older_rules_left_out_is_told_and_filled_in(place: Place) -> None:
    place.store(calls(range(30)))
    filling = filling_in(place)
    filling.run()
    place.ingest = worker(place, Counted.by([]))
    place.store(calls(range(30, 60)))
    assert filling.is_whole  # sums may lag for a moment
    assert set(place.broken()) == {"budget_spend"}
    filling.run(LOOK * (LOOKS + 1))
    assert place.broken() == {}
    place.ingest = worker(place)
    place.store(calls(range(60, 90)))
    assert place.broken() == {}


def test_calls_that_are_counted_twice_make_sums_that_nobody_judges_by(place: Place) -> None:
    """A worker is killed before it knows of new budgets; its calls are filled in, and then delivered again."""
    old, new = worker(place, Counted.by([])), worker(place)
    records = place.records(calls(range(40)))
    flush = old.process(old.decode(records))
    place.warehouse.store(flush)
    filling = filling_in(place)
    filling.run()
    assert filling.is_whole
    place.warehouse.store(new.process(new.decode(records)))
    assert not filling.is_whole
    filling.run(LOOK * (LOOKS + 1))
    assert filling.is_whole
    assert place.broken() == {}


@pytest.mark.slow
def test_budgets_that_are_taken_back_are_out_of_force_and_whole_again_when_they_return(place: Place) -> None:
    place.store(calls(range(30)))
    filling = filling_in(place)
    filling.run()
    filling.budgets = [SYSTEM]
    place.ingest = worker(place, Counted.by([SYSTEM]))
    place.store(calls(range(30, 60)))
    filling.run()
    assert place.frame("SELECT budget FROM budgets").to_series().to_list() == ["system_day"]
    assert len(budget_sums.in_force(place.reader)) == 2
    assert place.broken() == {}
    filling.budgets = BUDGETS
    place.ingest = worker(place)
    place.store(calls(range(60, 90)))
    filling.run()
    assert filling.is_whole
    assert sorted(place.frame("SELECT budget FROM budgets").to_series()) == sorted(one.name for one in BUDGETS)
    assert place.broken() == {}


def test_a_turn_that_begins_over_sums_that_are_whole_judges_at_its_first_look(place: Place) -> None:
    place.store(calls(range(30)))
    filling_in(place).run()
    later = filling_in(place)
    assert not later.is_whole
    later.filler.tick()
    assert later.is_whole
    assert place.frame("SELECT toInt64(max(version)) FROM budget_sums_rows").item() == 1


@pytest.mark.slow
def test_that_a_worker_goes_on_counting_by_other_rules_is_said(place: Place) -> None:
    filling, said = filling_in(place), []
    for start in range(0, 80, 20):
        place.ingest = worker(place, Counted.by([SYSTEM]))
        place.store(calls(range(start, start + 20)))
        with capture_logs() as lines:
            filling.run()
        said.append([line["event"] for line in lines if line["log_level"] == "warning"])
    assert said == [[], [], *[["sums of budgets lack calls again and again"]] * 2]


def test_another_amount_is_stated_without_summing_up_anew(place: Place) -> None:
    place.store(calls(range(10)))
    filling = filling_in(place)
    filling.run()
    filling.budgets = [replace(SYSTEM, amount=Decimal(7)), *BUDGETS[1:]]
    filling.run(LOOK)
    stands = place.frame("SELECT amount, version FROM budgets_rows FINAL WHERE name = 'system_day'").rows()
    assert stands == [(Decimal(7), 2)]
    assert place.frame("SELECT toInt64(max(version)) FROM budget_sums_rows").item() == 1
    assert filling.is_whole


@pytest.mark.slow
def test_without_budgets_nothing_is_summed_up_and_nothing_is_filled_in(place: Place) -> None:
    place.ingest = worker(place, Counted.by([]))
    place.store(calls(range(10)))
    filling = filling_in(place, [])
    filling.run()
    assert stored(place) == {}
    assert budget_sums.in_force(place.reader) == []
    assert place.broken() == {}


def test_a_repricing_moves_the_sums_of_budgets_too(place: Place) -> None:
    place.store(calls(range(60)))
    filling_in(place).run()
    before = stored(place)
    place.reprice()
    assert whole(place, stored(place)) == whole(place, recounted(place)) != whole(place, before)
    assert place.broken() == {}


@pytest.mark.slow
def test_sums_that_were_lost_or_changed_are_told_and_come_back(place: Place) -> None:
    place.store(calls(range(60)))
    filling = filling_in(place)
    filling.run()
    place.command("TRUNCATE TABLE budget_spend_rows")
    assert set(place.broken()) == {"budget_spend"}
    filling.run(LOOK * (LOOKS + 1))
    assert whole(place, stored(place)) == whole(place, recounted(place))
    assert place.broken() == {}
