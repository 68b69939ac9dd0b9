"""From records to everything that is written of them, and that a redelivery of any of it changes nothing."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from itertools import count
from typing import Any
from uuid import uuid4

import msgspec
import polars as pl
import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from costream.pricing import PriceBook
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.vocabulary import rows_of
from sinks.errors import VersionNotUnderstood, WarehouseUnavailable
from stream.decode.cut import (
    HEADERS_KEPT_BYTES_MAX,
    HEADERS_KEPT_MAX,
    KEY_KEPT_BYTES_MAX,
    VALUE_KEPT_BYTES_MAX,
    Cut,
    encoded,
)
from stream.decode.examination import REASON_CHARS_MAX
from stream.decode.frame import Refusal
from stream.store.flush import Flush
from stream.store.letters import dead_letter_message, sendable
from stream.store.order import hourly_messages, unit_messages, user_messages
from tests.support.ingest import SINCE, TABLES, Warehouse, cut, flush_of, home_of, id_at_home_in, ingest_of, run, total
from tests.support.price_tables import AS_SENT, BUILDS, Table
from tests.support.properties import examples
from tests.support.records import NOW, FakeRecord, log_of, rfc3339, wire

FRESH = (f"test-{number}-{uuid4()}" for number in count())


@pytest.fixture
def source() -> str:
    return next(FRESH)


# --- any prefix redelivered changes nothing ---------------------------------------------------------------------------

SLOTS = ["2026-11-23T12:00:00Z", "2026-11-23T11:59:59.999Z", "2026-11-22T23:59:59.999Z", "2026-10-23T12:00:00Z"]
VALUES = st.fixed_dictionaries(
    {
        "id": st.integers(0, 7),
        "occurred_at": st.sampled_from(SLOTS),
        "model": st.sampled_from(["gpt-4o-mini", "nobody-knows"]),
        "input_tokens": st.sampled_from([None, 0, 7]),
        "quantities": st.sampled_from([None, {"images": "0.1"}]),
    }
)
LOGS = st.lists(st.one_of(VALUES, VALUES, VALUES, VALUES, st.sampled_from([None, b"junk"])), min_size=1, max_size=30)


def as_value(drawn: Any, source: str) -> bytes | None:
    if not isinstance(drawn, dict):
        return drawn
    # An id sent again with a new time after the window is another story: the audit finds it.
    age = "old" if drawn["occurred_at"] == SLOTS[-1] else "recent"
    return wire(f"{source}-{age}-{drawn['id']}", **{name: value for name, value in drawn.items() if name != "id"})


@examples(
    15,
    at_least=5,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # to shrink over a database takes minutes
)
@given(drawn=LOGS, data=st.data())
def test_any_stretch_redelivered_after_any_torn_flush_changes_nothing(
    warehouse: Warehouse, drawn: list[Any], data: st.DataObject
) -> None:
    """One worker runs undisturbed. Another is killed again and again in the middle of a flush, takes up at any earlier
    offset with other batches, and ends with the same rows: the same cells, not only the same sums."""
    calm, shaken = next(FRESH), next(FRESH)
    calm_log, log = (log_of([as_value(one, source) for one in drawn]) for source in (calm, shaken))
    run(warehouse, ingest_of(warehouse, calm), calm_log, batch=4)

    stored = 0  # the offset that Kafka would be told
    for _ in range(data.draw(st.integers(0, 3), label="kills")):
        ingest = ingest_of(warehouse, shaken, rows_max=2)
        start = data.draw(st.integers(0, stored), label="taken up at")
        end = data.draw(st.integers(start, len(log)), label="killed at")
        flushes = [flush_of(ingest, some) for some in cut(log[start:end], data.draw(st.integers(1, 9), label="batch"))]
        for flush in flushes[:-1]:
            warehouse.store(flush)
        if flushes:
            warehouse.store(flushes[-1], data.draw(st.sampled_from(TORN), label="tables that the last flush reached"))
            stored = max(stored, end - flushes[-1].received)
    start = data.draw(st.integers(0, stored), label="taken up at last")
    run(
        warehouse,
        ingest_of(warehouse, shaken, rows_max=2),
        log[start:],
        batch=data.draw(st.integers(1, 9), label="batch"),
    )

    assert renamed(warehouse.cells(shaken), shaken, calm) == warehouse.cells(calm)


# In order, as the worker writes; and one that no order gives, since a server may lose what it did not sync.
TORN = [TABLES[:number] for number in range(len(TABLES) + 1)] + [
    ("usage_hourly", "ingest_ledger"),
    ("usage_user_daily",),
]


def renamed(cells: Any, source: str, into: str) -> Any:
    if isinstance(cells, dict):
        return {key: renamed(value, source, into) for key, value in cells.items()}
    if isinstance(cells, list):
        return [renamed(value, source, into) for value in cells]
    if isinstance(cells, bytes):
        return cells.replace(source.encode(), into.encode())
    return cells.replace(source, into) if isinstance(cells, str) else cells


# --- builds with other prices take over from one another --------------------------------------------------------------


@examples(
    15,
    at_least=5,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
@given(drawn=LOGS, data=st.data())
def test_builds_with_other_prices_that_are_killed_in_a_flush_leave_every_sum_equal_to_its_rows(
    warehouse: Warehouse, drawn: list[Any], data: st.DataObject
) -> None:
    """And what a row once said of its price, it says for good."""
    source = next(FRESH)
    log = log_of([as_value(one, source) for one in drawn])
    said: dict[int, Any] = {}
    stored = 0  # the offset that Kafka would be told
    for last in (False, False, True):
        ingest = ingest_of(warehouse, source, book=data.draw(st.sampled_from(BUILDS), label="build"))
        start = data.draw(st.integers(0, stored), label="taken up at")
        end = len(log) if last else data.draw(st.integers(start, len(log)), label="killed at")
        flushes = [flush_of(ingest, some) for some in cut(log[start:end], data.draw(st.integers(1, 9), label="batch"))]
        for flush in flushes if last else flushes[:-1]:
            warehouse.store(flush)
        if flushes and not last:
            tear(warehouse, flushes[-1], data)
            stored = max(stored, end - flushes[-1].received)
        now = prices_of(warehouse, source)
        assert said.items() <= now.items()
        said = now
    assert summed(warehouse, "usage_hourly", source) == summed(warehouse, "usage_events", source)
    assert summed(warehouse, "usage_user_daily", source) == summed(warehouse, "usage_events", source)


PROVIDERS = ("openai", "OpenAI", "google-gla")
MODELS = ("gpt-4o-mini", "GPT-4o-mini")


@pytest.mark.slow
@examples(
    15,
    at_least=5,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
@given(ids=st.lists(st.integers(0, 5), min_size=6, max_size=40), data=st.data())
def test_builds_with_other_names_that_are_killed_in_a_flush_count_every_call_and_repeat_in_the_series_of_its_row(
    warehouse: Warehouse, ids: list[int], data: st.DataObject
) -> None:
    """An id sent again has the content that it had, so it is a repeat. What a row was once called, it is for good."""
    source = next(FRESH)
    log = spelled_log(source, ids)
    stored, called = 0, dict[str, Any]()
    for last in (False, False, True):
        since = data.draw(st.sampled_from([SINCE, NOW + timedelta(hours=1)]), label="ids in memory since")
        book = data.draw(st.sampled_from([AS_SENT, *BUILDS]), label="build")
        ingest = ingest_of(warehouse, source, book=book, since=since)
        start = data.draw(st.integers(0, stored), label="taken up at")
        end = len(log) if last else data.draw(st.integers(start, len(log)), label="killed at")
        flushes = [flush_of(ingest, some) for some in cut(log[start:end], data.draw(st.integers(1, 9), label="batch"))]
        for flush in flushes if last else flushes[:-1]:
            warehouse.store(flush)
        if flushes and not last:
            tear(warehouse, flushes[-1], data)
            stored = max(stored, end - flushes[-1].received)
        now = names_of(warehouse, source)
        assert called.items() <= now.items()
        called = now
    assert_counted_as_called(warehouse, source, ids)


TAKEN_OVER = [(AS_SENT, BUILDS[0]), (BUILDS[0], BUILDS[1]), (BUILDS[1], BUILDS[2])]


@pytest.mark.parametrize(
    ("torn", "old", "new"),
    [  # each table, and each pair of builds: all of both are slow
        pytest.param(torn, *builds, marks=[] if torn % 3 == at else pytest.mark.slow)
        for torn in range(len(TABLES) + 1)
        for at, builds in enumerate(TAKEN_OVER)
    ],
)
def test_a_repeat_that_was_counted_before_a_crash_is_not_counted_under_another_name_by_the_next_build(
    warehouse: Warehouse, source: str, torn: int, old: PriceBook, new: PriceBook
) -> None:
    ids = [0, 1, 2, 3, 4, 5, 0, 1, 1, 6, 6, 2, 7, 3]
    log = spelled_log(source, ids)
    killed = ingest_of(warehouse, source, book=old)
    flushes = [flush_of(killed, some) for some in cut(log[:12], 4)]
    for flush in flushes[:-1]:
        warehouse.store(flush)
    warehouse.store(flushes[-1], TABLES[:torn])
    run(warehouse, ingest_of(warehouse, source, book=new), log[5:], batch=3)
    assert_counted_as_called(warehouse, source, ids)


def spelled_log(source: str, ids: Sequence[int]) -> list[FakeRecord]:
    """An id that comes again has the content that it had."""
    return log_of(wire(f"{source}-{n}", provider=PROVIDERS[n % 3], model=MODELS[n % 2]) for n in ids)


def assert_counted_as_called(warehouse: Warehouse, source: str, ids: Sequence[int]) -> None:
    """Each call and each repeat in the series of the call's row, which says what was sent."""
    called = names_of(warehouse, source)
    calls, repeats = Counter(called[f"{source}-{n}"] for n in {*ids}), Counter(called[f"{source}-{n}"] for n in ids)
    hours = {(row["provider"], row["model"]): row for row in warehouse.rows("usage_hourly", source)}
    assert {names: row["calls"] for names, row in hours.items()} == calls
    assert {names: row["calls"] + row["duplicates"] for names, row in hours.items()} == repeats
    sent = warehouse.reader.frame(
        "SELECT request_id, provider_sent, model_sent FROM usage_events WHERE source = {source:String}", source=source
    ).rows()
    assert sorted(sent) == sorted((f"{source}-{n}", PROVIDERS[n % 3], MODELS[n % 2]) for n in {*ids})


