"""Who is alive in the workers' group, as Kafka knows it: asked before what they write into is changed."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from stream.runtime.errors import StreamError
from stream.runtime.kafka import kafka_config
from stream.runtime.settings import Settings

ANSWER_SECONDS_MAX: Final = 5.0
RETRY_SECONDS: Final = 0.2
_PASSING: Final = {  # as Kafka says it of a group that is moving, and of the first one there is
    *(KafkaError.NOT_COORDINATOR, KafkaError.COORDINATOR_NOT_AVAILABLE, KafkaError.COORDINATOR_LOAD_IN_PROGRESS),
}


@dataclass(frozen=True, slots=True)
class Member:
    """One worker that Kafka takes for alive."""

    client_id: str
    host: str


class WorkersAlive(StreamError):
    """Workers of the release before would go on writing while their tables change."""

    def __init__(self, *, group: str, members: list[Member]) -> None:
        named = ", ".join(f"{member.client_id} on {member.host}" for member in members)
        super().__init__(
            f"{len(members)} worker{'s' * (len(members) != 1)} of the group {group!r} "
            f"{'is' if len(members) == 1 else 'are'} alive ({named}), and migrations are pending that the release they "
            "run cannot work with; nothing was changed. Stop all workers, then run this again. A worker that was "
            "killed counts as alive until Kafka's session timeout has passed"
        )
        self.members = members


class WorkersUnknown(StreamError):
    """Nobody says whether a worker is alive."""

    def __init__(self, *, group: str, bootstrap_servers: str, reason: str) -> None:
        super().__init__(
            f"Kafka at {bootstrap_servers} does not say whether workers of the group {group!r} are alive ({reason}), "
            "and migrations are pending that no worker may meet while it runs; nothing was changed. Stop all workers "
            "and say so with --workers-stopped, or check COSTREAM_KAFKA_BOOTSTRAP_SERVERS"
        )


def require_no_worker(settings: Settings) -> None:
    """Return if the group has no member; raises ``WorkersAlive`` or ``WorkersUnknown``."""
    group, servers = settings.consumer_group, settings.kafka_bootstrap_servers
    admin = AdminClient(kafka_config(settings) | {"log_level": 0})
    deadline = time.monotonic() + ANSWER_SECONDS_MAX
    while True:
        try:
            asked = admin.describe_consumer_groups([group], request_timeout=ANSWER_SECONDS_MAX)
            found = asked[group].result(2 * ANSWER_SECONDS_MAX).members
            break
        except KafkaException as error:
            fault = error.args[0]
            if fault.code() == KafkaError.GROUP_ID_NOT_FOUND:
                return
            if fault.code() not in _PASSING or time.monotonic() > deadline:
                raise WorkersUnknown(group=group, bootstrap_servers=servers, reason=fault.name()) from error
            time.sleep(RETRY_SECONDS)
    if members := [Member(each.client_id, each.host.lstrip("/")) for each in found]:
        raise WorkersAlive(group=group, members=members)
