"""The audit on the real engine: it holds on what the stream stores, and names each thing that is broken on purpose."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from costream.events import UsageEvent
from costream.pricing import PriceBook
from sinks.clickhouse.connect import ClickHouseAddress, Clients
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.remover import Remover
from sinks.clickhouse.vocabulary import rows_of
from sinks.clickhouse.writer import Writer
from stream.audit import AuditCancelled, AuditReport, KafkaFacts, Repairs, audit, checks, corrections, repair
from stream.audit.checks import ATTEMPTS_MAX
from stream.audit.kafka import LogFacts
from stream.decode.cut import Cut
from stream.decode.frame import AgeLimits
from stream.dedup.home import home_partitions
from stream.ingest import Ingest
from stream.runtime.settings import Settings
from stream.store.flush import Outgoing
from stream.store.order import Store
from tests.support.databases import emptied
from tests.support.ingest import flush_of
from tests.support.warehouse import Embedded, Server, one_way_and_the_other

BOOK = PriceBook.bundled()
PARTITIONS = 4
SOURCE = "topic-1"
NOW = datetime.now(UTC).replace(minute=30, second=0, microsecond=0)  # the engine drops what its own clock calls expired
LIMITS = AgeLimits(future_max=timedelta(minutes=10), past_max=timedelta(days=90))


ROLLUP_TABLES = ("usage_hourly", "usage_hourly_units", "usage_daily", "usage_user_daily")
# The first and the last table of a flush; those between them are slow, since they are alike.
FIRST_AND_LAST = ("usage_hourly", "ingest_ledger")
TABLES_OF_A_FLUSH = [
    *FIRST_AND_LAST,
    *(pytest.param(table, marks=pytest.mark.slow) for table in ROLLUP_TABLES if table not in FIRST_AND_LAST),
]


@pytest.fixture(scope="module", params=one_way_and_the_other)
def one_database(request: pytest.FixtureRequest) -> ClickHouseAddress:
    """In this process and over HTTP: parameters and deletions travel differently."""
    warehouse: Embedded | Server = request.getfixturevalue(request.param)
    return warehouse.fresh()


@pytest.fixture(autouse=True)
def what_differs_is_asked_for_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing goes on behind the back of these tests, so the comparisons after the second would say the same."""
    monkeypatch.setattr(checks, "ATTEMPTS_MAX", 2)


@pytest.fixture
def address(one_database: ClickHouseAddress) -> ClickHouseAddress:
    """Every table, and no rows. Emptying them takes milliseconds, making them a second."""
    return emptied(one_database)


@dataclass
class Log:
    """One partition's record, as the consumer hands it over."""

    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()
    cut: Cut | None = None
    fault: str = ""
    own_time: bool = False


@dataclass
class MemoryOutbox:
    """What would be on the topics."""

    sent: dict[str, list[Outgoing]] = field(default_factory=dict)

    def publish(self, topic: str, messages: Iterable[Outgoing]) -> int:
        new = list(messages)
        self.sent.setdefault(topic, []).extend(new)
        return len(new)


