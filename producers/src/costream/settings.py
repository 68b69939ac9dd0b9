"""How a producer and a guard are configured: arguments first, then the environment (``COSTREAM_*``), then the defaults
here."""

from __future__ import annotations

import logging
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError, field_validator

from costream.delivery import voice
from costream.errors import InvalidSettings
from costream.topics import BUDGETS, EVENTS

KafkaValue = str | int | float | bool
SWITCHES: Final = ("COSTREAM_ENABLED", "LLM_USAGE_ENABLED")
GUARD_SWITCH: Final = "COSTREAM_BUDGET_GUARD"
ON: Final = frozenset({"true", "1", "on", "yes"})
OFF: Final = frozenset({"false", "0", "off", "no"})

# What the exactness of the pipeline rests on, and so is not for sale: no duplicates and no reordering by retries, an
# acknowledgement that means replicated, and one id always on one partition.
KAFKA_FIXED: Final[Mapping[str, KafkaValue]] = {
    "enable.idempotence": True,
    "acks": "all",
    "partitioner": "murmur2_random",
}
KAFKA_EVERYWHERE: Final[Mapping[str, KafkaValue]] = {
    "client.id": "costream-python",
    "socket.connection.setup.timeout.ms": 10_000,  # until a host that does not even refuse counts as down
    "reconnect.backoff.max.ms": 2_000,  # so that a Kafka that is back is noticed soon
}
KAFKA_DEFAULTS: Final[Mapping[str, KafkaValue]] = {
    **KAFKA_EVERYWHERE,
    "compression.type": "lz4",
    "linger.ms": 20,  # fills batches; nobody waits for it
    "queue.buffering.max.kbytes": 65_536,  # of the host's memory, at most
}
# A guard reads a topic whole and leaves no trace of it. Nothing joins the group, which the library asks for.
GUARD_FIXED: Final[Mapping[str, KafkaValue]] = {
    "enable.auto.commit": False,
    "enable.partition.eof": True,
    "auto.offset.reset": "earliest",
    "allow.auto.create.topics": False,
}
GUARD_DEFAULTS: Final[Mapping[str, KafkaValue]] = {
    **KAFKA_EVERYWHERE,
    "group.id": "costream-budget-guard",
    "fetch.wait.max.ms": 500,
    "queued.max.messages.kbytes": 4_096,  # of the host's memory, at most
    "fetch.message.max.bytes": 1_048_576,
}


def _seconds(value: Any) -> Any:
    """``90`` and ``1.5`` are seconds, as text too; anything else is left for ISO 8601 (``PT90S``)."""
    if isinstance(value, str) and re.fullmatch(r"\s*[0-9]+(\.[0-9]+)?\s*", value):
        return timedelta(seconds=float(value))
    return value


Duration = Annotated[timedelta, BeforeValidator(_seconds), Field(gt=timedelta(0))]


def default_spool_dir() -> Path:
    """The user's own state folder: it outlives the process and, unlike /tmp, a restart of the machine."""
    state = os.environ.get("XDG_STATE_HOME")
    try:
        return (Path(state) if state else Path.home() / ".local" / "state") / "costream" / "spool"
    except RuntimeError:  # a user without a home, as in some containers
        return Path(tempfile.gettempdir()) / "costream-spool"


class Connection(BaseModel):
    """How Kafka is reached. Each field is also read from ``COSTREAM_<FIELD>``, but for those given in code only."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    fixed: ClassVar[Mapping[str, KafkaValue]]
    why_fixed: ClassVar[str]

    kafka_bootstrap_servers: str = Field(default="127.0.0.1:9092", min_length=1)
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    kafka_sasl_username: str = ""
    kafka_sasl_password: SecretStr = SecretStr("")
    kafka_ssl_ca_location: str = Field(default="", description="CA file; empty takes the system's.")
    topic_prefix: str = Field(default="", pattern=r"^[a-zA-Z0-9._-]*$")

    # Given in code only.
    enabled: bool = True
    topic: str = Field(default="", pattern=r"^[a-zA-Z0-9._-]{0,249}$", description="The whole name; empty: derived.")
    kafka: dict[str, KafkaValue] = Field(default_factory=dict, repr=False)  # repr: it may hold secrets

    @field_validator("kafka")
    @classmethod
    def _leaves_the_fixed_alone(cls, value: dict[str, KafkaValue]) -> dict[str, KafkaValue]:
        fixed = sorted(cls.fixed.keys() & value.keys())
        if fixed:
            raise ValueError(f"{', '.join(fixed)} cannot be changed: {cls.why_fixed}")
        return value

    @property
    def _address(self) -> dict[str, KafkaValue]:
        config: dict[str, KafkaValue] = {
            "bootstrap.servers": self.kafka_bootstrap_servers,
            "security.protocol": self.kafka_security_protocol,
        }
        if self.kafka_security_protocol.startswith("SASL"):
            config["sasl.mechanism"] = self.kafka_sasl_mechanism
            config["sasl.username"] = self.kafka_sasl_username
            config["sasl.password"] = self.kafka_sasl_password.get_secret_value()
        if self.kafka_ssl_ca_location:
            config["ssl.ca.location"] = self.kafka_ssl_ca_location
        return config


class Settings(Connection):
    """One producer's settings, checked and frozen."""

    fixed = KAFKA_FIXED
    why_fixed = "counting each event once rests on it"

    spool_dir: Path = Field(default_factory=default_spool_dir)
    spool_bytes_max: int = Field(
        default=256 * 1024**2, ge=1024**2, description="Of one spool folder; at 400 bytes an event about 600,000."
    )
    spool_age_max: Duration = Field(default=timedelta(days=7), description="Kafka that long away is not an outage.")
    queue_events_max: int = Field(
        default=20_000, ge=1, le=1_000_000, description="In memory, 2 KB each: 20 s of a stalled disk at 1,000/s."
    )
    ack_wait_max: Duration = Field(
        default=timedelta(seconds=30), ge=timedelta(seconds=1), description="Unacknowledged that long: to the spool."
    )

    @property
    def topic_name(self) -> str:
        return self.topic or self.topic_prefix + EVENTS

    def kafka_config(self) -> dict[str, KafkaValue]:
        """What librdkafka is given; the caller's own ``kafka`` settings win over everything but the fixed ones."""
        return {
            **KAFKA_DEFAULTS,
            "message.timeout.ms": int(self.ack_wait_max.total_seconds() * 1000),
            "queue.buffering.max.messages": self.queue_events_max,
            **self._address,
            **self.kafka,
            **KAFKA_FIXED,
        }


