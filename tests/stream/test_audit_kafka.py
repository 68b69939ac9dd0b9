"""What Kafka says beside what the ledger says: each number that they must agree on, on both its sides."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from confluent_kafka import TopicPartition

from stream.audit.kafka import KafkaFacts, LogFacts, commits_of, with_kafka
from stream.audit.report import FINDINGS_MAX, Check, PartitionTotals
from stream.audit.vanished import Vanished
from stream.runtime.kafka import records_next_of
from tests.support.records import NOW

HELD = PartitionTotals("s", 0, 0, 9, 10, 10, 0, 0, 0, 0, 0, 0)  # the ledger has offsets 0 to 9
OF_BEFORE = replace(HELD, source="before", offset_last=99)  # another incarnation of the topic
LOG = LogFacts(0, begin=0, end=10, committed=10)


def check(*logs: LogFacts, totals: tuple[PartitionTotals, ...] = (HELD,), gone: tuple[Vanished, ...] = ()) -> Check:
    return with_kafka(totals, KafkaFacts("s", logs), gone)[1]


def told(log: LogFacts, totals: PartitionTotals = HELD) -> PartitionTotals:
    return with_kafka((totals,), KafkaFacts("s", (log,)))[0][0]


def gone(last: int, *, source: str = "s", partition: int = 0) -> Vanished:
    return Vanished(source, partition, 10, last, NOW, "g", None)


def test_a_group_that_has_committed_what_the_ledger_has_is_right() -> None:
    found = check(LOG)
    assert (found.compared, found.differing, found.findings) == (1, 0, ())
    assert check(replace(LOG, committed=None)).holds
    assert check(replace(LOG, committed=4)).holds


def test_a_commit_beyond_the_ledger_says_how_many_offsets_nobody_has() -> None:
    (finding,) = check(replace(LOG, committed=12, end=12)).findings
    assert finding.where == {"source": "s", "source_partition": 0}
    assert finding.numbers == {"committed": 12, "ledger_next": 10, "records": 2}


def test_a_partition_that_no_ledger_knows_has_none_of_what_is_committed() -> None:
    (finding,) = check(LogFacts(7, 0, 3, 3)).findings
    assert finding.numbers == {"committed": 3, "ledger_next": 0, "records": 3}
    assert check(LogFacts(7, 0, 3, 0)).holds
    assert check(LogFacts(7, 5, 9, None)).holds, "what expired before anybody read is not this group's"


def test_a_commit_may_lie_beyond_the_ledger_over_what_is_no_record() -> None:
    assert check(replace(LOG, committed=12, end=12, records_next=10)).holds
    (finding,) = check(replace(LOG, committed=12, end=12, records_next=11)).findings
    assert finding.numbers == {"committed": 11, "ledger_next": 10, "records": 1}


def test_a_log_that_begins_after_what_was_read_says_how_many_offsets_expired() -> None:
    behind = replace(LOG, end=30, committed=10)
    assert check(replace(behind, begin=10)).holds
    (finding,) = check(replace(behind, begin=11)).findings
    assert finding.numbers == {"log_begin": 11, "ledger_next": 10, "records": 1}
    (finding,) = check(replace(behind, begin=15, committed=None)).findings
    assert finding.numbers == {"log_begin": 15, "ledger_next": 10, "records": 5}


def test_what_the_group_has_committed_did_not_expire_unread() -> None:
    (finding,) = check(replace(LOG, begin=15, end=30, committed=12, records_next=10)).findings
    assert finding.numbers["records"] == 3
    assert check(replace(LOG, begin=12, end=30, committed=12, records_next=10)).holds


def test_what_is_known_to_have_vanished_is_not_told_again_here() -> None:
    behind = replace(LOG, begin=15, end=30)
    assert check(behind, gone=(gone(14),)).holds
    (finding,) = check(behind, gone=(gone(13),)).findings
    assert finding.numbers["records"] == 1
    for others in (gone(14, source="before"), gone(14, partition=1)):
        assert check(behind, gone=(others,)).differing == 1


def test_another_incarnation_of_the_topic_has_its_own_offsets() -> None:
    assert check(replace(LOG, committed=12, end=12), totals=(HELD, OF_BEFORE)).differing == 1
    assert check(replace(LOG, committed=12, end=12), totals=(OF_BEFORE, HELD)).differing == 1
    assert told(LOG, OF_BEFORE) == OF_BEFORE


def test_a_partition_that_kafka_does_not_name_is_told_as_it_is() -> None:
    assert told(LogFacts(5, 0, 10, 10)) == HELD


def test_what_kafka_says_stands_beside_what_the_ledger_says() -> None:
    found = told(LogFacts(0, begin=2, end=17, committed=10))
    assert found == replace(HELD, committed=10, log_begin=2, log_end=17, lag=7)
    assert told(LogFacts(0, 0, 17, None)).lag == 7
    assert told(LogFacts(0, 0, 17, 12)).lag == 5, "what is committed is no lag"
    assert told(LogFacts(0, 0, 17, 4)).lag == 7, "nor what the ledger has"
    assert told(LogFacts(0, 0, 8, 8)).lag == 0


def test_every_partition_is_compared_and_the_list_has_a_bound() -> None:
    logs = tuple(LogFacts(number, 0, 5, 5) for number in range(FINDINGS_MAX + 3))
    found = check(*logs, totals=())
    assert (found.compared, found.differing) == (FINDINGS_MAX + 3, FINDINGS_MAX + 3)
    assert [each.where["source_partition"] for each in found.findings] == list(range(FINDINGS_MAX))


class Garbled:
    """A commit whose note cannot be had the first ``times``: what librdkafka hands out behind it is no text."""

    def __init__(self, partition: int, offset: int, note: str, times: int) -> None:
        self.partition, self.offset, self._note, self._left = partition, offset, note, times

    @property
    def metadata(self) -> str:
        if self._left:
            self._left -= 1
            raise UnicodeDecodeError("utf-8", b"records:9;\xcb", 10, 11, "invalid continuation byte")
        return self._note


class Broker:
    def __init__(self, *commits: Garbled) -> None:
        self._commits = {each.partition: each for each in commits}
        self.asked: list[list[int]] = []

    def committed(self, partitions: list[TopicPartition], timeout: float) -> list[Any]:
        self.asked.append([place.partition for place in partitions])
        return [self._commits[place.partition] for place in partitions]


def test_a_note_that_cannot_be_read_is_asked_for_again_and_costs_nothing_else() -> None:
    broker = Broker(Garbled(0, 9, "records:7;", times=0), Garbled(1, 5, "records:4;", times=2), Garbled(2, -1, "", 0))
    places = [TopicPartition("usage.events", partition) for partition in range(3)]
    assert commits_of(broker, places) == [(0, 9, "records:7;"), (1, 5, "records:4;"), (2, -1, "")]
    assert broker.asked == [[0, 1, 2], [1], [1]]


def test_a_note_that_is_never_readable_leaves_the_commit_to_speak_for_itself() -> None:
    (commit,) = commits_of(Broker(Garbled(0, 9, "records:7;", times=10**6)), [TopicPartition("usage.events", 0)])
    assert records_next_of(commit.note, commit.offset) == 9