def names_of(warehouse: Warehouse, source: str) -> dict[str, tuple[str, str]]:
    """By id: that no id has two rows is looked at here."""
    rows = warehouse.rows("usage_events", source)
    names = {row["request_id"]: (row["provider"], row["model"]) for row in rows}
    assert len(names) == len(rows)
    return names


def test_a_call_sent_again_under_another_spelling_is_another_call_and_a_repeat_is_known_by_what_was_sent(
    warehouse: Warehouse, source: str
) -> None:
    spelled, plain = ({"provider": p, "model": m} for p, m in (("OpenAI", "openai/GPT-4o"), ("openai", "gpt-4o")))
    values = [wire(f"{source}-0", **spelled), wire(f"{source}-0", **spelled), wire(f"{source}-0", **plain)]
    run(warehouse, ingest_of(warehouse, source), log_of(values))
    (flush,) = run(warehouse, ingest_of(warehouse, source), log_of(values, first=3))
    assert (flush.stored, flush.duplicates, len(flush.refusals)) == (0, 2, 1)
    (row,) = warehouse.rows("usage_events", source)
    assert [row[name] for name in ("provider", "model", "provider_sent", "model_sent")] == [
        *("openai", "gpt-4o", "OpenAI", "openai/GPT-4o")
    ]
    (hour,) = warehouse.rows("usage_hourly", source)
    assert (hour["provider"], hour["model"], hour["calls"], hour["duplicates"]) == ("openai", "gpt-4o", 1, 3)


