"""Setting the group back to the ledger's end, where it has committed what was never stored.

Workers read on from the committed offset, so what stands between the ledger and it is read by nobody. Set back, it is
read and counted; a rollup row ignores what it has applied, so nothing counts twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from stream.audit.kafka import KafkaFacts, with_kafka
from stream.audit.report import PartitionTotals
from stream.runtime.errors import StreamError
from stream.runtime.kafka import kafka_config
from stream.runtime.settings import Settings
from stream.runtime.topics import KafkaUnavailable

_OCCUPIED: Final = {KafkaError.UNKNOWN_MEMBER_ID, KafkaError.ILLEGAL_GENERATION, KafkaError.NON_EMPTY_GROUP}


class Rewind(NamedTuple):
    """The group's place in one partition: from the committed offset back to the first that is not in the ledger."""

    partition: int
    committed: int
    back_to: int
    gone: int  # offsets between the ledger and the log's begin: Kafka has them no more


class GroupAtWork(StreamError):
    """Workers are running; a committed offset is theirs."""

    def __init__(self, *, group: str) -> None:
        super().__init__(f"workers of the group {group!r} are running: stop them all first; no offset was changed")


def rewinds(totals: tuple[PartitionTotals, ...], facts: KafkaFacts) -> list[Rewind]:
    """Where the group is ahead of the ledger."""
    _, check = with_kafka(totals, facts)
    begin = {log.partition: log.begin for log in facts.partitions}
    found = []
    for finding in check.findings:
        partition, numbers = finding.where["source_partition"], finding.numbers
        if "committed" in numbers:
            values = (partition, numbers["committed"], numbers["ledger_next"])
            place, committed, ledger_next = (value for value in values if isinstance(value, int))
            back_to = max(ledger_next, begin[place])
            found.append(Rewind(place, committed, back_to, back_to - ledger_next))
    return found


def rewind(settings: Settings, topic: str, asked: Sequence[Rewind]) -> None:
    """Commit for the group. Kafka refuses while it has members: raises GroupAtWork."""
    consumer = Consumer(
        kafka_config(settings) | {"group.id": settings.consumer_group, "enable.auto.commit": False, "log_level": 0}
    )
    try:
        places = [TopicPartition(topic, each.partition, each.back_to) for each in asked]
        for place in consumer.commit(offsets=places, asynchronous=False) or ():
            if place.error is not None:
                raise KafkaException(place.error)
    except KafkaException as error:
        reason = error.args[0]
        if reason.code() in _OCCUPIED:
            raise GroupAtWork(group=settings.consumer_group) from error
        raise KafkaUnavailable(bootstrap_servers=settings.kafka_bootstrap_servers, reason=reason.str()) from error
    finally:
        consumer.close()
