"""The six topics: what they are meant to be, making them so, and asking Kafka what they are.

Nothing here changes a topic that exists, except that partitions are added to ``usage.events`` when somebody asks for
it by number. What differs from the specification is reported, and an operator decides.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from types import MappingProxyType
from typing import Any, Final, Literal

import structlog
from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AclOperation, AdminClient
from confluent_kafka.admin._config import ConfigResource
from confluent_kafka.admin._resource import ResourceType
from confluent_kafka.cimpl import NewPartitions, NewTopic

from costream.topics import (
    ALERTS,
    BUDGETS,
    DEADLETTER,
    DEADLETTER_BYTES_MAX,
    EVENTS,
    RECORD_BYTES_MAX,
    ROLLUPS,
    USER_ROLLUPS,
)
from stream.runtime.errors import ConfigurationError, StreamError
from stream.runtime.kafka import BATCH_BYTES_MAX, kafka_config
from stream.runtime.rights import NEEDED, READ, Right, RightMissing, missing, right_on_group, right_on_topic
from stream.runtime.settings import Settings

REPLICAS_WANTED: Final = 3  # the usual: one broker may be down for maintenance and another one fail
ANSWER_MAX_S: Final = 15.0
CONNECT_SECONDS_MAX: Final = 3.0
_IN_TIME: Final = {"operation_timeout": ANSWER_MAX_S, "request_timeout": ANSWER_MAX_S}

log = structlog.get_logger(__name__)


def _ms(age: timedelta) -> str:
    return str(age // timedelta(milliseconds=1))


@dataclass(frozen=True)
class TopicSpec:
    """What a topic is meant to be. ``config`` holds only what matters here; the rest is the cluster's business."""

    name: str
    partitions: int
    config: Mapping[str, str] = field(hash=False)
    # Readers of the other topics rely on one order over all records, so there the number is not a matter of taste.
    partitions_may_grow: bool = False


def _spec(name: str, *, partitions: int = 1, may_grow: bool = False, **config: str) -> TopicSpec:
    # Time is the broker's: it is our `received_at`, and retention counts from it. With the producer's time, events
    # spooled on a disconnected host for longer than the retention would be deleted the moment they arrive.
    everywhere = {"message.timestamp.type": "LogAppendTime"}
    given = {key.replace("_", "."): value for key, value in config.items()}
    return TopicSpec(
        name=name,
        partitions=partitions,
        partitions_may_grow=may_grow,
        config=MappingProxyType(everywhere | given),
    )


USAGE_EVENTS: Final = _spec(
    EVENTS,
    partitions=12,  # the most workers that can share the load; more can be added, never taken away
    may_grow=True,
    cleanup_policy="delete",
    retention_ms=_ms(timedelta(days=14)),  # a worker nobody missed over a holiday fortnight loses nothing
    max_message_bytes=str(RECORD_BYTES_MAX),
)
USAGE_ROLLUPS: Final = _spec(
    ROLLUPS,
    cleanup_policy="compact,delete",  # the last state of every hour, for as long as the aggregates are kept
    retention_ms=_ms(timedelta(days=365)),
    segment_ms=_ms(timedelta(days=1)),  # the open segment is never compacted: a reader meets a day of repeats at most
    max_message_bytes=str(RECORD_BYTES_MAX),
)
USAGE_USER_ROLLUPS: Final = _spec(
    USER_ROLLUPS,  # apart from the others: there are as many as users, and the watch reads none
    cleanup_policy="compact,delete",
    retention_ms=_ms(timedelta(days=365)),
    segment_ms=_ms(timedelta(days=1)),
    max_message_bytes=str(RECORD_BYTES_MAX),
)
USAGE_ALERTS: Final = _spec(
    ALERTS,
    cleanup_policy="delete",  # people replay the history of an alert, so every revision stays
    retention_ms=_ms(timedelta(days=365)),
    max_message_bytes=str(RECORD_BYTES_MAX),
)
USAGE_BUDGETS: Final = _spec(
    BUDGETS,
    cleanup_policy="compact",  # the last state of each limit, however long it holds; what is over gets a tombstone
    segment_ms=_ms(timedelta(days=1)),  # a client that starts reads a day of repeats at most
    max_message_bytes=str(RECORD_BYTES_MAX),
)
USAGE_DEADLETTER: Final = _spec(
    DEADLETTER,
    cleanup_policy="delete",
    retention_ms=_ms(timedelta(days=90)),  # as long as the raw rows: until then a corrected event still counts
    max_message_bytes=str(DEADLETTER_BYTES_MAX),
)
TOPICS: Final = (USAGE_EVENTS, USAGE_ROLLUPS, USAGE_USER_ROLLUPS, USAGE_ALERTS, USAGE_BUDGETS, USAGE_DEADLETTER)


