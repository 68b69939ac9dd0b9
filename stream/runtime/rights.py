"""The rights that a worker needs at Kafka, which of them are missing, and the commands that grant them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from confluent_kafka.admin import AclOperation

from costream.topics import ALERTS, BUDGETS, DEADLETTER, EVENTS, ROLLUPS, USER_ROLLUPS
from stream.runtime.errors import StreamError

READ: Final = AclOperation.READ
WRITE: Final = AclOperation.WRITE

# What a worker does with each topic. Whoever may read or write may also describe; Kafka sees to that by itself.
NEEDED: Final[Mapping[str, tuple[AclOperation, ...]]] = {
    EVENTS: (READ, WRITE),  # written: a record that lies in another partition than its id's home
    ROLLUPS: (READ, WRITE),
    USER_ROLLUPS: (WRITE,),
    ALERTS: (READ, WRITE),  # read: the watch begins with what was told before
    BUDGETS: (READ, WRITE),  # read: likewise, with the limits that hold
    DEADLETTER: (WRITE,),
}


@dataclass(frozen=True, slots=True)
class Right:
    """Operations on one topic or group, by the names that Kafka's tools have for them."""

    resource: Literal["topic", "group"]
    name: str
    operations: tuple[str, ...]

    def __str__(self) -> str:
        return f"{' and '.join(self.operations)} on {self.resource} {self.name}"

    def command(self, user: str, bootstrap_servers: str) -> str:
        """What an operator types to grant it."""
        operations = " ".join(f"--operation {operation}" for operation in self.operations)
        return (
            f"`kafka-acls.sh --bootstrap-server {bootstrap_servers} --add --allow-principal User:{user or '…'} "
            f"{operations} --{self.resource} {self.name}`"
        )


class RightMissing(StreamError):
    """Kafka refuses something until a right is granted. Whoever is refused waits for that, and says so."""

    def __init__(self, *, rights: Sequence[Right], user: str, bootstrap_servers: str, data: str) -> None:
        commands = ", ".join(right.command(user, bootstrap_servers) for right in rights)
        super().__init__(
            f"Kafka at {bootstrap_servers} refuses {repr(user) if user else 'this client'}: grant "
            f"`{'`, `'.join(map(str, rights))}`, as by {commands}, and see that no ACL denies it. {data}"
        )
        self.rights = tuple(rights)


def missing(name: str, needed: Sequence[AclOperation], allowed: Collection[AclOperation] | None) -> Right | None:
    """What lacks of the rights on a topic. Where brokers do not tell what is allowed, nothing is known to lack."""
    if not allowed or AclOperation.ALL in allowed:
        return None
    lacking = [operation for operation in needed if operation not in allowed]
    return right_on_topic(name, lacking) if lacking else None


def right_on_topic(name: str, operations: Iterable[AclOperation]) -> Right:
    return Right("topic", name, tuple(operation.name.capitalize() for operation in operations))


def right_on_group(name: str) -> Right:
    return Right("group", name, ("Read",))