class GuardSettings(Connection):
    """One guard's settings, checked and frozen."""

    fixed = GUARD_FIXED
    why_fixed = "a guard reads the whole topic and leaves no trace"

    @property
    def topic_name(self) -> str:
        return self.topic or self.topic_prefix + BUDGETS

    def kafka_config(self) -> dict[str, KafkaValue]:
        """What librdkafka is given; the caller's own ``kafka`` settings win over everything but the fixed ones."""
        return {**GUARD_DEFAULTS, **self._address, **self.kafka, **GUARD_FIXED}


FROM_ENVIRONMENT: Final = {
    name: f"COSTREAM_{name.upper()}" for name in Settings.model_fields if name not in ("enabled", "topic", "kafka")
}

C = TypeVar("C", bound=Connection)


def resolve(given: Mapping[str, Any], environ: Mapping[str, str]) -> Settings:
    """A producer's settings from arguments (``None`` means not given) and environment.

    A bad argument is the caller's mistake and raises ``InvalidSettings``. A bad variable must not stop the host: it is
    logged, and the default holds.
    """
    return _resolved(Settings, given, environ, enabled=is_enabled, what="producer")


def resolve_guard(given: Mapping[str, Any], environ: Mapping[str, str]) -> GuardSettings:
    """A guard's, likewise."""
    return _resolved(GuardSettings, given, environ, enabled=is_guarded, what="guard")


def _resolved(
    kind: type[C],
    given: Mapping[str, Any],
    environ: Mapping[str, str],
    *,
    enabled: Callable[[Mapping[str, str]], bool],
    what: str,
) -> C:
    chosen = {name: value for name, value in given.items() if value is not None}
    asked = {name: FROM_ENVIRONMENT[name] for name in kind.model_fields.keys() & FROM_ENVIRONMENT.keys()}
    ambient = {name: environ[key] for name, key in asked.items() if key in environ and name not in chosen}
    if "enabled" not in chosen:
        chosen["enabled"] = enabled(environ)
    try:
        return kind.model_validate(ambient | chosen)
    except ValidationError as error:
        bad = {str(fault["loc"][0]) for fault in error.errors()}
        if bad & chosen.keys():
            raise InvalidSettings(list(_faults(error, ambient | chosen)), what=what) from error
        for fault in _faults(error, ambient):
            voice.say(logging.WARNING, "settings", f"{fault}; the default holds")
        return kind.model_validate({name: ambient[name] for name in ambient.keys() - bad} | chosen)


def _faults(error: ValidationError, values: Mapping[str, Any]) -> Iterator[str]:
    for fault in error.errors():
        name = str(fault["loc"][0])
        secret = "password" in name or name == "kafka"
        value = "(hidden)" if secret else repr(values[name])
        yield f"{FROM_ENVIRONMENT.get(name, name)} = {value}: {fault['msg']}"


def is_enabled(environ: Mapping[str, str]) -> bool:
    """Off if either switch says so; a word that is neither on nor off is warned about and counts as on."""
    words = [_switch(name, environ[name], else_="usage events stay on") for name in SWITCHES if name in environ]
    return all(word is not False for word in words)


def is_guarded(environ: Mapping[str, str]) -> bool:
    """Off unless its switch says on, and the client is not switched off."""
    asked = GUARD_SWITCH in environ and _switch(GUARD_SWITCH, environ[GUARD_SWITCH], else_="the guard stays off")
    return bool(asked) and is_enabled(environ)


def _switch(name: str, text: str, *, else_: str) -> bool | None:
    """None for a word that is neither on nor off, which is warned about."""
    word = text.strip().lower()
    if word not in ON | OFF:
        on, off = "/".join(sorted(ON)), "/".join(sorted(OFF))
        voice.say(logging.WARNING, "switch", f"{name}={text!r} is neither on ({on}) nor off ({off}); {else_}")
        return None
    return word in ON