class KafkaUnavailable(StreamError):
    """No broker answered; nothing was changed."""

    def __init__(self, *, bootstrap_servers: str, reason: str) -> None:
        super().__init__(
            f"Kafka at {bootstrap_servers} does not answer: {reason}; nothing was changed. "
            "Check COSTREAM_KAFKA_BOOTSTRAP_SERVERS and the COSTREAM_KAFKA_SECURITY_PROTOCOL it expects"
        )


class LoginRefused(KafkaUnavailable):
    """A broker answered, and did not let this user in."""

    def __init__(self, *, bootstrap_servers: str, user: str, mechanism: str, reason: str) -> None:
        StreamError.__init__(
            self,
            f"Kafka at {bootstrap_servers} refuses the login of user {user!r} by {mechanism}: {reason}; nothing was "
            "changed. Check COSTREAM_KAFKA_SASL_USERNAME, COSTREAM_KAFKA_SASL_PASSWORD and "
            "COSTREAM_KAFKA_SASL_MECHANISM, and that the broker has this user: `kafka-configs.sh --bootstrap-server "
            f"{bootstrap_servers} --describe --entity-type users --entity-name {user}`",
        )


class TopicMissing(ConfigurationError):
    """A topic has not been created, or was deleted."""

    def __init__(self, *, topic: str, bootstrap_servers: str) -> None:
        super().__init__(f"there is no topic {topic!r} at {bootstrap_servers}: `costream topics create` creates it")
        self.topic = topic


class TopicRefused(ConfigurationError):
    """Kafka refused to create or grow a topic."""

    def __init__(self, *, topic: str, reason: str) -> None:
        super().__init__(f"topic {topic!r} stays as it is: {reason}")
        self.topic = topic


Action = Literal["none", "created", "grown"]


@dataclass(frozen=True)
class TopicState:
    """A topic as Kafka has it, and what in that is not as specified."""

    name: str
    partitions: int | None  # None: there is no such topic
    replication_factor: int | None
    topic_id: str | None
    action: Action = "none"
    differences: tuple[str, ...] = ()


def create(
    settings: Settings, *, partitions: int | None = None, replication_factor: int | None = None
) -> list[TopicState]:
    """Create the topics that are missing and say how those that exist differ. Doing it twice changes nothing.

    ``partitions`` is for ``usage.events`` alone: a new topic gets that many, one with fewer is grown to it.
    """
    admin = _admin(settings)
    present, brokers = _present(admin)
    replicas = replication_factor or min(REPLICAS_WANTED, brokers)
    actions: dict[str, Action] = {}
    expected: dict[str, int] = {}
    for spec in TOPICS:
        name = settings.topic(spec.name)
        wanted = partitions if partitions and spec.partitions_may_grow else None
        if name not in present:
            expected[name], actions[name] = wanted or spec.partitions, "created"
            _create(admin, name, spec, expected[name], replicas)
        elif wanted and wanted != present[name]:
            expected[name], actions[name] = wanted, "grown"
            _grow(admin, name, present[name], wanted)
    _await_partitions(admin, settings, expected)
    return _states(admin, settings, actions)


def describe(settings: Settings) -> list[TopicState]:
    """The six topics as Kafka has them; a missing one has no partitions."""
    return _states(_admin(settings), settings, {})


def topic_id(settings: Settings, topic: str) -> str | None:
    """The id Kafka gave this incarnation of the topic: it changes when the topic is deleted and created again.

    None if the broker gives none (older than Kafka 2.8).
    """
    return _id(_one(settings, topic))


def _one(settings: Settings, topic: str) -> Any:
    found = _described(_admin(settings), settings, [topic]).get(topic)
    if found is None:
        raise TopicMissing(topic=topic, bootstrap_servers=settings.kafka_bootstrap_servers)
    return found


