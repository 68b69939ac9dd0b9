"""Reading offsets again on the embedded engine: what a hand has deleted comes back exactly, and nothing else comes.

The traffic is the storm's (repeats, conflicts, strays, junk), and so is the plain recount that has the last word.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from costream.pricing import PriceBook
from sinks.clickhouse.connect import ClickHouseAddress, Clients
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.remover import Remover
from sinks.clickhouse.vocabulary import rows_of
from sinks.clickhouse.writer import Writer
from stream.audit import AuditReport, Repairs, audit, repair
from stream.audit.budget_sums import state
from stream.ingest import Ingest
from stream.reread import LogEnds, LogRecord, Offsets, Outcome, reread
from stream.reread.restore import Derive
from tests.chaos import traffic
from tests.chaos.recount import Recount, daily, home, hourly, recount, user_daily
from tests.chaos.verdict import Verdict, _stored_days, _stored_hours, _stored_user_days, compare
from tests.support.ingest import BOOK, COUNTED, SHIPPED, TABLES, Warehouse, flush_of
from tests.support.records import LIMITS
from tests.support.warehouse import Embedded

PARTITIONS = 3
SOURCE = "topic-1"
NOW = datetime.now(UTC).replace(microsecond=0)  # the engine drops what its own clock calls expired
DEDUP_WINDOW = timedelta(days=7)


@pytest.fixture(scope="module")
def database(clickhouse_embedded: Embedded) -> ClickHouseAddress:
    return clickhouse_embedded.fresh()


class Site:
    """Logs in memory, a worker's state, and the warehouse that it stores into."""

    def __init__(self, address: ClickHouseAddress, folder: Path) -> None:
        self.reader, self.writer, self.remover = Reader(address), Writer(address), Remover(address)
        self.clients = Clients(address)
        self.logs: dict[int, list[LogRecord]] = {partition: [] for partition in range(PARTITIONS)}
        self.begin = dict.fromkeys(range(PARTITIONS), 0)
        self.taken = dict.fromkeys(range(PARTITIONS), 0)
        self.path = folder / "published.jsonl"
        self.lines: list[str] = []
        self.partition_count = PARTITIONS
        self.ingest = self.started()
        state(self.reader, self.writer, SHIPPED, COUNTED, now=NOW, kept=NOW.date() - timedelta(days=60))

    # --- the log, as stream.reread sees it ---

    def ends(self, partition: int) -> LogEnds:
        return LogEnds(self.begin[partition], len(self.logs[partition]))

    def read(self, partition: int, first: int, last: int) -> Iterator[list[LogRecord]]:
        records = self.logs[partition][max(first, self.begin[partition]) : last + 1]
        for at in range(0, len(records), 97):  # as a fetch would cut them
            yield records[at : at + 97]

    def append(self, partition: int, value: bytes | None, headers: Any = ()) -> int:
        log = self.logs[partition]
        log.append(LogRecord(partition, len(log), round(NOW.timestamp() * 1000), None, value, list(headers)))
        return len(log) - 1

    # --- the stream ---

    def started(self, *, since: datetime = NOW - DEDUP_WINDOW) -> Ingest:
        ingest = Ingest(reader=self.reader, book=lambda: BOOK, budgets=lambda: COUNTED, limits=LIMITS, ids_max=100_000)
        ingest.assign(range(self.partition_count), partition_count=self.partition_count, source=SOURCE, since=since)
        return ingest

    def publish(self, letters: Sequence[traffic.Letter], dice: random.Random) -> None:
        for letter in letters:
            if letter.kind == "aborted":
                continue  # Kafka does not hand it over
            stray = letter.route in ("wrong_key", "no_key", "other_partitioner")
            at_home = home(letter.request_id, self.partition_count)
            self.append(dice.randrange(self.partition_count) if stray else at_home, letter.value)
            self.lines.append(letter.line())

    def run(self) -> None:
        """Store all that the logs have, and what is forwarded of it."""
        while any(self.taken[partition] < len(log) for partition, log in self.logs.items()):
            batch = [record for partition, log in self.logs.items() for record in log[self.taken[partition] :][:400]]
            for partition, records in Counter(record.partition for record in batch).items():
                self.taken[partition] += records
            flush = flush_of(self.ingest, batch)
            Warehouse(self.reader, self.writer).store(flush)
            for message in flush.forwards:
                assert message.partition is not None
                self.append(message.partition, message.value, message.headers)

    # --- what a person does ---

    def sql(self, statement: str) -> None:
        with self.clients.use() as client:
            client.command(statement)

    def reread(self, *asked: Offsets, write: bool = True, book: PriceBook = BOOK) -> list[Outcome]:
        derive = Derive(SOURCE, self.partition_count, book, LIMITS, DEDUP_WINDOW)
        every = [Offsets(partition, 0, self.taken[partition] - 1) for partition in self.logs if self.taken[partition]]
        writer = self.writer if write else None
        return reread(self, self.reader, writer, asked or every, derive=derive, now=NOW)

    def repair(self) -> Repairs:
        return repair(self.reader, self.writer, self.remover, clock=lambda: NOW, pause=lambda: None)

    def audit(self) -> AuditReport:
        return audit(self.reader, clock=lambda: NOW, pause=lambda: None)

    # --- what must hold ---

    def published(self) -> Recount:
        self.path.write_text("\n".join(self.lines) + "\n")
        return recount(self.path)

    def check(self) -> None:
        """Every cell of every table, against what was published; and the audit."""
        verdict = Verdict()
        records: Any = [record for log in self.logs.values() for record in log]
        compare(verdict, self.published(), self.reader, records, hostile={}, partitions=PARTITIONS)
        assert verdict.holds, verdict.examples
        assert broken(self.audit()) == {}

    def check_sums(self) -> None:
        """The same where rollups were rebuilt: how often an id came again is known to the ledger alone then."""
        events = self.published().events.values()
        want, have = hourly(events, {}), _stored_hours(self.reader)
        days = daily(want)
        for cell in (*want.values(), *have.values()):
            cell.pop("duplicates")
        assert have == want
        assert _stored_days(self.reader) == days
        assert _stored_user_days(self.reader) == user_daily(events)
        assert broken(self.audit()) == {}

    def rows(self) -> list[dict[str, Any]]:
        """Every raw row, whole. How metadata is spelled depends on the batch it came in."""
        frame = self.reader.frame("SELECT * FROM usage_events_rows FINAL ORDER BY request_id").drop("stored_at")
        return [row | {"metadata": json.loads(row["metadata"] or "{}")} for row in frame.to_dicts()]

    def close(self) -> None:
        for part in (self.reader, self.writer, self.remover, self.clients):
            part.close()


