"""What Prometheus is told equals the calls, each once, whoever tells it, whatever is delivered or priced again."""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from sinks.clickhouse import counted_calls, migrate
from sinks.clickhouse.connect import ClickHouseAddress
from sinks.clickhouse.counted_calls import Kept
from sinks.errors import WarehouseUnavailable
from stream import exporter as exporting
from stream.exporter import LOOK, Exporter
from stream.runtime.telemetry import Telemetry
from stream.watch.turn import Turn
from tests.support.databases import emptied
from tests.support.filling import Filling
from tests.support.ingest import SHIPPED, TABLES, flush_of, run
from tests.support.records import STEADY_ZONE
from tests.support.repriced import LIST, NOW, OURS, MortalWriter, Place, call
from tests.support.warehouse import Server

Series = tuple[str, frozenset[tuple[str, str]]]
NASTY = 'a"} 1 llm_total_cost_usd{user_id="boss"} 999\\'


@pytest.fixture(scope="module")
def one_database(clickhouse_endpoint: Server) -> ClickHouseAddress:
    return clickhouse_endpoint.fresh()


@pytest.fixture
def place(one_database: ClickHouseAddress) -> Iterator[Place]:
    with closing(Place(emptied(one_database))) as place:
        yield place


class Weather:
    """A warehouse that can be away."""

    def __init__(self, part: Any) -> None:
        self._part, self.away = part, False

    def __getattr__(self, name: str) -> Any:
        if self.away:
            raise WarehouseUnavailable(where="here", reason="refused")
        return getattr(self._part, name)


class Holder:
    """A worker that holds usage.rollups, with a clock of its own."""

    def __init__(self, place: Place, *, writer: Any = None, users_max: int = 100, now: datetime = NOW) -> None:
        self.now = now
        self.turn, self.telemetry, self.reader = Turn(), Telemetry(), Weather(place.reader)
        self.turn.begin()
        self.exporter = Exporter(
            self.turn,
            reader=self.reader,  # type: ignore[arg-type]
            writer=writer or place.warehouse.writer,
            telemetry=self.telemetry,
            users_max=users_max,
            clock=lambda: self.now,
        )

    def look(self) -> dict[Series, Decimal]:
        self.now += timedelta(minutes=1)
        self.exporter.tick()
        return self.told()

    def told(self) -> dict[Series, Decimal]:
        """Every sample, with the digits that stand in the text."""
        text = self.exporter.text()
        lines = [line for line in text.split("\n") if line and not line.startswith("#")]
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        return {
            (re.split("[{ ]", line, maxsplit=1)[0], frozenset(sample.labels.items())): Decimal(line.rpartition(" ")[2])
            for line, sample in zip(lines, samples, strict=True)
        }

    def looked_at(self) -> float:
        return float(self.telemetry.registry.get_sample_value("costream_usage_metrics_timestamp_seconds") or 0)


def of(name: str, told: Mapping[Series, Decimal], *by: str) -> dict[tuple[str, ...], Decimal]:
    """The samples of a name, added up by these labels."""
    found: dict[tuple[str, ...], Decimal] = defaultdict(Decimal)
    for (one, labels), value in told.items():
        if one == name:
            found[tuple(dict(labels)[label] for label in by)] += value
    return dict(found)


def total(told: Mapping[Series, Decimal]) -> Decimal:
    return of("llm_total_cost_usd", told).get((), Decimal(0))


def stored_cost(place: Place) -> Decimal:
    return sum((cost for cost, _ in place.costs().values() if cost is not None), Decimal(0))


# --- each call once ---------------------------------------------------------------------------------------------------