def test_what_is_stored_under_its_own_name_costs_no_byte_beside_it(warehouse: Warehouse, source: str) -> None:
    (flush,) = run(
        warehouse, ingest_of(warehouse, source), log_of([wire(f"{source}-0"), wire(f"{source}-1", provider=" openai")])
    )
    assert flush.events.select("provider_sent", "model_sent").rows() == [("", ""), (" openai", "")]


def tear(warehouse: Warehouse, flush: Flush, data: st.DataObject) -> None:
    """Leave a flush at any line of its writing: also in the middle of the raw rows, which take several parts."""
    tables = data.draw(st.sampled_from(TORN[: len(TABLES) + 1]), label="tables that the last flush reached")
    if not tables and flush.events.height:
        some = data.draw(st.sets(st.integers(0, flush.events.height - 1)), label="raw rows that it reached")
        warehouse.writer.insert("usage_events", flush.events[sorted(some)])
    warehouse.store(flush, tables)


def prices_of(warehouse: Warehouse, source: str) -> dict[int, Any]:
    names = ("cost_usd", "cost_status", "cost_reason", "price_version", "price_rev")
    rows = warehouse.rows("usage_events", source)
    return {row["source_offset"]: tuple(row[name] for name in names) for row in rows}


def summed(warehouse: Warehouse, table: str, source: str) -> tuple[Any, ...]:
    """Cost, calls, and calls without a price."""
    rows = warehouse.rows(table, source)
    if table == "usage_events":
        unpriced = sum(row["cost_status"] == "unpriced" for row in rows)
        return sum(row["cost_usd"] or 0 for row in rows), len(rows), unpriced
    return tuple(sum(row[name] for row in rows) for name in ("cost_usd", "calls", "unpriced_calls"))