def broken(report: AuditReport) -> dict[str, int]:
    return {check.name: check.differing for check in report.checks if not check.holds}


def totals(outcomes: Sequence[Outcome], *names: str) -> tuple[int, ...]:
    return tuple(sum(getattr(outcome, name) for outcome in outcomes) for name in names)


@pytest.fixture
def site(database: ClickHouseAddress, tmp_path: Path) -> Iterator[Site]:
    """300 events of a storm, stored."""
    clients = Clients(database)
    with clients.use() as client:
        for table in (*TABLES, "removed_events"):
            client.command(f"TRUNCATE TABLE {rows_of(table)}")
    clients.close()
    site = Site(database, tmp_path)
    dice = random.Random(11)
    site.publish(traffic.plan(dice, start=NOW - timedelta(minutes=2), events=300, seconds=60), dice)
    site.run()
    yield site
    site.close()


RAW = "DELETE FROM usage_events_rows WHERE {}"


def test_where_nothing_is_missing_nothing_is_written(site: Site) -> None:
    site.check()
    outcomes = site.reread()
    assert totals(outcomes, "restored", "dead_letters_restored", "counted_again", "unclear") == (0, 0, 0, 0)
    kinds = ("stored", "duplicates", "forwarded", "dead_letters")
    assert sum(totals(outcomes, *kinds)) == totals(outcomes, "records")[0] == sum(map(len, site.logs.values()))
    site.check()


@pytest.mark.parametrize("lost", ["1", pytest.param("source_offset % 3 = 0", marks=pytest.mark.slow)])
@pytest.mark.slow
def test_raw_rows_that_a_hand_deleted_come_back_exactly(site: Site, lost: str) -> None:
    stored = site.rows()
    site.sql(RAW.format(lost))
    assert "raw rows" in broken(site.audit())
    outcomes = site.reread()
    assert totals(outcomes, "restored") == (len(stored) - totals(outcomes, "stored")[0],)
    assert site.rows() == stored
    site.check()


