"""Records that were gone from Kafka before they were read: what counts as lost, and that it is named ever after."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import polars as pl
import pytest
from faust.types import TP
from structlog.testing import capture_logs

from sinks.clickhouse.reader import Reader
from sinks.clickhouse.writer import Writer
from stream.audit import accept_vanished, audit
from stream.audit.kafka import KafkaFacts, LogFacts, with_kafka
from stream.audit.report import Check, PartitionTotals
from stream.audit.vanished import Vanished, vanished_check, vanished_records
from stream.consume.fetching import LostPlace
from stream.runtime.settings import Settings
from stream.store.vanished import VanishedRecords
from tests.support.records import NOW
from tests.support.warehouse import Embedded

SAID = "RECORDS VANISHED BEFORE THEY WERE READ"


class Site:
    """A warehouse of its own, whose ledger is set by the test."""

    def __init__(self, embedded: Embedded) -> None:
        address = embedded.fresh()
        self.reader, self.writer = Reader(address), Writer(address)
        self.vanished = VanishedRecords(
            reader=self.reader, writer=self.writer, settings=Settings(source="s"), clock=lambda: NOW
        )

    def ledger(self, offset_last: int) -> None:
        row = {"source": "s", "source_partition": 0, "offset_block": 0, "offset_first": 0, "version": offset_last}
        counts = {"received": 1, "stored": 0, "duplicates": 1, "dead_lettered": 0, "forwarded": 0}
        self.writer.insert("ingest_ledger", pl.DataFrame([row | counts]))

    def note(
        self, expected: int | None, begin: int, *, end: int = 100, topic: str = "usage.events", partition: int = 0
    ) -> Any:
        """How many vanished, and what was said of it."""
        with capture_logs() as self.lines:
            count = self.vanished.note(LostPlace(TP(topic, partition), expected, begin, end))
        return count, [line["event"] for line in self.lines]

    def stretches(self) -> list[tuple[int, int, str | None]]:
        return [(each.offset_first, each.offset_last, each.accepted_reason) for each in vanished_records(self.reader)]

    def check(self) -> Check:
        return audit(self.reader, clock=lambda: NOW, pause=lambda: None).check("vanished")


@pytest.fixture
def site(clickhouse_embedded: Embedded) -> Iterator[Site]:
    site = Site(clickhouse_embedded)
    yield site
    site.reader.close()
    site.writer.close()


def test_what_was_neither_acknowledged_nor_stored_has_vanished_and_noticing_it_again_changes_nothing(
    site: Site,
) -> None:
    assert site.note(10, 25) == (15, [SAID])
    told = {"topic": "usage.events", "partition": 0, "offset_first": 10, "offset_last": 24, "records_max": 15}
    assert told.items() <= site.lines[0].items()
    assert site.note(10, 25) == (15, [SAID])
    assert site.stretches() == [(10, 24, None)]
    groups = site.reader.frame("SELECT consumer_group FROM vanished_records")["consumer_group"].to_list()
    assert groups == ["costream"], "whose reading it was"
    assert site.note(10, 40) == (30, [SAID]), "more had gone when it was noticed again"
    assert site.stretches() == [(10, 39, None)]


def test_stretches_of_two_partitions_that_begin_alike_are_two(site: Site) -> None:
    site.note(10, 25)
    assert site.vanished.note(LostPlace(TP("usage.events", 1), 10, 30, 100)) == 20
    found = [(each.partition, each.offset_first, each.offset_last) for each in vanished_records(site.reader)]
    assert found == [(0, 10, 24), (1, 10, 29)]


def test_stretches_of_two_incarnations_of_a_topic_that_begin_alike_are_two(site: Site) -> None:
    site.note(10, 25)
    of_the_next = VanishedRecords(
        reader=site.reader, writer=site.writer, settings=Settings(source="t"), clock=lambda: NOW
    )
    assert of_the_next.note(LostPlace(TP("usage.events", 0), 10, 30, 100)) == 20
    found = [(each.source, each.offset_first, each.offset_last) for each in vanished_records(site.reader)]
    assert found == [("s", 10, 24), ("t", 10, 29)]


def test_what_the_ledger_has_is_not_lost_with_the_log(site: Site) -> None:
    site.ledger(19)
    assert site.note(10, 20) == (0, [])
    assert site.note(10, 21) == (1, [SAID])
    assert site.note(None, 30) == (10, [SAID]), "also where Kafka has forgotten what the group had read"
    assert site.stretches() == [(20, 29, None)]


def test_a_group_that_has_read_nothing_yet_has_lost_nothing(site: Site) -> None:
    assert site.note(None, 0) == (0, [])
    assert site.note(None, 50) == (0, ["reading begins where the log does"])
    assert site.stretches() == []


def test_a_log_that_ends_before_what_was_read_of_it_is_said(site: Site) -> None:
    assert site.note(200, 0, end=100) == (0, ["THE LOG ENDS BEFORE WHAT WAS READ OF IT"])
    assert site.note(100, 0, end=100) == (0, [])


def test_what_we_have_written_ourselves_is_in_the_warehouse(site: Site) -> None:
    assert site.note(10, 25, topic="usage.rollups") == (0, [])


def test_a_loss_fails_the_audit_until_somebody_accepts_it_and_is_named_ever_after(site: Site) -> None:
    assert site.check().holds
    site.note(10, 25)
    lost = site.check()
    assert (lost.holds, lost.differing) == (False, 1)
    assert lost.findings[0].numbers == {"offset_first": 10, "offset_last": 24, "records_max": 15, "noticed_at": NOW}

    later = NOW + timedelta(hours=1)
    assert accept_vanished(site.reader, site.writer, reason="a disk was full", now=later) == 1
    assert accept_vanished(site.reader, site.writer, reason="again", now=later) == 0
    site.note(10, 25)
    accepted = site.check()
    assert (accepted.holds, len(accepted.findings)) == (True, 1)
    assert accepted.findings[0].rule == "accepted: a disk was full"
    assert accepted.findings[0].numbers["accepted_at"] == later

    site.note(60, 65)
    both = site.check()
    assert (both.differing, [finding.numbers["offset_first"] for finding in both.findings]) == (1, [60, 10])


def test_a_loss_is_accepted_in_the_partition_that_it_happened_in(site: Site) -> None:
    site.note(None, 25, partition=1)
    site.note(10, 25, partition=3)
    assert accept_vanished(site.reader, site.writer, reason="a disk was full", now=NOW) == 1
    (found,) = vanished_records(site.reader)
    assert (found.partition, found.accepted_reason) == (3, "a disk was full")


def test_no_loss_that_is_not_accepted_is_cut_from_the_list_by_those_that_are() -> None:
    accepted = [Vanished("s", 0, at, at, NOW, "g", "known") for at in range(200)]
    check = vanished_check([*accepted, Vanished("s", 1, 0, 5, NOW, "g", None)])
    assert (check.differing, check.compared) == (1, 201)
    assert check.findings[0].where == {"source": "s", "source_partition": 1}


# --- what Kafka says, beside it ---


def totals(offset_last: int) -> PartitionTotals:
    return PartitionTotals("s", 0, 0, offset_last, 10, 10, 0, 0, 0, 0, 0, 0)


def kafka_check(log: LogFacts, *gone: Vanished) -> list[str]:
    _, check = with_kafka((totals(9),), KafkaFacts("s", (log,)), gone)
    return [finding.rule for finding in check.findings]


def test_a_commit_beyond_the_ledger_is_a_finding_unless_it_lies_there_for_markers_alone() -> None:
    assert kafka_check(LogFacts(0, 0, 12, 12, 10)) == []
    assert kafka_check(LogFacts(0, 0, 12, 12, 11)) == ["what is committed is in the ledger"]
    assert kafka_check(LogFacts(0, 0, 12, 12)) == ["what is committed is in the ledger"]


def test_a_log_that_begins_after_what_was_read_is_a_finding_unless_its_loss_is_noted_or_it_held_markers_alone() -> None:
    assert kafka_check(LogFacts(0, 15, 20, 10, 10)) == ["no record expires in the log before it is read"]
    assert kafka_check(LogFacts(0, 15, 20, 10, 10), Vanished("s", 0, 10, 14, NOW, "g", None)) == []
    assert kafka_check(LogFacts(0, 11, 20, 11, 10)) == []


def test_lag_does_not_count_what_is_committed_without_being_a_record() -> None:
    (told,), _ = with_kafka((totals(9),), KafkaFacts("s", (LogFacts(0, 0, 12, 12, 10),)))
    assert told.lag == 0
    (told,), _ = with_kafka((totals(9),), KafkaFacts("s", (LogFacts(0, 0, 12, 10, 10),)))
    assert told.lag == 2