def test_what_is_stored_of_other_places_changes_no_price(warehouse: Warehouse, source: str) -> None:
    log = log_of([wire(f"{source}-{number}") for number in range(4)])
    first, second, _ = BUILDS
    whole = flush_of(ingest_of(warehouse, source, book=first), log)
    warehouse.writer.insert("usage_events", whole.events[[0, 3]])
    run(warehouse, ingest_of(warehouse, f"{source}-elsewhere", book=first), log_of([wire(f"{source}-x")] * 2, first=1))
    run(warehouse, ingest_of(warehouse, source, book=second), log)
    versions = {offset: said[3] for offset, said in prices_of(warehouse, source).items()}
    assert versions == {0: "first@base", 1: "second@base", 2: "second@base", 3: "first@base"}


def test_a_version_is_the_offset_applied_last_whatever_prices_the_build_knows(
    warehouse: Warehouse, source: str
) -> None:
    """A build of a later price revision and one of an earlier take turns: neither hides what the other has counted."""
    for offset, book in enumerate((BUILDS[0], PriceBook([Table("later", [], rate=0)], price_rev=7), BUILDS[0])):
        run(warehouse, ingest_of(warehouse, source, book=book), log_of([wire(f"{source}-{offset}")], first=offset))
    for table in ("usage_hourly", "usage_user_daily"):
        assert [(row["calls"], row["version"]) for row in warehouse.rows(table, source)] == [(3, 2)]


@pytest.mark.parametrize("table", ["usage_hourly", "usage_hourly_units", "usage_user_daily", "ingest_ledger"])
@pytest.mark.parametrize("version", [2**48, 2**64 - 1])
def test_a_row_whose_version_is_no_offset_is_refused_in_words_before_anything_is_added_to_it(
    warehouse: Warehouse, source: str, table: str, version: int
) -> None:
    records = log_of([wire(f"{source}-0", quantities={"images": "1"})])
    worker = ingest_of(warehouse, source)
    run(warehouse, worker, records)
    row = warehouse.reader.frame(
        f"SELECT * FROM {rows_of(table)} FINAL WHERE source = {{source:String}}", source=source
    )
    offset = pl.lit(2**48 - 1 if version == 2**48 else 0, pl.UInt64)
    warehouse.writer.insert(table, row.with_columns(version=offset))
    ingest_of(warehouse, source)  # the greatest offset there may be is one
    warehouse.writer.insert(table, row.with_columns(version=pl.lit(version, pl.UInt64)))
    with pytest.raises(VersionNotUnderstood, match=f"{table} has a row of source '{source}', .* version {version};"):
        ingest_of(warehouse, source)


def test_a_row_read_back_later_is_held_to_the_same_rule(warehouse: Warehouse, source: str) -> None:
    """Another build stores it while this worker runs."""
    early, late = "2026-11-23T09:00:00Z", "2026-11-23T10:00:00Z"
    run(warehouse, ingest_of(warehouse, source), log_of([wire(f"{source}-0", occurred_at=early)]))
    worker = ingest_of(warehouse, source)
    row = warehouse.reader.frame("SELECT * FROM usage_hourly_rows FINAL WHERE source = {source:String}", source=source)
    warehouse.writer.insert("usage_hourly", row.with_columns(version=pl.lit(2**48, pl.UInt64)))
    run(warehouse, worker, log_of([wire(f"{source}-1", occurred_at=late)], first=1))
    with pytest.raises(VersionNotUnderstood):
        flush_of(worker, log_of([wire(f"{source}-2", occurred_at=early)], first=2))


def test_an_id_repeated_inside_the_replayed_stretch_stays_one_call_and_its_repeats(
    warehouse: Warehouse, source: str
) -> None:
    a, b = wire(f"{source}-a"), wire(f"{source}-b")
    log = log_of([a, a, b, a, wire(f"{source}-a", model="gpt-4o"), b])
    warehouse.store(flush_of(ingest_of(warehouse, source), log[:3]), ("usage_events", "usage_hourly"))
    run(warehouse, ingest_of(warehouse, source), log, batch=2)
    (row,) = warehouse.rows("usage_hourly", source)
    assert (row["calls"], row["duplicates"], row["input_tokens"]) == (2, 3, 2000)
    assert len(warehouse.rows("usage_events", source)) == 2
    assert [(row["user_id"], row["calls"]) for row in warehouse.rows("usage_user_daily", source)] == [("u-1", 2)]
    (ledger,) = warehouse.rows("ingest_ledger", source)
    assert (ledger["received"], ledger["stored"], ledger["duplicates"], ledger["dead_lettered"]) == (6, 2, 3, 1)