def test_dead_letters_that_a_hand_deleted_come_back_conflicts_too(site: Site) -> None:
    site.sql("DELETE FROM dead_letters_rows WHERE 1")
    assert "dead letters" in broken(site.audit())
    (restored,) = totals(site.reread(), "dead_letters_restored")
    assert restored > 0
    site.check()


@pytest.mark.slow
def test_raw_rows_and_rollups_deleted_both_come_back(site: Site) -> None:
    site.sql(RAW.format("source_offset % 2 = 0"))
    for table in set(TABLES) - {"usage_events", "ingest_ledger", "dead_letters"}:
        site.sql(f"DELETE FROM {rows_of(table)} WHERE source_partition != 1")
    site.reread()
    assert site.repair().left == 0
    site.check_sums()


@pytest.mark.slow
def test_a_rehearsal_says_what_would_be_added_and_writes_nothing(site: Site) -> None:
    site.sql(RAW.format("source_offset % 2 = 0"))
    before = broken(site.audit())
    rehearsed = site.reread(write=False)
    assert broken(site.audit()) == before
    done = site.reread()
    assert [each.to_dict() for each in rehearsed] == [each.to_dict() for each in done]
    assert totals(done, "restored")[0] > 50


@pytest.mark.slow
def test_a_second_run_adds_nothing(site: Site) -> None:
    site.sql(RAW.format("1"))
    site.reread()
    assert totals(site.reread(), "restored", "dead_letters_restored", "counted_again") == (0, 0, 0)
    site.check()


@pytest.mark.slow
def test_only_the_offsets_asked_for_are_restored(site: Site) -> None:
    site.sql(RAW.format("1"))
    (outcome,) = site.reread(Offsets(1, 20, 59))
    assert outcome.records == 40
    rows = site.reader.frame("SELECT source_partition, source_offset FROM usage_events_rows FINAL")
    assert rows.height == outcome.restored > 20
    assert set(rows["source_partition"]) == {1}
    assert rows["source_offset"].min() >= 20  # type: ignore[operator]  # a column of numbers
    assert rows["source_offset"].max() <= 59  # type: ignore[operator]  # likewise


def test_offsets_that_no_worker_has_applied_are_left_to_the_workers(site: Site) -> None:
    dice = random.Random(12)
    site.publish(traffic.plan(dice, start=NOW, events=50, seconds=1), dice)
    end = len(site.logs[1]) - 1
    (outcome,) = site.reread(Offsets(1, 0, end))
    assert outcome.records == site.taken[1]
    assert outcome.notes == [
        f"offsets {site.taken[1]}-{end} are not in the ledger: a worker stores them when it reads them; they were "
        "left alone"
    ]
    site.run()
    site.check()


def test_no_offset_more_is_read_than_is_asked_for_and_kafka_has(site: Site) -> None:
    site.begin = dict.fromkeys(site.begin, 30)
    applied = site.taken[1]
    backup = (
        "Kafka has no offsets before 30 any more: what is missing of them can only come from a backup of usage_events"
    )
    for first, last, records, missing, note in (
        (40, 40, 1, 0, ""),
        (30, 39, 10, 0, ""),
        (29, 30, 1, 1, backup),
        (20, 39, 10, 10, backup),
        (10, 29, 0, 20, backup),
        (applied - 1, applied, 1, 0, f"offsets {applied}-{applied} are not in the ledger"),
        (applied, applied + 5, 0, 0, f"offsets {applied}-{applied + 5} are not in the ledger"),
    ):
        (outcome,) = site.reread(Offsets(1, first, last), write=False)
        assert (outcome.records, outcome.missing_in_kafka) == (records, missing), (first, last)
        assert "".join(outcome.notes).startswith(note), (first, last)
        assert bool(outcome.notes) is bool(note), (first, last)


@pytest.mark.slow
def test_what_kafka_has_no_more_is_said_and_the_rest_restored(site: Site) -> None:
    site.sql(RAW.format("1"))
    site.begin = dict.fromkeys(site.begin, 30)
    outcomes = site.reread()
    assert totals(outcomes, "missing_in_kafka") == (90,)
    assert all("only come from a backup" in outcome.notes[0] for outcome in outcomes)
    rows = site.reader.frame(
        "SELECT min(source_offset) AS first, toInt64(count()) AS rows FROM usage_events_rows FINAL"
    )
    assert rows.row(0)[1] == totals(outcomes, "restored")[0] > 100
    assert rows.row(0)[0] >= 30