class Stream:
    """The real path from records to rows, without a broker: batches go in, and may be torn at any table."""

    def __init__(self, address: ClickHouseAddress) -> None:
        self.address = address
        self.reader, self.writer, self.remover = Reader(address), Writer(address), Remover(address)
        self.clients = Clients(address)
        self.outbox = MemoryOutbox()
        self.offsets = dict.fromkeys(range(PARTITIONS), 0)
        self.ingest = self.started(since=NOW - timedelta(days=7))

    def started(self, *, since: datetime) -> Ingest:
        ingest = Ingest(reader=self.reader, book=lambda: BOOK, limits=LIMITS, ids_max=100_000)
        ingest.assign(range(PARTITIONS), partition_count=PARTITIONS, source=SOURCE, since=since)
        return ingest

    def records(self, values: Iterable[bytes], *, at: datetime = NOW) -> list[Log]:
        found = []
        for value in values:
            partition = home(value)
            found.append(Log(partition, self.offsets[partition], round(at.timestamp() * 1000), None, value))
            self.offsets[partition] += 1
        return found

    def store(self, records: Sequence[Log], *, until: str = "") -> None:
        """One flush; ``until`` names the table before which the worker is killed."""
        writer: Any = TornWriter(self.writer, until)
        outbox: Any = self.outbox
        store = Store(writer=writer, outbox=outbox, settings=Settings())
        flush = flush_of(self.ingest, records)
        try:
            store.save(flush, source=SOURCE)
        except Killed:
            assert until

    def audit(self, **options: Any) -> AuditReport:
        return audit(self.reader, clock=lambda: NOW, **{"pause": lambda: None} | options)

    def repair(self, *, writer: Any = None, remover: Any = None, at: datetime = NOW) -> Repairs:
        return repair(self.reader, writer or self.writer, remover or self.remover, clock=lambda: at, pause=lambda: None)

    def run(self, sql: str) -> None:
        with self.clients.use() as client:
            client.command(sql)

    def close(self) -> None:
        for part in (self.reader, self.writer, self.remover, self.clients):
            part.close()


class Killed(Exception):
    """The process ends here."""


@dataclass
class TornWriter:
    """Dies before it writes to one table."""

    writer: Writer
    before: str

    def insert(self, table: str, frame: pl.DataFrame) -> int:
        if table == self.before:
            raise Killed(table)
        return self.writer.insert(table, frame)


@dataclass
class DeadRemover:
    """Dies before it deletes."""

    def remove_events(self, positions: Sequence[tuple[str, int, int]]) -> None:
        raise Killed(positions)


def home(value: bytes) -> int:
    try:
        request_id = json.loads(value)["request_id"]
    except (ValueError, KeyError):
        return 0
    return int(home_partitions(pl.Series([request_id]), PARTITIONS)[0])


def event(number: int, **fields: Any) -> bytes:
    usual: dict[str, Any] = {
        "request_id": f"request-{number}",
        "occurred_at": NOW - timedelta(hours=number % 30, minutes=1),
        "provider": "openai",
        "model": ("gpt-4o-mini", "gpt-4o", "nobody-knows")[number % 3],
        "feature": ("chat", "search")[number % 2],
        "user_id": f"user-{number % 5}",
        "status": ("ok", "error")[number % 7 == 0],
        "input_tokens": 1_000 + number,
        "output_tokens": 100,
        "cache_read_tokens": 10,
        "duration_ms": 5 if number % 4 else None,
        "revenue_usd": Decimal("0.000000000007"),
        "quantities": {"images": Decimal("0.5")} if number % 11 == 0 else {},
    }
    return UsageEvent(**usual | fields).to_json()


@pytest.fixture
def stream(address: ClickHouseAddress) -> Iterator[Stream]:
    """A warehouse with 200 events, 20 of them sent twice, a conflict, a malformed record and one for another home."""
    stream = Stream(address)
    values = [event(number) for number in range(200)]
    stream.store(stream.records(values))
    stream.store(stream.records([*values[:20], event(7, input_tokens=9_999), b"{", event(201)]))
    astray = event(202)
    elsewhere = (home(astray) + 1) % PARTITIONS
    stream.store([Log(elsewhere, stream.offsets[elsewhere], round(NOW.timestamp() * 1000), None, astray)])
    stream.offsets[elsewhere] += 1
    yield stream
    stream.close()


def broken(report: AuditReport) -> dict[str, int]:
    return {check.name: check.differing for check in report.checks if not check.holds}


# --- it holds --------------------------------------------------------------------------------------------------------


def test_it_holds_on_what_the_stream_stores(stream: Stream) -> None:
    report = stream.audit()
    assert broken(report) == {}
    assert report.holds
    totals = {name: sum(getattr(each, name) for each in report.partitions) for name in TOTALS}
    assert totals == {"received": 224, "stored": 201, "duplicates": 20, "dead_lettered": 2, "forwarded": 1}
    of_users = report.check("usage_user_daily").question
    assert of_users == "sum(usage_events) = sum(usage_user_daily) by day, user_id and partition"