class Fails:
    """A reader that cannot answer its n-th question."""

    def __init__(self, reader: Reader, *, at: int) -> None:
        self.reader, self.left = reader, at

    def frame(self, sql: str, **parameters: Any) -> Any:
        self.left -= 1
        if self.left == 0:
            raise WarehouseUnavailable(where="here", reason="down")
        return self.reader.frame(sql, **parameters)


@pytest.mark.parametrize("at", range(1, 5))
def test_a_batch_whose_look_up_failed_is_worked_out_again_to_the_same_rows(
    warehouse: Warehouse, source: str, at: int
) -> None:
    old = rfc3339(NOW - timedelta(days=20))
    run(warehouse, ingest_of(warehouse, source), log_of([wire(f"{source}-{n}", occurred_at=old) for n in range(3)]))
    batch = log_of([wire(f"{source}-{n}", occurred_at=old) for n in range(2, 6)] + [wire(f"{source}-new")] * 2, first=3)
    ingest = ingest_of(warehouse, source)
    failing = Fails(warehouse.reader, at=at)
    ingest._reader = failing  # type: ignore[assignment]  # the edge is faked, as it would fail
    with pytest.raises(WarehouseUnavailable):
        flush_of(ingest, batch)
    warehouse.store(flush_of(ingest, batch))
    rows = warehouse.rows("usage_hourly", source)
    assert sorted((row["calls"], row["duplicates"]) for row in rows) == [(1, 1), (6, 1)]
    assert sum(row["calls"] for row in warehouse.rows("usage_user_daily", source)) == 7
    (ledger,) = warehouse.rows("ingest_ledger", source)
    assert (ledger["received"], ledger["stored"], ledger["duplicates"]) == (9, 7, 2)


@pytest.mark.parametrize("at", range(1, 5))
def test_a_batch_is_worked_out_again_by_the_book_that_it_was_begun_with(
    warehouse: Warehouse, source: str, at: int
) -> None:
    """Some of its sums are made by then, and new prices may have been published meanwhile."""
    old, ids = rfc3339(NOW - timedelta(days=20)), [0, 1, 2, 1, 2, 3, 4, 5, 5]
    values = [wire(f"{source}-{n}", provider=PROVIDERS[n % 3], model=MODELS[n % 2], occurred_at=old) for n in ids]
    first, second, _ = BUILDS
    run(warehouse, ingest_of(warehouse, source, book=first), log_of(values[:3]))
    ingest, books = ingest_of(warehouse, source, book=first), [first, second]
    ingest._book = lambda: books[0]
    ingest._reader = Fails(warehouse.reader, at=at)  # type: ignore[assignment]  # the edge is faked, as it would fail
    decoded = ingest.decode(log_of(values[3:], first=3))
    with pytest.raises(WarehouseUnavailable):
        ingest.process(decoded)
    books.pop(0)
    warehouse.store(ingest.process(decoded))
    assert_counted_as_called(warehouse, source, ids)
    assert summed(warehouse, "usage_hourly", source) == summed(warehouse, "usage_events", source)
    assert {said[3] for said in prices_of(warehouse, source).values()} <= {"first@base", ""}


def test_a_repeat_is_counted_with_its_call_where_other_names_came_into_force_between_them(
    warehouse: Warehouse, source: str
) -> None:
    ids = [0, 1, 2, 3, 0, 1, 2, 3, 5]
    log = spelled_log(source, ids)
    ingest, books = ingest_of(warehouse, source, book=BUILDS[0]), [BUILDS[0]]
    ingest._book = lambda: books[0]
    before = flush_of(ingest, log[:4])
    books[0] = BUILDS[1]
    after = flush_of(ingest, log[4:])  # worked on while the one before is on its way
    warehouse.store(before)
    warehouse.store(after, ("usage_events", "usage_hourly"))
    run(warehouse, ingest_of(warehouse, source, book=BUILDS[2]), log[4:])
    assert_counted_as_called(warehouse, source, ids)


# --- what a flush holds -----------------------------------------------------------------------------------------------


def test_every_record_ends_in_exactly_one_place(warehouse: Warehouse, source: str) -> None:
    here, stray = id_at_home_in(0, total=3), id_at_home_in(1, total=3)
    values = [wire(here), wire(stray), b"junk", None, wire(here)]
    flush = flush_of(ingest_of(warehouse, source, [0], count=3), log_of(values))
    assert (flush.received, flush.stored, flush.duplicates, len(flush.refusals), len(flush.forwards)) == (5, 1, 1, 2, 1)
    assert flush.ledger.select("received", "stored", "duplicates", "dead_lettered", "forwarded").rows() == [
        (5, 1, 1, 2, 1)
    ]