def test_a_scrape_is_the_known_cost_by_every_label(place: Place) -> None:
    values = [
        call(number, user_id=("ann", NASTY, "")[number % 3], task_type=("", NASTY)[number % 2]) for number in range(60)
    ]
    values += [call(100, status="error", input_tokens=None, output_tokens=None, usage_status="missing")]
    place.store(values)
    told = Holder(place).look()
    rows = place.frame(
        "SELECT provider, model, task_type, user_id, status, cost_usd, total_tokens FROM usage_events"
    ).rows()
    costs: dict[tuple[str, ...], Decimal] = defaultdict(Decimal)
    for *labels, _, cost, _ in rows:
        if cost is not None:
            costs[tuple(labels)] += cost
    assert len(costs) > 8
    assert of("llm_total_cost_usd", told, "provider", "model", "task_type", "user_id") == costs
    assert of("llm_api_calls_total", told, "provider", "model", "status") == Counter(
        (provider, model, status) for provider, model, _, _, status, _, _ in rows
    )
    tokens = [tokens for *_, tokens in rows if tokens is not None]
    assert len(tokens) == 60
    assert of("llm_token_usage_count", told) == {(): 60}
    assert of("llm_token_usage_sum", told) == {(): sum(tokens)}
    assert of("llm_token_usage_bucket", told, "le") == {
        (f"{edge}.0",): sum(one <= edge for one in tokens) for edge in (100, 500, 1000, 2000, 4000, 8000, 16000)
    } | {("+Inf",): 60}


def test_an_embedding_has_no_output_and_another_call_without_one_has_no_known_tokens(place: Place) -> None:
    place.store(
        [
            call(0, operation="embedding", input_tokens=500, output_tokens=None),
            call(5, operation="chat", input_tokens=500, output_tokens=None),
        ]
    )
    told = Holder(place).look()
    assert of("llm_token_usage_sum", told) == {(): 500}
    assert of("llm_token_usage_bucket", told, "le")["500.0",] == 1
    assert of("llm_api_calls_total", told) == {(): 2}


def test_repeats_raise_nothing(place: Place) -> None:
    """Sent again, and delivered again with another worker."""
    holder = Holder(place)
    values = [call(number) for number in range(10)]
    records = place.records(values)
    run(place.warehouse, place.ingest, records)
    told = holder.look()
    place.store(values)
    run(place.warehouse, place.started(), records)
    assert holder.look() == told == Holder(place).look()


def test_what_is_not_whole_yet_is_counted_once_it_is(place: Place) -> None:
    """A flush that was torn before the ledger, and then written whole by whoever takes over."""
    holder, records = Holder(place), place.records([call(number) for number in range(10)])
    place.warehouse.store(flush_of(place.ingest, records), TABLES[:-1])
    assert total(holder.look()) == 0
    run(place.warehouse, place.started(), records)
    assert total(holder.look()) == stored_cost(place) > 0


def test_a_topic_that_is_made_anew_is_counted_from_its_start(place: Place) -> None:
    place.store([call(number) for number in range(4)])
    holder = Holder(place)
    before = total(holder.look())
    anew = Place(place.address)
    anew.ingest.assign([0, 1], partition_count=2, source="topic-2", since=NOW - timedelta(days=7))
    anew.store([call(number) for number in range(4, 8)])
    assert total(holder.look()) == stored_cost(place) > before
    anew.close()


# --- counters never fall, and go on -----------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_whatever_happens_each_call_counts_with_the_cost_that_it_was_first_seen_with(place: Place, seed: int) -> None:
    """Calls, repeats, torn flushes, re-pricings up and down, restarts and hand-overs, in any order."""
    dice = random.Random(seed)
    holders = [Holder(place), Holder(place)]
    holders[1].turn.end()
    first_cost: dict[str, Decimal | None] = {}
    told: dict[Series, Decimal] = {}
    sent, number = list[bytes](), 0
    for _ in range(10):
        match dice.choice(["send", "send", "repeat", "torn", "price", "restart", "hand over"]):
            case "send":
                values = [call(at, user_id=f"u-{at % 5}") for at in range(number, number + dice.randint(1, 9))]
                number += len(values)
                sent += values
                place.store(values)
            case "repeat" if sent:
                place.store(dice.choices(sent, k=4))
            case "torn":
                values = [call(at) for at in range(number, number + 3)]
                number += len(values)
                records = place.records(values)
                place.warehouse.store(flush_of(place.ingest, records), TABLES[: dice.randrange(len(TABLES))])
                holders[0].look()
                place.ingest = place.started()
                run(place.warehouse, place.ingest, records)
            case "price":
                place.reprice() if dice.random() < 0.5 else place.reprice(LIST)
                place.ingest = place.started()
            case "restart":
                holders[0] = Holder(place, now=holders[0].now)
            case "hand over":
                holders[0].turn.end()
                holders.reverse()
                holders[0].turn.begin()
        before, told = told, holders[0].look()
        for request_id, (cost, _) in place.costs().items():
            first_cost.setdefault(request_id, cost)
        assert total(told) == sum((cost for cost in first_cost.values() if cost is not None), Decimal(0))
        assert of("llm_api_calls_total", told).get((), 0) == len(first_cost)
        counters = {one: value for one, value in before.items() if one[0].startswith("llm_") and "hour" not in one[0]}
        assert all(told[one] >= value for one, value in counters.items())
        assert holders[1].told() == {}