TOTALS = ("received", "stored", "duplicates", "dead_lettered", "forwarded")


def test_one_that_is_cancelled_ends_before_its_next_step(stream: Stream) -> None:
    steps = list[str]()

    def told(doing: str, done: int, total: int) -> None:
        steps.append(doing)

    with pytest.raises(AuditCancelled):
        audit(stream.reader, clock=lambda: NOW, progress=told, cancelled=lambda: len(steps) >= 2)
    assert steps == ["records and offsets", "usage_hourly"]


def test_it_holds_on_an_empty_warehouse(address: ClickHouseAddress) -> None:
    reader = Reader(address)
    assert audit(reader, clock=lambda: NOW).holds
    reader.close()


@pytest.mark.parametrize("until", TABLES_OF_A_FLUSH)
def test_a_flush_under_way_is_in_flight_and_no_difference(stream: Stream, until: str) -> None:
    stream.store(stream.records(event(number) for number in range(300, 340)), until=until)
    report = stream.audit()
    assert broken(report) == {}
    assert sum(each.in_flight for each in report.partitions) == 40


@pytest.mark.parametrize("until", ["usage_events", "ingest_ledger"])
def test_a_dead_letter_of_a_flush_under_way_is_no_difference(stream: Stream, until: str) -> None:
    stream.store(stream.records([event(300), b"junk", event(301)]), until=until)
    assert broken(stream.audit()) == {}


@pytest.mark.parametrize("until", TABLES_OF_A_FLUSH)
def test_a_torn_flush_that_is_replayed_leaves_no_trace(stream: Stream, until: str) -> None:
    records = stream.records(event(number) for number in range(300, 340))
    stream.store(records, until=until)
    stream.ingest = stream.started(since=NOW - timedelta(days=7))
    stream.store(records)
    report = stream.audit()
    assert broken(report) == {}
    assert sum(each.in_flight for each in report.partitions) == 0


def test_a_gap_in_the_offsets_is_told_and_no_loss(stream: Stream) -> None:
    stream.offsets[1] += 70_000  # as compaction leaves it, over the edge of a block
    stream.store(stream.records(event(number) for number in range(300, 340)))
    report = stream.audit()
    assert broken(report) == {}
    assert {each.partition: each.offsets_without_record for each in report.partitions}[1] == 70_000


# --- it names what is broken -----------------------------------------------------------------------------------------


def test_a_lost_raw_row_is_named_by_its_block_and_by_its_rollups(stream: Stream) -> None:
    stream.run("DELETE FROM usage_events_rows WHERE request_id = 'request-8'")
    report = stream.audit()
    assert broken(report) == {"raw rows": 1, "usage_hourly": 1, "usage_daily": 1, "usage_user_daily": 1}
    finding = report.check("raw rows").findings[0]
    assert finding.where == {"source": SOURCE, "source_partition": home(event(8)), "offset_block": 0}
    assert finding.numbers["stored"] == int(str(finding.numbers["rows"])) + 1
    hour = report.check("usage_hourly").findings[0]
    assert (hour.where["model"], hour.numbers["calls_raw"], hour.numbers["calls_rolled"]) == ("nobody-knows", 3, 4)


def test_a_raw_row_that_the_ledger_does_not_know_is_named(stream: Stream) -> None:
    row = stream.reader.frame("SELECT * FROM usage_events_rows FINAL LIMIT 1")
    stream.writer.insert("usage_events", row.with_columns(request_id=pl.lit("forged")))
    assert "raw rows" in broken(stream.audit())


def test_a_wrong_number_in_the_ledger_is_named(stream: Stream) -> None:
    stream.run(
        "INSERT INTO ingest_ledger_rows SELECT * REPLACE (duplicates + 1 AS duplicates) FROM ingest_ledger_rows FINAL "
        "WHERE source_partition = 2"
    )
    report = stream.audit()
    assert broken(report) == {"records": 1}
    finding = report.check("records").findings[0]
    assert finding.where["source_partition"] == 2
    assert finding.numbers["received"] != sum(int(str(finding.numbers[name])) for name in TOTALS[1:])