def test_money_is_exact_from_the_event_to_the_three_tables(warehouse: Warehouse, source: str) -> None:
    values = [
        wire(f"{source}-{n}", input_tokens=n, output_tokens=1, reported_cost_usd="0.000000000001", revenue_usd="0.1")
        for n in range(1_000)
    ]
    run(warehouse, ingest_of(warehouse, source), log_of(values), batch=137)
    expected = sum(Decimal(n) * Decimal("0.00000015") + Decimal("0.0000006") for n in range(1_000))  # gpt-4o-mini
    sums = {
        table: sum(row["cost_usd"] for row in warehouse.rows(table, source))
        for table in ("usage_events", "usage_hourly", "usage_user_daily")
    }
    assert sums == dict.fromkeys(sums, expected)
    assert warehouse.rows("usage_hourly", source)[0]["revenue_usd"] == Decimal(100)
    events = warehouse.rows("usage_events", source)
    assert {row["reported_cost_usd"] for row in events} == {Decimal("0.000000000001")}


def test_how_busy_a_server_was_stands_beside_its_hours_and_is_null_where_no_event_says_it(
    warehouse: Warehouse, source: str
) -> None:
    said: dict[str, Any] = {"a": "0.853211", "b": "0", "c": "1.000000", "d": 0.3333333333333333, "e": None}
    server = {"operation": "gpu", "provider": "aws", "model": "p4d.24xlarge", "quantities": {"gpu_hours": "2.5"}}
    values = [wire(f"{source}-{name}", utilization=share, **server) for name, share in said.items()]
    values += [wire(f"{source}-f"), wire(f"{source}-g", utilization="1.000001"), wire(f"{source}-h", utilization="85")]
    (flush,) = run(warehouse, ingest_of(warehouse, source), log_of(values))
    assert {refusal.kind for refusal in flush.refusals} == {"invalid"}
    told = {row["request_id"][-1]: row["utilization"] for row in warehouse.rows("usage_events", source)}
    exact = {"a": "0.853211", "b": "0", "c": "1", "d": "0.333333"}
    assert told == {name: Decimal(share) for name, share in exact.items()} | {"e": None, "f": None}


def test_an_unknown_model_has_no_cost_and_is_counted_apart(warehouse: Warehouse, source: str) -> None:
    (flush,) = run(warehouse, ingest_of(warehouse, source), log_of([wire(f"{source}-a", model="nobody-knows")]))
    assert flush.unpriced == {("openai", "nobody-knows"): 1}
    (event,) = warehouse.rows("usage_events", source)
    assert (event["cost_usd"], event["cost_status"]) == (None, "unpriced")
    assert event["cost_reason"]
    (hour,) = warehouse.rows("usage_hourly", source)
    assert (hour["calls"], hour["unpriced_calls"], hour["cost_usd"]) == (1, 1, 0)


def test_a_conflict_goes_to_the_dead_letters_and_the_first_stays_counted(warehouse: Warehouse, source: str) -> None:
    values = [wire(f"{source}-a", input_tokens=1), wire(f"{source}-a", input_tokens=2)]
    run(warehouse, ingest_of(warehouse, source), log_of(values))
    (letter,) = warehouse.rows("dead_letters", source)
    assert (letter["kind"], letter["request_id"], letter["source_offset"]) == ("conflict", f"{source}-a", 1)
    assert letter["reason"].startswith(f"request_id: '{source}-a' was counted before with other content")
    assert [row["input_tokens"] for row in warehouse.rows("usage_hourly", source)] == [1]


def test_a_dead_letter_keeps_the_record_byte_for_byte(warehouse: Warehouse, source: str) -> None:
    value, key = bytes(range(256)), b"\xff\x00key"
    headers = [("trace", b"\x00\xff"), ("trace", b"twice"), ("nothing", None)]
    record = FakeRecord(value, 0, 41, key=key, headers=headers)
    (flush,) = run(warehouse, ingest_of(warehouse, source), [record])
    row = warehouse.reader.frame(
        "SELECT hex(value) AS value, hex(key) AS key, headers, source_partition, source_offset, received_at, "
        "toInt64(value_bytes) AS value_bytes, toInt64(key_bytes) AS key_bytes, "
        "value_sha256, key_sha256, headers_sha256 "
        "FROM dead_letters_rows FINAL WHERE source = {source:String}",
        source=source,
    ).row(0, named=True)
    assert (bytes.fromhex(row["value"]), bytes.fromhex(row["key"])) == (value, key)
    assert (row["source_partition"], row["source_offset"], row["received_at"]) == (0, 41, NOW)
    assert (row["value_bytes"], row["key_bytes"]) == (256, 5)
    assert row["value_sha256"] == row["key_sha256"] == row["headers_sha256"] == ""
    kept = [(name, text and base64.b64decode(text)) for name, text in json.loads(row["headers"])]
    assert kept == [("trace", b"\x00\xff"), ("trace", b"twice"), ("nothing", None)]
    message = dead_letter_message(flush.refusals[0], source=source)
    assert (message.key, message.value, message.headers[:3]) == (key, value, headers)
    assert dict(message.headers[3:]) == {
        "costream-kind": b"malformed",
        "costream-reason": flush.refusals[0].reason.encode(),
        "costream-source": source.encode(),
        "costream-partition": b"0",
        "costream-offset": b"41",
    }