def test_a_correction_is_in_the_warehouse_alone_also_after_a_restart(place: Place) -> None:
    """Dearer, and as it was again."""
    place.store([call(5 * number) for number in range(4)])
    told = Holder(place).look()
    place.reprice()
    dearer = stored_cost(place)
    assert Holder(place).look().items() >= {one: value for one, value in told.items() if "hour" not in one[0]}.items()
    place.reprice(LIST)
    assert total(Holder(place).look()) == total(told) == stored_cost(place) < dearer


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_worker_that_dies_as_it_keeps_its_counts_leaves_none_out_and_none_twice(place: Place, after: bool) -> None:
    place.store([call(number) for number in range(10)])
    dying = Holder(place, writer=MortalWriter(place.warehouse.writer, dies_at=1, after=after))
    with capture_logs() as lines:
        assert dying.look() == {}
    assert [line["event"] for line in lines] == ["metrics of usage not brought up to date"]
    assert total(Holder(place).look()) == stored_cost(place)


def test_nothing_is_kept_or_shown_out_of_turn(place: Place) -> None:
    place.store([call(number) for number in range(10)])
    holder = Holder(place)

    class Late:
        """The partition goes while the calls are being read."""

        def frame(self, sql: str, **parameters: Any) -> Any:
            if "usage_events_rows" in sql:
                holder.turn.end()
            return place.reader.frame(sql, **parameters)

    holder.exporter._reader = Late()  # type: ignore[assignment]
    assert holder.look() == {}
    assert counted_calls.kept(place.reader) == Kept()
    assert holder.looked_at() == 0


def test_what_was_told_is_not_shown_a_moment_longer_than_the_turn(place: Place) -> None:
    place.store([call(0)])
    holder = Holder(place)
    assert holder.look()
    holder.turn.end()
    assert holder.exporter.text() == ""
    holder.turn.begin()
    assert holder.exporter.text() == ""
    assert holder.look()


def test_counting_begins_where_the_migration_found_the_ledger(place: Place) -> None:
    """As an upgrade does it: what was stored before is not read."""
    place.store([call(number) for number in range(10)])
    before = stored_cost(place)
    statement = (migrate.FOLDER / "023_metric_counts.sql").read_text().partition("INSERT INTO")[2]
    for _ in range(2):
        place.command(f"INSERT INTO {statement.strip().removesuffix(';')}")
        assert counted_calls.kept(place.reader).version == 1
    holder = Holder(place)
    assert total(holder.look()) == 0
    place.store([call(number) for number in range(10, 20)])
    assert total(holder.look()) == stored_cost(place) - before
    place.command(f"INSERT INTO {statement.strip().removesuffix(';')}")
    assert total(Holder(place).look()) == stored_cost(place) - before


# --- users, gauges, and a warehouse that is away ----------------------------------------------------------------------


def test_users_beyond_the_first_share_a_series_after_a_restart_too(place: Place) -> None:
    place.store([call(number, user_id=f"u-{number:02}") for number in range(0, 50, 5)])
    told = Holder(place, users_max=3).look()
    assert of("llm_total_cost_usd", told, "user_id").keys() == {("u-00",), ("u-05",), ("u-10",), ("(other)",)}
    place.store([call(number, user_id=f"u-{number:02}") for number in range(50, 100, 5)])
    again = Holder(place, users_max=3).look()
    assert of("llm_total_cost_usd", again, "user_id").keys() == of("llm_total_cost_usd", told, "user_id").keys()
    assert total(again) == stored_cost(place)


def test_users_can_be_left_out_and_nothing_is_lost(place: Place) -> None:
    place.store([call(number) for number in range(20)])
    told = Holder(place).look()
    without = Holder(place, users_max=0).look()
    assert total(without) == total(told)
    assert not any(label == "user_id" for _, labels in without for label, _ in labels)