def test_more_records_than_offsets_are_named(stream: Stream) -> None:
    stream.run(
        "INSERT INTO ingest_ledger_rows SELECT * REPLACE (received + 9 AS received, duplicates + 9 AS duplicates) "
        "FROM ingest_ledger_rows FINAL WHERE source_partition = 2"
    )
    assert broken(stream.audit()) == {"records": 1}


def test_a_lost_dead_letter_is_named(stream: Stream) -> None:
    stream.run("DELETE FROM dead_letters_rows WHERE kind = 'conflict'")
    report = stream.audit()
    assert broken(report) == {"dead letters": 1}
    assert report.check("dead letters").findings[0].where["source_partition"] == home(event(7))


def test_a_doubled_hourly_row_is_named_with_its_key(stream: Stream) -> None:
    stream.run(
        "INSERT INTO usage_hourly_rows SELECT * REPLACE (2 * calls AS calls, 2 * cost_usd AS cost_usd) "
        "FROM usage_hourly_rows FINAL WHERE model = 'gpt-4o' ORDER BY hour, source_partition LIMIT 1"
    )
    report = stream.audit()
    assert broken(report) == {"usage_hourly": 1}
    finding = report.check("usage_hourly").findings[0]
    assert finding.where["model"] == "gpt-4o"
    assert finding.where["source_partition"] in range(PARTITIONS)
    assert finding.numbers["cost_usd_rolled"] == 2 * Decimal(str(finding.numbers["cost_usd_raw"]))


ALIKE = [pytest.param(table, marks=pytest.mark.slow) for table in ("usage_daily", "usage_user_daily")]


@pytest.mark.parametrize("table", ["usage_hourly", *ALIKE])
def test_a_cost_that_is_off_by_the_last_digit_is_named(stream: Stream, table: str) -> None:
    stream.run(
        f"INSERT INTO {rows_of(table)} SELECT * REPLACE (cost_usd + toDecimal128('0.000000000001', 12) AS cost_usd) "
        f"FROM {rows_of(table)} FINAL LIMIT 1"
    )
    report = stream.audit()
    assert broken(report) == {table: 1}
    numbers = report.check(table).findings[0].numbers
    assert set(numbers) == {"cost_usd_raw", "cost_usd_rolled"}
    assert Decimal(str(numbers["cost_usd_rolled"])) - Decimal(str(numbers["cost_usd_raw"])) == Decimal("1e-12")


def test_tokens_that_a_row_from_before_does_not_know_differ_from_nothing_and_stay_unknown(stream: Stream) -> None:
    stream.run(
        "INSERT INTO usage_hourly_rows SELECT * REPLACE (CAST(NULL AS Nullable(Int64)) AS unpriced_tokens) "
        "FROM usage_hourly_rows FINAL ORDER BY hour LIMIT 1"
    )
    assert stream.audit().holds
    stream.run(
        "INSERT INTO usage_hourly_rows SELECT * REPLACE (calls + 1 AS calls) "
        "FROM usage_hourly_rows FINAL WHERE unpriced_tokens IS NULL"
    )
    assert broken(stream.audit()) == {"usage_hourly": 1}
    assert stream.repair().corrected == 1
    assert stream.audit().holds
    unknown = stream.reader.frame("SELECT countIf(unpriced_tokens IS NULL) FROM usage_hourly").item()
    assert unknown == 1


HOURLY_COLUMNS = (
    *("errors", "unpriced_calls", "partial_calls", "unpriced_tokens", "partial_tokens"),
    *("input_tokens", "output_tokens", "cache_read_tokens"),
    *("cache_write_tokens", "reasoning_tokens", "revenue_usd", "duration_ms", "duration_calls"),
)