@pytest.mark.slow
def test_what_the_audit_took_out_stays_out(site: Site) -> None:
    """An old id sent again with a new time, counted twice, and removed."""
    row = next(iter(site.published().events.values()))
    site.ingest = site.started(since=NOW)
    again = row.fields | {"occurred_at": (NOW - timedelta(hours=70)).isoformat().replace("+00:00", "Z")}
    site.append(home(row.request_id, PARTITIONS), json.dumps(again).encode())
    site.run()
    assert site.repair().removed == 1
    outcomes = site.reread()
    assert totals(outcomes, "removed", "restored") == (1, 0)
    assert broken(site.audit()) == {}


@pytest.mark.slow
def test_an_id_that_was_counted_again_after_its_row_was_lost_counts_once(site: Site) -> None:
    """The worker that started after the loss could not know the id. Some calls sent other names than are stored."""
    events = site.published().events.values()
    spelled = [event for event in events if event.names["model"] != event.fields["model"]]
    lost = [*spelled[:3], *(event for event in list(events)[:5] if event not in spelled[:3])][:5]
    ids = ", ".join(f"'{event.request_id}'" for event in lost)
    site.sql(RAW.format(f"request_id IN ({ids})"))
    site.ingest = site.started()
    values = {letter["request_id"]: letter["value"] for letter in map(json.loads, site.lines)}
    for event in lost:
        site.append(home(event.request_id, PARTITIONS), values[event.request_id].encode())
    site.run()
    assert totals(site.reread(), "counted_again") == (5,)
    assert site.repair().left == 0
    site.check_sums()


@pytest.mark.slow
def test_records_counted_before_partitions_were_added_are_restored_where_they_were_counted(site: Site) -> None:
    site.partition_count = PARTITIONS + 2
    for partition in (PARTITIONS, PARTITIONS + 1):
        site.logs[partition], site.begin[partition], site.taken[partition] = [], 0, 0
    site.ingest = site.started()
    dice = random.Random(13)
    site.publish(traffic.plan(dice, start=NOW - timedelta(minutes=1), events=200, seconds=30), dice)
    site.run()
    stored = site.rows()
    site.sql(RAW.format("1"))
    rehearsed = site.reread(write=False)
    done = site.reread()
    assert [each.to_dict() for each in rehearsed] == [each.to_dict() for each in done]
    assert site.rows() == stored
    assert broken(site.audit()) == {}


@pytest.mark.slow
def test_raw_rows_that_the_ledger_does_not_miss_are_not_added(site: Site) -> None:
    """A repeat in a later block, whose first record lost its row in an earlier one that was not asked for."""
    event = next(iter(site.published().events.values()))
    partition = home(event.request_id, PARTITIONS)
    value = next(record.value for record in site.logs[partition] if event.request_id.encode() in (record.value or b""))
    log = site.logs[partition]
    log.extend(LogRecord(partition, offset, log[0].timestamp, None, None, []) for offset in range(len(log), 65_536))
    site.taken[partition] = len(log)  # a hole, as compaction leaves it
    later = site.append(partition, value)
    site.run()
    site.sql(RAW.format(f"request_id = '{event.request_id}'"))
    (outcome,) = site.reread(Offsets(partition, later, later))
    assert (outcome.restored, outcome.duplicates) == (0, 1)


def test_an_event_older_than_the_retention_is_not_brought_back(site: Site) -> None:
    site.sql(RAW.format("1"))
    derive = Derive(SOURCE, PARTITIONS, BOOK, LIMITS, DEDUP_WINDOW)
    much_later = NOW + timedelta(days=89)
    every = [Offsets(partition, 0, site.taken[partition] - 1) for partition in site.logs]
    outcomes = reread(site, site.reader, None, every, derive=derive, now=much_later)
    restored, beyond = totals(outcomes, "restored", "beyond_retention")
    oldest = min(each.occurred_at for each in site.published().events.values())
    assert oldest < much_later - LIMITS.past_max or beyond == 0
    assert restored + beyond == len(site.published().events)