def test_the_cost_of_an_hour_is_that_of_the_last_sixty_minutes(place: Place) -> None:
    """Both sides of its start, and it falls as calls grow older."""
    ages = [timedelta(0), timedelta(minutes=59, seconds=59), timedelta(minutes=60), timedelta(minutes=60, seconds=1)]
    place.store([call(5 * at, occurred_at=(NOW - age).isoformat()) for at, age in enumerate(ages)])
    cost = [place.costs()[f"call-{5 * at}"][0] for at in range(len(ages))]
    assert None not in cost
    holder = Holder(place, now=NOW - timedelta(minutes=1))
    assert of("llm_cost_per_hour_usd", holder.look()) == {(): sum(cost[1:3])}  # as of NOW, which is after the last
    holder.now = NOW + timedelta(minutes=58)
    assert of("llm_cost_per_hour_usd", holder.look()) == {(): cost[0]}
    holder.now = NOW + timedelta(hours=2)
    assert of("llm_cost_per_hour_usd", holder.look()) == {(): 0}


def test_where_no_cost_of_the_last_hour_is_known_none_is_told(place: Place) -> None:
    place.store([call(4, occurred_at=(NOW - timedelta(minutes=5)).isoformat())])
    assert place.costs()["call-4"][0] is None
    assert of("llm_cost_per_hour_usd", Holder(place).look()) == {}


def test_while_the_warehouse_is_away_the_last_figures_stay_and_say_how_old_they_are(place: Place) -> None:
    place.store([call(number) for number in range(10)])
    holder = Holder(place)
    told = holder.look()
    looked_at = holder.looked_at()
    assert looked_at == holder.now.timestamp()
    holder.reader.away = True
    with capture_logs() as lines:
        assert holder.look() == holder.look() == told
    assert [line["event"] for line in lines] == ["metrics of usage not brought up to date"]
    assert holder.looked_at() == looked_at
    holder.reader.away = False
    place.store([call(number) for number in range(10, 20)])
    assert total(holder.look()) == stored_cost(place) > total(told)
    assert holder.looked_at() == holder.now.timestamp()


def test_it_looks_every_so_often_and_no_more(place: Place) -> None:
    holder = Holder(place)
    holder.look()
    looked_at = holder.looked_at()
    holder.now += LOOK - timedelta(seconds=1)
    holder.exporter.tick()
    assert holder.looked_at() == looked_at


def test_a_backlog_is_counted_in_parts_and_gauges_do_not_wait_for_it(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "SPANS_MAX", 1)
    monkeypatch.setattr(exporting.counted_calls, "OFFSETS_AT_ONCE", 4)
    place.store([call(5 * number) for number in range(8)])
    holder = Holder(place)
    totals = [total(holder.look()) for _ in range(4)]
    assert totals[0] < totals[1] <= totals[-1] == stored_cost(place)


def test_shares_of_budgets_are_those_of_the_view(place: Place) -> None:
    """80 of 100 USD is 0.8; of users the one with the highest share is told."""
    place.ingest = place.started(OURS)
    place.store([call(8, user_id="ann", input_tokens=3_500_000, occurred_at=NOW.isoformat())])
    place.store([call(13, user_id="bob", input_tokens=36_500_000, occurred_at=NOW.isoformat())])
    assert stored_cost(place) == 80
    holder = Holder(place)
    assert of("budget_usage_ratio", holder.look()) == {}
    Filling(place.warehouse, [replace(budget, zone=STEADY_ZONE) for budget in SHIPPED], NOW).run()
    told = of("budget_usage_ratio", holder.look(), "budget_type")
    assert told == {("daily",): Decimal("0.8"), ("monthly",): Decimal("0.04"), ("user",): Decimal("7.3")}
    status = place.frame("SELECT budget, max(ratio) FROM budget_status GROUP BY budget").rows()
    assert dict(status) == {
        "daily_budget": told["daily",],
        "monthly_budget": told["monthly",],
        "user_daily_budget": told["user",],
    }


def test_of_a_budget_that_nobody_has_spent_anything_of_the_share_is_0(place: Place) -> None:
    Filling(place.warehouse, SHIPPED, NOW).run()
    told = of("budget_usage_ratio", Holder(place).look(), "budget_type")
    assert told == {("daily",): 0, ("monthly",): 0, ("user",): 0}
