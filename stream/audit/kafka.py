"""What Kafka knows of the topic: how far the log reaches, and how far the consumer group says it has come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final, NamedTuple, Protocol

from confluent_kafka import Consumer, KafkaException, TopicPartition

from costream.topics import EVENTS
from stream.audit.report import FINDINGS_MAX, Check, Finding, PartitionTotals, Value
from stream.audit.vanished import Vanished
from stream.runtime import topics
from stream.runtime.kafka import kafka_config, records_next_of
from stream.runtime.settings import Settings

ANSWER_SECONDS_MAX: Final = 15.0


@dataclass(frozen=True, slots=True)
class LogFacts:
    """One partition: offsets from ``begin`` until before ``end`` can be read; ``committed`` is the next to be read."""

    partition: int
    begin: int
    end: int
    committed: int | None  # None: the group has never committed here
    records_next: int | None = None  # the offset after the last record committed, where the commit lies beyond it


@dataclass(frozen=True, slots=True)
class KafkaFacts:
    """The topic's incarnation and its partitions. Take them before the audit: the ledger must not be the older one."""

    source: str
    partitions: tuple[LogFacts, ...]
    retention: timedelta | None = None  # how long a record is kept; None where the brokers do not tell


def kafka_facts(settings: Settings) -> KafkaFacts:
    """Ask the brokers; joins no group and commits nothing. Raises KafkaUnavailable or TopicMissing."""
    topic = settings.topic(EVENTS)
    count = topics.partition_count(settings, topic)
    source = topics.source_of(settings, topic)
    consumer = Consumer(
        kafka_config(settings)
        | {
            "group.id": settings.consumer_group,
            "enable.auto.commit": False,
            "isolation.level": "read_committed",  # the end of a log is where what can be delivered ends
            "log_level": 0,
        }
    )
    try:
        asked = [TopicPartition(topic, partition) for partition in range(count)]
        logs = tuple(_facts(consumer, topic, commit) for commit in commits_of(consumer, asked))
        return KafkaFacts(source, logs, topics.retention(settings, topic))
    except KafkaException as error:
        raise topics.KafkaUnavailable(
            bootstrap_servers=settings.kafka_bootstrap_servers, reason=error.args[0].str()
        ) from error
    finally:
        consumer.close()


class Commit(NamedTuple):
    """A commit of the group, with the note beside it."""

    partition: int
    offset: int  # negative: none
    note: str


class Committed(Protocol):
    """What is needed of confluent-kafka's ``Consumer``."""

    def committed(self, partitions: list[TopicPartition], timeout: float) -> list[TopicPartition]: ...


def commits_of(consumer: Committed, asked: list[TopicPartition]) -> list[Commit]:
    """The commits with their notes. What librdkafka hands out after a note may be no text at all, and then the note
    cannot be had; asked again, something else follows. Without its note a commit says no more than its offset."""
    found: dict[int, Commit] = {}
    for _ in range(NOTES_TRIES):
        for place in consumer.committed(asked, timeout=ANSWER_SECONDS_MAX):
            found[place.partition] = Commit(place.partition, place.offset, _note_of(place))
        asked = [place for place in asked if found[place.partition].note == UNREADABLE]
        if not asked:
            break
    return [found[partition] for partition in sorted(found)]


def _note_of(place: TopicPartition) -> str:
    try:
        return place.metadata or ""
    except UnicodeDecodeError:
        return UNREADABLE


UNREADABLE: Final = "unreadable"
NOTES_TRIES: Final = 10


def _facts(consumer: Consumer, topic: str, commit: Commit) -> LogFacts:
    place = TopicPartition(topic, commit.partition)
    begin, end = consumer.get_watermark_offsets(place, timeout=ANSWER_SECONDS_MAX)
    if commit.offset < 0:
        return LogFacts(commit.partition, begin, end, None)
    records_next = records_next_of(commit.note, commit.offset)
    beyond = commit.offset > records_next
    return LogFacts(commit.partition, begin, end, commit.offset, records_next if beyond else None)


def with_kafka(
    totals: tuple[PartitionTotals, ...], facts: KafkaFacts, vanished: Sequence[Vanished] = ()
) -> tuple[tuple[PartitionTotals, ...], Check]:
    """Add what Kafka says to the partitions of its incarnation, and compare it with the ledger. What is known to have
    vanished is told by a check of its own."""
    stored_next = {each.partition: each.offset_last + 1 for each in totals if each.source == facts.source}
    gone_next = {each.partition: each.offset_last + 1 for each in vanished if each.source == facts.source}
    findings = tuple(
        finding
        for log in facts.partitions
        for finding in _faults(
            facts.source, log, stored_next.get(log.partition), gone_next=gone_next.get(log.partition, 0)
        )
    )
    logs = {log.partition: log for log in facts.partitions}
    told = tuple(_told(each, logs.get(each.partition)) if each.source == facts.source else each for each in totals)
    question = "committed offsets are in the ledger, and nothing expired in the log unread"
    return told, Check("kafka", question, len(facts.partitions), len(findings), findings[:FINDINGS_MAX])


def _faults(source: str, log: LogFacts, stored_next: int | None, *, gone_next: int) -> list[Finding]:
    where: dict[str, Value] = {"source": source, "source_partition": log.partition}
    after = stored_next or 0
    findings: list[Finding] = []
    covered = log.committed if log.records_next is None else log.records_next
    if covered is not None and covered > after:
        numbers = {"committed": covered, "ledger_next": after, "records": covered - after}
        findings.append(Finding(where, "what is committed is in the ledger", numbers))
    # A partition that nobody has read yet may have begun anywhere: what expired before is not this group's.
    # What the group has committed lies behind it, and what is known to have vanished is told once.
    read_next = None if stored_next is None else max(stored_next, gone_next, log.committed or 0)
    if read_next is not None and log.begin > read_next:
        numbers = {"log_begin": log.begin, "ledger_next": after, "records": log.begin - read_next}
        findings.append(Finding(where, "no record expires in the log before it is read", numbers))
    return findings


def _told(totals: PartitionTotals, log: LogFacts | None) -> PartitionTotals:
    if log is None:
        return totals
    lag = max(0, log.end - max(totals.offset_last + 1, log.committed or 0))
    return replace(totals, committed=log.committed, log_begin=log.begin, log_end=log.end, lag=lag)