CUT = Cut(10_000_000, "ab" * 32, 5_000, "cd" * 32, 10_000, 40_000, "ef" * 32)


def test_a_dead_letter_that_was_cut_says_how_large_it_was(warehouse: Warehouse, source: str) -> None:
    record = FakeRecord(b"{" * VALUE_KEPT_BYTES_MAX, 0, 41, key=b"k", headers=[("trace", b"1")], cut=CUT)
    (flush,) = run(warehouse, ingest_of(warehouse, source), [record])
    (refusal,) = flush.refusals
    assert refusal.reason == "the value is 10000000 bytes; an event has at most 65536"
    (row,) = warehouse.rows("dead_letters", source)
    assert {name: row[name] for name in msgspec.structs.asdict(CUT)} == msgspec.structs.asdict(CUT)
    headers = dict(dead_letter_message(refusal, source=source).headers)
    assert {name: headers["costream-" + name.replace("_", "-")] for name in msgspec.structs.asdict(CUT)} == {
        name: str(size).encode() for name, size in msgspec.structs.asdict(CUT).items()
    }


def test_no_dead_letter_is_larger_than_any_topic_takes() -> None:
    """Kafka's own limit is a megabyte, and the reason comes on top of what is kept."""
    headers = [("n" * 100, b"v" * (HEADERS_KEPT_BYTES_MAX // HEADERS_KEPT_MAX)) for _ in range(HEADERS_KEPT_MAX)]
    record = FakeRecord(b"x" * VALUE_KEPT_BYTES_MAX, 0, 0, key=b"k" * KEY_KEPT_BYTES_MAX, headers=headers, cut=CUT)
    message = dead_letter_message(Refusal(record, "malformed", "é" * REASON_CHARS_MAX, "r"), source="s")
    size = len(message.value or b"") + len(message.key or b"") + len(encoded(message.headers))  # type: ignore[arg-type]  # all are bytes
    assert size < 120_000


def test_names_of_headers_that_librdkafka_cannot_send_are_sent_as_text_with_their_bytes_beside() -> None:
    headers = [("tr\udcff", b"1"), ("a\0b", None), ("é", b"2")]
    assert sendable(headers) == [
        ("tr\\xff", b"1"),
        ("a\\x00b", None),
        ("é", b"2"),
        ("costream-header-names", b'{"tr\\\\xff": "dHL/", "a\\\\x00b": "YQBi"}'),
    ]
    assert sendable(headers[2:]) == headers[2:]


@pytest.mark.parametrize("timestamp", [-1, -(2**63), 2**62, 2**63 - 1, 946_684_799_999, 4_102_444_800_000])
def test_a_record_whose_time_cannot_be_is_a_dead_letter_that_is_kept_from_now_on(
    warehouse: Warehouse, source: str, timestamp: int
) -> None:
    log = [FakeRecord(wire(f"{source}-{offset}"), 0, offset) for offset in range(3)]
    log[1] = replace(log[1], timestamp=timestamp)
    ingest = ingest_of(warehouse, source)
    (flush,) = run(warehouse, ingest, log)
    assert (flush.stored, [refusal.record.offset for refusal in flush.refusals]) == (2, [1])
    assert f"the record's own time, {timestamp} ms, is not between 2000 and 2100" in flush.refusals[0].reason
    assert flush.refusals[0].request_id == f"{source}-1"
    assert flush.dead_letters["received_at"].to_list() == [NOW]


def test_changed_rows_are_published_whole_under_one_key_each(warehouse: Warehouse, source: str) -> None:
    ingest, used = ingest_of(warehouse, source), {"images": "0.7", "gpu_hours": "2"}
    first, second = (
        flush_of(ingest, log_of([wire(f"{source}-{n}", feature='a"b', revenue_usd="0.1", quantities=used)], first=n))
        for n in (0, 1)
    )
    one, two = (published(flush) for flush in (first, second))
    assert one.keys() == two.keys()
    hours = [row for row in two.values() if row["table"] == "usage_hourly"]
    assert [(row["calls"], Decimal(row["revenue_usd"]), row["feature"]) for row in hours] == [
        (2, Decimal("0.2"), 'a"b')
    ]
    units = {row["unit"]: row["amount"] for row in two.values() if row["table"] == "usage_hourly_units"}
    assert units == {"images": "1.400000000000", "gpu_hours": "4.000000000000"}
    assert {row["version"] for row in two.values()} == {1 + total(first.hourly, "version")}


@pytest.mark.parametrize("units_bytes_max", [1, 40, 100])
def test_units_and_messages_are_the_same_however_few_are_worked_on_at_once(
    warehouse: Warehouse, source: str, monkeypatch: pytest.MonkeyPatch, units_bytes_max: int
) -> None:
    log = metered_log(source)
    whole = flush_of(ingest_of(warehouse, source), log)
    few_at_once(monkeypatch, units_bytes_max)
    in_parts = flush_of(ingest_of(warehouse, source), log)
    assert whole.units.height == 8
    assert_frame_equal(in_parts.units, whole.units, check_row_order=False)
    assert published(in_parts) == published(whole)


def test_units_worked_on_by_few_lose_none_where_the_first_of_a_batch_are_delivered_again(
    warehouse: Warehouse, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are known by their rows, and their units were not stored: those are to be added before later ones are."""
    few_at_once(monkeypatch, 1)
    log = metered_log(source)
    warehouse.store(flush_of(ingest_of(warehouse, source), log[:5]), ("usage_events",))
    flush = flush_of(ingest_of(warehouse, source), log)
    assert (flush.replayed, flush.units["version"].max()) == (5, 8)
    amounts = dict(flush.units.group_by("unit").agg((pl.col("amount_pico") / 10**10).sum()).iter_rows())
    assert amounts["images"] == sum(range(2, 10))


def test_a_day_of_two_hours_takes_in_no_event_twice_where_one_hour_is_delivered_again(
    warehouse: Warehouse, source: str
) -> None:
    """A day is added up from its hours: the earliest offset of all of them says that some is applied already."""
    log = log_of(wire(f"{source}-{n}", occurred_at=f"2026-11-23T1{n % 2}:00:00Z", input_tokens=1) for n in range(6))
    warehouse.store(flush_of(ingest_of(warehouse, source), log[:4]))
    flush = flush_of(ingest_of(warehouse, source), log[2:])
    assert (flush.daily["calls"].to_list(), flush.daily["input_tokens"].to_list()) == ([6], [6])
    again = flush_of(ingest_of(warehouse, source), [log[2], *log[5:]])  # an hour with an old event, one with a new
    assert again.daily["calls"].to_list() == [5]


def metered_log(source: str) -> list[FakeRecord]:
    """Nine calls, and all but the first report units."""
    return log_of(
        wire(
            f"{source}-{n}",
            feature=f"f{n % 2}",
            quantities={"images": f"0.{n + 1:02}", f"own_{n % 3}": "2"} if n else None,
        )
        for n in range(9)
    )


def few_at_once(monkeypatch: pytest.MonkeyPatch, units_bytes_max: int) -> None:
    monkeypatch.setattr("stream.ingest.UNITS_BYTES_MAX", units_bytes_max)
    monkeypatch.setattr("stream.store.order.ENCODED_ROWS", 2)


def published(flush: Flush) -> dict[bytes | None, dict[str, Any]]:
    messages = [*hourly_messages(flush), *unit_messages(flush), *user_messages(flush)]
    return {message.key: json.loads(message.value or b"") for message in messages}


def test_a_replay_publishes_its_rows_again_since_the_crash_may_have_come_before_that(
    warehouse: Warehouse, source: str
) -> None:
    log = log_of([wire(f"{source}-a"), b"junk"])
    (before,) = run(warehouse, ingest_of(warehouse, source), log)
    again = flush_of(ingest_of(warehouse, source), log)
    assert published(again) == published(before)
    assert len(again.refusals) == 1


def test_a_batch_of_every_partition_is_sorted_out_partition_by_partition(warehouse: Warehouse, source: str) -> None:
    ids = [f"{source}-{n}" for n in range(60)]
    homes = [home_of(request_id, total=3) for request_id in ids]
    offsets: Counter[int] = Counter()
    records: list[FakeRecord] = []
    for request_id, home in zip(ids, homes, strict=True):
        records.append(FakeRecord(wire(request_id), home, offsets[home]))
        offsets[home] += 1
    run(warehouse, ingest_of(warehouse, source, range(3), count=3), records, batch=7)
    calls = {row["source_partition"]: row["calls"] for row in warehouse.rows("usage_hourly", source)}
    assert calls == dict(offsets)