def test_every_column_of_an_hour_is_compared(stream: Stream) -> None:
    """Each of the first cells is off by one in a column of its own; no finding names another column."""
    keys = "ORDER BY hour, model, feature, source_partition"
    for place, column in enumerate(HOURLY_COLUMNS):
        stream.run(
            f"INSERT INTO usage_hourly_rows SELECT * REPLACE (CAST({column} + 1 AS {column_type(column)}) AS {column}) "
            f"FROM usage_hourly_rows FINAL {keys} LIMIT 1 OFFSET {place}"
        )
    report = stream.audit()
    assert broken(report) == {"usage_hourly": len(HOURLY_COLUMNS)}
    named = [set(finding.numbers) for finding in report.check("usage_hourly").findings]
    assert all({f"{column}_raw", f"{column}_rolled"} in named for column in HOURLY_COLUMNS)


def column_type(column: str) -> str:
    return "Decimal(38, 12)" if column.endswith("_usd") else "Int64"


@pytest.mark.parametrize("half", ["amount_whole", pytest.param("amount_pico", marks=pytest.mark.slow)])
def test_units_are_compared_one_by_one(stream: Stream, half: str) -> None:
    stream.run(
        f"INSERT INTO usage_hourly_units_rows SELECT * REPLACE (CAST({half} + 1 AS Decimal(38, 0)) AS {half}) "
        "FROM usage_hourly_units_rows FINAL LIMIT 1"
    )
    report = stream.audit()
    assert broken(report) == {"usage_hourly_units": 1}
    finding = report.check("usage_hourly_units").findings[0]
    assert finding.where["unit"] == "images"
    assert set(finding.numbers) == {f"{half}_raw", f"{half}_rolled"}
    assert stream.repair() == Repairs(removed=0, corrected=1, left=0)
    assert broken(stream.audit()) == {}


def test_an_hourly_row_without_any_raw_row_is_named(stream: Stream) -> None:
    stream.run(
        "INSERT INTO usage_hourly_rows SELECT * REPLACE ('forged' AS feature) FROM usage_hourly_rows FINAL LIMIT 1"
    )
    assert broken(stream.audit()) == {"usage_hourly": 1}


# --- ids in two hours, and their repair ------------------------------------------------------------------------------


@pytest.fixture
def resent(stream: Stream) -> Stream:
    """Two old ids sent again with a new time, by a worker whose dedup window no longer reaches them."""
    stream.ingest = stream.started(since=NOW)
    again = NOW - timedelta(minutes=1)
    later = NOW + timedelta(minutes=5)
    values = [event(n, occurred_at=again, quantities={"images": Decimal("1.25")}) for n in (11, 22)]
    stream.store(stream.records(values, at=later))
    return stream


def test_an_id_counted_in_two_hours_is_named_with_its_later_row(resent: Stream) -> None:
    report = resent.audit()
    assert broken(report) == {"ids": 2}
    finding = report.check("ids").findings[0]
    assert finding.where == {"request_id": "request-11", "occurred_at": NOW - timedelta(minutes=1)}
    later = resent.reader.frame(
        "SELECT source, source_partition, source_offset, received_at, cost_usd FROM usage_events_rows FINAL "
        "WHERE request_id = 'request-11' ORDER BY received_at DESC LIMIT 1"
    ).row(0, named=True)
    assert finding.numbers == later | {"kept_occurred_at": NOW - timedelta(hours=11, minutes=1)}