def source_of(settings: Settings, topic: str) -> str:
    """The name of the topic's incarnation: offsets mean something only together with it."""
    return settings.source or topic_id(settings, topic) or ""


def partition_count(settings: Settings, topic: str) -> int:
    """How many partitions the topic has now."""
    return len(_one(settings, topic).partitions)


def retention(settings: Settings, topic: str) -> timedelta | None:
    """How long the topic keeps a record; None if the broker does not tell, or keeps it for ever."""
    config = _configs(_admin(settings), [topic]).get(topic) or {}
    kept_ms = int(config.get("retention.ms") or -1)
    return timedelta(milliseconds=kept_ms) if 0 <= kept_ms < FOR_EVER_MS else None


FOR_EVER_MS: Final = 100 * 365 * 86_400_000  # a century, and more than a timedelta need hold


class _Client(AdminClient):
    """An admin client that knows why brokers cannot be reached: a question that is not answered in time says only that.

    What goes wrong is raised and said once; librdkafka's own lines on stderr would say it again and again.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._trouble: dict[int, KafkaError] = {}  # the latest of each kind since the last question
        super().__init__(
            kafka_config(settings) | {"log_level": "0", "error_cb": self._note}  # type: ignore[arg-type]  # a callback too
        )

    def _note(self, error: KafkaError) -> None:
        self._trouble[error.code()] = error

    def unavailable(self, error: KafkaException) -> KafkaUnavailable:
        """What an error of a question comes from, as far as the brokers have told."""
        self.poll(0)  # hands over what was noticed meanwhile
        trouble, self._trouble = self._trouble, {}
        settings = self._settings
        if refused := trouble.get(KafkaError._AUTHENTICATION):
            return LoginRefused(
                bootstrap_servers=settings.kafka_bootstrap_servers,
                user=settings.kafka_sasl_username,
                mechanism=settings.kafka_sasl_mechanism,
                reason=refused.str(),
            )
        cause = trouble.get(KafkaError._SSL) or trouble.get(KafkaError._TRANSPORT) or error.args[0]
        return KafkaUnavailable(bootstrap_servers=settings.kafka_bootstrap_servers, reason=cause.str())


def require_reachable(settings: Settings) -> None:
    """Return if any of the brokers takes a connection. librdkafka says so only after a whole timeout.

    Raises ``KafkaUnavailable`` with what the connection to each of them failed with.
    """
    troubles = []
    for server in settings.kafka_bootstrap_servers.split(","):
        host, _, port = server.strip().rpartition(":")
        if not (host and port.isdecimal()):
            troubles.append(f"{server.strip()!r} is not HOST:PORT")
            continue
        try:
            with socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS_MAX):
                return
        except (OSError, OverflowError) as error:
            troubles.append(f"{server.strip()}: {getattr(error, 'strerror', None) or error}")
    raise KafkaUnavailable(bootstrap_servers=settings.kafka_bootstrap_servers, reason="; ".join(troubles))


def _admin(settings: Settings) -> _Client:
    require_reachable(settings)
    return _Client(settings)


def _present(admin: _Client) -> tuple[dict[str, int], int]:
    """Partitions by topic, and the number of brokers. Asking for all topics creates none, unlike asking for one."""
    try:
        metadata = admin.list_topics(timeout=ANSWER_MAX_S)
    except KafkaException as error:
        raise admin.unavailable(error) from error
    return {name: len(topic.partitions) for name, topic in metadata.topics.items()}, len(metadata.brokers)


def _create(admin: _Client, name: str, spec: TopicSpec, partitions: int, replicas: int) -> None:
    config = dict(spec.config) | {"min.insync.replicas": str(_replicas_in_sync(replicas))}
    topic = NewTopic(name, num_partitions=partitions, replication_factor=replicas, config=config)
    try:
        admin.create_topics([topic], **_IN_TIME)[name].result(2 * ANSWER_MAX_S)
    except KafkaException as error:
        # Another set-up was faster; what it made is described like any other topic that exists.
        if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise TopicRefused(topic=name, reason=error.args[0].str()) from error


def _replicas_in_sync(replicas: int) -> int:
    """Acknowledged means on two brokers wherever there are three; a pair must go on when one of them is down."""
    return 2 if replicas >= REPLICAS_WANTED else 1


def _grow(admin: _Client, name: str, now: int, wanted: int) -> None:
    if wanted < now:
        raise TopicRefused(topic=name, reason=f"Kafka cannot take partitions away; it has {now}, asked for: {wanted}")
    try:
        admin.create_partitions([NewPartitions(name, wanted)], **_IN_TIME)[name].result(2 * ANSWER_MAX_S)
    except KafkaException as error:
        raise TopicRefused(topic=name, reason=error.args[0].str()) from error


def _await_partitions(admin: _Client, settings: Settings, expected: Mapping[str, int]) -> None:
    """Return once the brokers tell of what was just made: they learn of it a moment after the controller agreed."""
    deadline = time.monotonic() + ANSWER_MAX_S
    while expected:
        present, _ = _present(admin)
        behind = [name for name, count in expected.items() if present.get(name, 0) < count]
        if not behind:
            return
        if time.monotonic() > deadline:
            raise TopicRefused(topic=behind[0], reason=f"the brokers do not know of it after {ANSWER_MAX_S:.0f} s")
        time.sleep(0.05)


def _states(admin: _Client, settings: Settings, actions: Mapping[str, Action]) -> list[TopicState]:
    specs = {settings.topic(spec.name): spec for spec in TOPICS}
    found = _described(admin, settings, list(specs))
    configs = _configs(admin, found)
    return [
        _state(name, spec, found[name], configs.get(name), actions.get(name, "none"))
        if name in found
        else TopicState(name=name, partitions=None, replication_factor=None, topic_id=None)
        for name, spec in specs.items()
    ]


def _state(
    name: str,
    spec: TopicSpec,
    found: Any,
    config: Mapping[str, str] | None,
    action: Action,
) -> TopicState:
    replicas = min((len(partition.replicas) for partition in found.partitions), default=0)
    return TopicState(
        name=name,
        partitions=len(found.partitions),
        replication_factor=replicas,
        topic_id=_id(found),
        action=action,
        differences=tuple(_differences(spec, len(found.partitions), replicas, config)),
    )


def _differences(spec: TopicSpec, partitions: int, replicas: int, config: Mapping[str, str] | None) -> Iterable[str]:
    if partitions != spec.partitions and not spec.partitions_may_grow:
        yield f"{partitions} partitions; {spec.partitions} is specified, its readers rely on one order"
    if config is None:
        return
    expected = dict(spec.config) | {"min.insync.replicas": str(_replicas_in_sync(replicas))}
    for key, value in expected.items():
        if not _same(config.get(key, ""), value):
            yield f"{key} is {config.get(key)}; {value} is specified"


def _same(actual: str, expected: str) -> bool:
    """Kafka reports a list in an order of its own: `delete,compact` is `compact,delete`."""
    return sorted(actual.replace(" ", "").split(",")) == sorted(expected.split(","))


def _described(
    admin: _Client, settings: Settings, names: list[str], *, answer_max_s: float | None = None, rights: bool = False
) -> dict[str, Any]:
    """What Kafka says of these topics; one that is not there is left out. Raises ``RightMissing`` if it says nothing of
    one to us, whether it is there or not. ``rights``: also what we may do with it, where the brokers tell."""
    asked = admin.describe_topics(
        TopicCollection(names), include_authorized_operations=rights, request_timeout=answer_max_s or ANSWER_MAX_S
    )
    found, hidden = {}, []
    for name, answer in asked.items():
        try:
            found[name] = answer.result(2 * ANSWER_MAX_S)
        except KafkaException as error:
            if error.args[0].code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
                hidden.append(name)
            elif error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise admin.unavailable(error) from error
    if hidden:
        raise _right_missing(settings, [right_on_topic(name, _needed(settings, name)) for name in hidden])
    return found


def _needed(settings: Settings, name: str) -> Sequence[AclOperation]:
    """What a worker does with a topic; whoever asks for another one only wants to read it."""
    return next((needed for topic, needed in NEEDED.items() if settings.topic(topic) == name), (READ,))


def _right_missing(settings: Settings, rights: Sequence[Right]) -> RightMissing:
    return RightMissing(
        rights=rights,
        user=settings.kafka_sasl_username,
        bootstrap_servers=settings.kafka_bootstrap_servers,
        data="Nothing was consumed",
    )


def _configs(
    admin: _Client, names: Iterable[str], *, answer_max_s: float | None = None
) -> dict[str, dict[str, str] | None]:
    """The settings in force; None where a broker does not tell (the embedded one), or does not tell us."""
    resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
    if not resources:
        return {}
    configs: dict[str, dict[str, str] | None] = {}
    for resource, answer in admin.describe_configs(resources, request_timeout=answer_max_s or ANSWER_MAX_S).items():
        try:
            entries = answer.result(2 * ANSWER_MAX_S)
        except KafkaException as error:
            if error.args[0].code() not in _CONFIG_NOT_TOLD:
                raise admin.unavailable(error) from error
            configs[resource.name] = None
        else:
            configs[resource.name] = {key: entry.value for key, entry in entries.items()}
    return configs


_CONFIG_NOT_TOLD: Final = (KafkaError._UNSUPPORTED_FEATURE, KafkaError.TOPIC_AUTHORIZATION_FAILED)


def _id(found: Any) -> str | None:
    told = found.topic_id
    if told is None or (told.get_most_significant_bits() == 0 and told.get_least_significant_bits() == 0):
        return None
    return str(told)


# --- what a worker needs of them --------------------------------------------------------------------------------------

START_ANSWER_MAX_S: Final = 3.0  # a worker says within 5 s what it waits for

_COMPACTED: Final = "compaction deletes"
# Settings that the guarantees rest on, by topic: what must be there, and what becomes of usage otherwise.
_NEEDED: Final[Mapping[str, Mapping[str, tuple[str, str]]]] = {
    USAGE_EVENTS.name: {
        "message.timestamp.type": (
            "LogAppendTime",
            "the topic's retention and `received_at` then follow the clocks of producers: an event from a wrong clock "
            "may expire before it is read, and what is too old or too early is judged when a worker reads it",
        ),
        "cleanup.policy": ("delete", f"{_COMPACTED} events that share a key before they are read"),
    },
    USAGE_DEADLETTER.name: {
        "cleanup.policy": ("delete", f"{_COMPACTED} dead letters that share a key, and takes none without a key"),
    },
    USAGE_ALERTS.name: {
        "cleanup.policy": ("delete", f"{_COMPACTED} revisions of an alert that a subscriber has not read yet"),
    },
    USAGE_BUDGETS.name: {
        "cleanup.policy": (
            "compact",
            "limits that still hold are deleted after some time, and clients that start then allow what is limited",
        ),
    },
}
RETENTION_MS_MIN: Final = 86_400_000  # a worker that is away over night loses nothing
# A worker publishes in batches, and a batch is what the limit is of. Its largest single record is a dead letter, of a
# fourth of that (stream/decode/cut.py).
MESSAGE_BYTES_MIN: Final = BATCH_BYTES_MAX


class TopicUnfit(ConfigurationError):
    """A topic is set so that a guarantee does not hold."""

    def __init__(self, *, topic: str, faults: Sequence[str]) -> None:
        super().__init__("; ".join(faults) + ". Nothing was consumed")
        self.topic = topic


def unfit(
    topic: str,
    config: Mapping[str, str],
    *,
    accepted: Collection[str],
    bootstrap_servers: str,
    spec: TopicSpec = USAGE_EVENTS,
) -> list[str]:
    """What is wrong with the settings of a topic, a sentence each: setting, value, consequence and remedy."""
    return [
        _fault(topic, name, value, consequence=consequence, needed=needed, servers=bootstrap_servers)
        for name, value, needed, consequence in _wrong(spec, config)
        if name not in accepted
    ]


def _wrong(spec: TopicSpec, config: Mapping[str, str]) -> Iterable[tuple[str, str, str, str]]:
    """Setting, value, what is needed and the consequence."""
    for name, (needed, consequence) in _NEEDED.get(spec.name, {}).items():
        value = config.get(name)
        if value is not None and not _same(value, needed):
            yield name, value, needed, consequence
    retention = config.get("retention.ms", "-1")
    if spec is USAGE_EVENTS and 0 <= int(retention) < RETENTION_MS_MIN:
        lost = "events that no worker has read within that time are gone"
        yield "retention.ms", retention, spec.config["retention.ms"], lost
    size = config.get("max.message.bytes", str(MESSAGE_BYTES_MIN))
    if int(size) < MESSAGE_BYTES_MIN:
        refused = (
            f"Kafka then refuses batches of what a worker publishes there, which have up to {MESSAGE_BYTES_MIN} bytes, "
            "and the worker ends, with nothing acknowledged, until the limit is raised"
        )
        yield "max.message.bytes", size, spec.config["max.message.bytes"], refused


def _fault(topic: str, name: str, value: str, *, consequence: str, needed: str, servers: str) -> str:
    return (
        f"topic {topic!r} has {name}={value}: {consequence}. Mend it with `kafka-configs.sh --bootstrap-server "
        f"{servers} --alter --entity-type topics --entity-name {topic} --add-config {name}={needed}`, or accept the "
        f"consequence with COSTREAM_TOPIC_SETTINGS_ACCEPTED={name}"
    )


class Admin:
    """Asks Kafka, in time to be told soon, whether a worker could do its work. Every call may be repeated."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._admin = _Client(settings)
        self._specs = {settings.topic(spec.name): spec for spec in TOPICS}

    def require_topics(self) -> None:
        """Raises ``KafkaUnavailable``, ``TopicMissing``, ``RightMissing`` with all that is known to be missing, or
        ``TopicUnfit`` where a topic must have one partition."""
        settings = self._settings
        found = _described(self._admin, settings, list(self._specs), answer_max_s=START_ANSWER_MAX_S, rights=True)
        for name in self._specs:
            if name not in found:
                raise TopicMissing(topic=name, bootstrap_servers=settings.kafka_bootstrap_servers)
        rights = [missing(name, _needed(settings, name), found[name].authorized_operations) for name in self._specs]
        if lacking := [right for right in rights if right is not None]:
            raise _right_missing(settings, lacking)
        rollups = settings.topic(USAGE_ROLLUPS.name)
        if len(found[rollups].partitions) != 1:
            fault = (
                f"topic {rollups!r} has {len(found[rollups].partitions)} partitions: several workers would judge and "
                "tell the same alerts. Delete it while no worker runs and let `costream topics create` make it with one"
            )
            raise TopicUnfit(topic=rollups, faults=[fault])

    def require_settings(self) -> None:
        """Raises ``TopicUnfit`` with all that is wrong; says once where Kafka does not tell the settings."""
        settings = self._settings
        configs = _configs(self._admin, self._specs, answer_max_s=START_ANSWER_MAX_S)
        if unchecked := [name for name, config in configs.items() if config is None]:
            wanted = {key: value for key, (value, _) in _NEEDED[USAGE_EVENTS.name].items()}
            log.warning(
                "settings of topics are unchecked",
                topics=unchecked,
                reason="the broker does not tell them, or not to us: `DescribeConfigs on topic`",
                next=f"see to it that {', '.join(f'{key}={value}' for key, value in wanted.items())} on "
                f"{settings.topic(USAGE_EVENTS.name)}, and max.message.bytes >= {MESSAGE_BYTES_MIN} on all",
            )
        accepted = {part.strip() for part in settings.topic_settings_accepted.split(",")}
        servers = settings.kafka_bootstrap_servers
        faults = {
            name: unfit(name, config, accepted=accepted, bootstrap_servers=servers, spec=self._specs[name])
            for name, config in configs.items()
            if config is not None
        }
        if wrong := [name for name in faults if faults[name]]:
            raise TopicUnfit(topic=wrong[0], faults=[fault for name in wrong for fault in faults[name]])

    def require_group(self) -> None:
        """Raises ``RightMissing`` if we may not read as this group; brokers that do not tell are taken at the join."""
        group = self._settings.consumer_group
        asked = self._admin.describe_consumer_groups(
            [group], include_authorized_operations=True, request_timeout=START_ANSWER_MAX_S
        )
        refused = _right_missing(self._settings, [right_on_group(group)])
        try:
            allowed = asked[group].result(2 * START_ANSWER_MAX_S).authorized_operations
        except KafkaException as error:
            if error.args[0].code() == KafkaError.GROUP_AUTHORIZATION_FAILED:
                raise refused from error
            return  # a new group, or a broker that describes none: the join itself tells
        if missing(group, (READ,), allowed):
            raise refused