@pytest.mark.slow
def test_what_is_compared_in_many_parts_is_counted_whole_and_named_up_to_the_bound(
    resent: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    for bound, least in (("SHARD_ROWS_MAX", 40), ("SPAN_ROWS_MAX", 20), ("FINDINGS_MAX", 1)):
        monkeypatch.setattr(checks, bound, least)
    resent.run(
        "INSERT INTO usage_user_daily_rows SELECT * REPLACE (calls + 5 AS calls) FROM usage_user_daily_rows FINAL"
    )
    rows = resent.reader.frame("SELECT count() AS rows FROM usage_user_daily_rows FINAL")["rows"][0]
    report = resent.audit()
    assert broken(report) == {"ids": 2, "usage_user_daily": rows}
    assert [len(report.check(name).findings) for name in ("ids", "usage_user_daily")] == [1, 1]


def test_a_repair_keeps_the_first_row_and_corrects_the_hour(resent: Stream) -> None:
    before = sums(resent)
    assert resent.repair() == Repairs(removed=2, corrected=8, left=0)
    report = resent.audit()
    assert broken(report) == {}
    after = sums(resent)
    assert after["calls"] == before["calls"] - 2
    assert after["duplicates"] == before["duplicates"] + 2
    kept = resent.reader.frame(
        "SELECT occurred_at FROM usage_events_rows FINAL WHERE request_id IN ('request-11', 'request-22')"
    )
    assert kept["occurred_at"].max() == NOW - timedelta(hours=11, minutes=1)


def sums(stream: Stream) -> dict[str, Any]:
    return stream.reader.frame(
        "SELECT sum(calls) AS calls, sum(duplicates) AS duplicates, sum(cost_usd) AS cost_usd FROM usage_hourly"
    ).row(0, named=True)


@pytest.mark.slow
def test_a_removed_row_is_kept_whole(resent: Stream) -> None:
    whole = resent.reader.frame(
        "SELECT * FROM usage_events_rows FINAL WHERE request_id = 'request-11' ORDER BY received_at DESC LIMIT 1"
    ).row(0, named=True)
    resent.repair()
    removed = resent.reader.frame("SELECT * FROM removed_events_rows FINAL WHERE request_id = 'request-11'")
    copy = json.loads(removed["event"][0])
    assert set(copy) == set(whole)
    assert Decimal(copy["revenue_usd"]) == whole["revenue_usd"]
    assert copy["quantities"] == whole["quantities"]
    assert "counted before" in removed["reason"][0]


def test_a_second_repair_does_nothing(resent: Stream) -> None:
    resent.repair()
    before = sums(resent)
    assert resent.repair(at=NOW + timedelta(minutes=1)) == Repairs(removed=0, corrected=0, left=0)
    assert sums(resent) == before


@pytest.mark.slow
def test_a_second_resending_adds_to_the_correction(resent: Stream) -> None:
    resent.repair()
    resent.ingest = resent.started(since=NOW)
    again = event(11, occurred_at=NOW - timedelta(minutes=2), quantities={"images": Decimal("1.25")})
    resent.store(resent.records([again], at=NOW + timedelta(minutes=8)))
    assert broken(resent.audit()) == {"ids": 1}
    resent.repair(at=NOW + timedelta(minutes=1))
    assert broken(resent.audit()) == {}
    assert sums(resent)["duplicates"] == 23


def killed_before_the_copy(stream: Stream) -> None:
    stream.repair(writer=TornWriter(stream.writer, "removed_events"))


def killed_before_the_deletion(stream: Stream) -> None:
    stream.repair(remover=DeadRemover())


def killed_before_the_hours(stream: Stream) -> None:
    stream.repair(writer=TornWriter(stream.writer, "usage_hourly"))


def killed_before_the_days(stream: Stream) -> None:
    stream.repair(writer=TornWriter(stream.writer, "usage_user_daily"))


@pytest.mark.parametrize(
    ("breaks_off", "left"),
    [
        pytest.param(killed_before_the_copy, {"ids": 2}, marks=pytest.mark.slow),
        (
            killed_before_the_deletion,
            dict.fromkeys(ROLLUP_TABLES, 2) | {"removals": 2},
        ),
        pytest.param(
            killed_before_the_hours,
            {"usage_hourly": 2, "usage_hourly_units": 2, "usage_daily": 2, "usage_user_daily": 2},
            marks=pytest.mark.slow,
        ),
        pytest.param(killed_before_the_days, {"usage_user_daily": 2}, marks=pytest.mark.slow),
    ],
)
def test_a_repair_that_breaks_off_is_seen_and_completed(
    resent: Stream, breaks_off: Callable[[Stream], None], left: dict[str, int]
) -> None:
    with pytest.raises(Killed):
        breaks_off(resent)
    assert broken(resent.audit()) == left
    resent.repair(at=NOW + timedelta(minutes=1))
    assert broken(resent.audit()) == {}
    assert sums(resent)["duplicates"] == 22


@pytest.mark.slow
def test_of_two_corrections_of_a_cell_the_later_one_wins_though_a_millisecond_apart(resent: Stream) -> None:
    resent.repair()
    versions = (
        "SELECT DISTINCT toInt64(version) AS version FROM usage_hourly_rows WHERE startsWith(source, 'correction:')"
    )
    assert resent.reader.frame(versions)["version"].to_list() == [round(NOW.timestamp() * 1000)]


@pytest.mark.slow
def test_what_was_removed_says_when(resent: Stream) -> None:
    resent.repair()
    removed = resent.reader.frame("SELECT DISTINCT removed_at FROM removed_events")["removed_at"].to_list()
    assert removed == [NOW]


@pytest.mark.slow
def test_a_removed_row_that_a_replay_stores_again_is_seen_and_removed_again(resent: Stream) -> None:
    row = resent.reader.frame(
        "SELECT * FROM usage_events_rows FINAL WHERE request_id = 'request-11' ORDER BY received_at DESC LIMIT 1"
    )
    resent.repair()
    resent.writer.insert("usage_events", row)
    report = resent.audit()
    assert broken(report) == {"removals": 1}
    finding = report.check("removals").findings[0]
    assert finding.where == row.select("request_id", "occurred_at", "source", "source_partition").row(0, named=True)
    assert finding.numbers == {"source_offset": row["source_offset"][0]}
    assert resent.repair(at=NOW + timedelta(minutes=1)).removed == 1
    assert broken(resent.audit()) == {}


@pytest.mark.slow
def test_a_worker_that_goes_on_after_a_repair_counts_right(resent: Stream) -> None:
    resent.repair()
    resent.store(resent.records(event(number, occurred_at=NOW - timedelta(minutes=1)) for number in range(400, 440)))
    assert broken(resent.audit()) == {}
    resent.ingest = resent.started(since=NOW - timedelta(days=7))
    resent.store(resent.records(event(number, occurred_at=NOW - timedelta(minutes=1)) for number in range(440, 460)))
    assert broken(resent.audit()) == {}


# --- rebuilding rollups ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "at_once"), [pytest.param("usage_hourly", 10_000, marks=pytest.mark.slow), ("usage_user_daily", 15)]
)
def test_dropped_rollups_are_rebuilt_exactly_in_as_many_rounds_as_it_takes(
    stream: Stream, table: str, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (checks, corrections):
        monkeypatch.setattr(module, "CELLS_MAX", at_once)
    totals = f"SELECT sum(calls), sum(errors), sum(unpriced_calls), sum(input_tokens), sum(cost_usd) FROM {table}"
    before = stream.reader.frame(totals)
    stream.run(f"TRUNCATE TABLE {rows_of(table)}")
    stream.repair()
    assert broken(stream.audit()) == {}
    assert stream.reader.frame(totals).equals(before)


def test_a_wrong_rollup_is_corrected_while_a_flush_is_under_way(stream: Stream) -> None:
    stream.run("INSERT INTO usage_hourly_rows SELECT * REPLACE (calls + 5 AS calls) FROM usage_hourly_rows FINAL")
    torn = stream.records(event(number) for number in range(300, 340))
    stream.store(torn, until="usage_hourly")
    assert stream.repair().left == 0
    stream.ingest = stream.started(since=NOW - timedelta(days=7))
    stream.store(torn)
    assert broken(stream.audit()) == {}
    assert sums(stream)["calls"] == 241


def test_rollups_of_a_partition_with_lost_raw_rows_are_left_alone_and_those_of_others_are_corrected(
    stream: Stream,
) -> None:
    before = sums(stream)
    stream.run("DELETE FROM usage_events_rows WHERE request_id = 'request-8'")
    stream.run(
        "INSERT INTO usage_hourly_rows SELECT * REPLACE (calls + 5 AS calls) FROM usage_hourly_rows FINAL "
        f"WHERE source_partition != {home(event(8))} LIMIT 1"
    )
    assert stream.repair() == Repairs(removed=0, corrected=1, left=3)
    assert sums(stream) == before


# --- a live system ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_difference_that_passes_by_the_last_time_it_is_asked_for_is_none(
    stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever two reads saw of a flush between them is over a moment later."""
    monkeypatch.setattr(checks, "ATTEMPTS_MAX", ATTEMPTS_MAX)
    stream.run("INSERT INTO usage_hourly_rows SELECT * REPLACE (calls + 5 AS calls) FROM usage_hourly_rows FINAL")
    pauses = 0

    def pause() -> None:
        nonlocal pauses
        pauses += 1
        if pauses == ATTEMPTS_MAX - 1:
            stream.run(
                "INSERT INTO usage_hourly_rows SELECT * REPLACE (calls - 5 AS calls) FROM usage_hourly_rows FINAL"
            )

    assert stream.audit(pause=pause).check("usage_hourly").holds
    assert pauses == ATTEMPTS_MAX - 1


# --- Kafka -----------------------------------------------------------------------------------------------------------


def logs(stream: Stream, **fields: int | None) -> KafkaFacts:
    ends = {partition: stream.offsets[partition] for partition in range(PARTITIONS)}
    usual = [{"partition": p, "begin": 0, "end": end, "committed": end} for p, end in ends.items()]
    usual[0] |= fields
    return KafkaFacts(SOURCE, tuple(LogFacts(**log) for log in usual))  # type: ignore[arg-type]  # built from a dict


def test_a_committed_offset_at_the_ledgers_end_holds(stream: Stream) -> None:
    report = stream.audit(kafka=logs(stream))
    assert report.holds
    assert [each.lag for each in report.partitions] == [0] * PARTITIONS


def test_a_committed_offset_above_the_ledger_is_a_loss(stream: Stream) -> None:
    end = stream.offsets[0]
    report = stream.audit(kafka=logs(stream, committed=end + 3, end=end + 3))
    assert broken(report) == {"kafka": 1}
    assert report.check("kafka").findings[0].numbers["records"] == 3


def test_records_not_read_yet_are_lag_and_no_loss(stream: Stream) -> None:
    report = stream.audit(kafka=logs(stream, end=stream.offsets[0] + 3))
    assert report.holds
    assert report.partitions[0].lag == 3


def test_records_that_expired_in_the_log_unread_are_a_loss(stream: Stream) -> None:
    end = stream.offsets[0]
    assert stream.audit(kafka=logs(stream, begin=end, end=end)).holds
    report = stream.audit(kafka=logs(stream, begin=end + 5, end=end + 9))
    assert broken(report) == {"kafka": 1}
    assert report.check("kafka").findings[0].numbers["records"] == 5


def test_another_incarnation_of_the_topic_is_not_compared(stream: Stream) -> None:
    facts = logs(stream)
    report = stream.audit(
        kafka=KafkaFacts("topic-2", tuple(LogFacts(p.partition, 0, 0, None) for p in facts.partitions))
    )
    assert report.holds
    assert report.partitions[0].committed is None


# --- the report ------------------------------------------------------------------------------------------------------


def test_the_report_as_json_has_money_as_text_and_no_float(stream: Stream) -> None:
    stream.run(
        "INSERT INTO usage_hourly_rows SELECT * REPLACE (cost_usd + toDecimal128('0.000000000001', 12) AS cost_usd) "
        "FROM usage_hourly_rows FINAL LIMIT 1"
    )

    def no_float(text: str) -> None:
        raise AssertionError(f"a float: {text}")

    told = json.loads(stream.audit().to_json(), parse_float=no_float)
    assert not told["holds"]
    numbers = next(check for check in told["checks"] if check["name"] == "usage_hourly")["findings"][0]["numbers"]
    assert isinstance(numbers["cost_usd_raw"], str)
    assert "E" not in numbers["cost_usd_raw"]
