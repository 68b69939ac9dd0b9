"""How a producer is configured: arguments first, then the environment (``COSTREAM_*``), then the defaults here."""

from __future__ import annotations

import logging
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError, field_validator

from costream.delivery import voice
from costream.errors import InvalidSettings
from costream.topics import EVENTS

KafkaValue = str | int | float | bool
SWITCHES: Final = ("COSTREAM_ENABLED", "LLM_USAGE_ENABLED")
ON: Final = frozenset({"true", "1", "on", "yes"})
OFF: Final = frozenset({"false", "0", "off", "no"})

# What the exactness of the pipeline rests on, and so is not for sale: no duplicates and no reordering by retries, an
# acknowledgement that means replicated, and one id always on one partition.
KAFKA_FIXED: Final[Mapping[str, KafkaValue]] = {
    "enable.idempotence": True,
    "acks": "all",
    "partitioner": "murmur2_random",
}
KAFKA_DEFAULTS: Final[Mapping[str, KafkaValue]] = {
    "client.id": "costream-python",
    "compression.type": "lz4",
    "linger.ms": 20,  # fills batches; nobody waits for it
    "queue.buffering.max.kbytes": 65_536,  # of the host's memory, at most
    "socket.connection.setup.timeout.ms": 10_000,  # until a host that does not even refuse counts as down
    "reconnect.backoff.max.ms": 2_000,  # so that a Kafka that is back is noticed soon
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


class Settings(BaseModel):
    """One producer's settings, checked and frozen. Each field is also read from ``COSTREAM_<FIELD>``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kafka_bootstrap_servers: str = Field(default="127.0.0.1:9092", min_length=1)
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    kafka_sasl_username: str = ""
    kafka_sasl_password: SecretStr = SecretStr("")
    kafka_ssl_ca_location: str = Field(default="", description="CA file; empty takes the system's.")
    topic_prefix: str = Field(default="", pattern=r"^[a-zA-Z0-9._-]*$")
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

    # Given in code only.
    enabled: bool = True
    topic: str = Field(default="", pattern=r"^[a-zA-Z0-9._-]{0,249}$", description="The whole name; empty: derived.")
    kafka: dict[str, KafkaValue] = Field(default_factory=dict, repr=False)  # repr: it may hold secrets

    @field_validator("kafka")
    @classmethod
    def _leaves_the_fixed_alone(cls, value: dict[str, KafkaValue]) -> dict[str, KafkaValue]:
        fixed = sorted(KAFKA_FIXED.keys() & value.keys())
        if fixed:
            raise ValueError(f"{', '.join(fixed)} cannot be changed: counting each event once rests on it")
        return value

    @property
    def topic_name(self) -> str:
        return self.topic or self.topic_prefix + EVENTS

    def kafka_config(self) -> dict[str, KafkaValue]:
        """What librdkafka is given; the caller's own ``kafka`` settings win over everything but the fixed ones."""
        return {
            **KAFKA_DEFAULTS,
            "bootstrap.servers": self.kafka_bootstrap_servers,
            "security.protocol": self.kafka_security_protocol,
            "message.timeout.ms": int(self.ack_wait_max.total_seconds() * 1000),
            "queue.buffering.max.messages": self.queue_events_max,
            **self._credentials(),
            **self.kafka,
            **KAFKA_FIXED,
        }

    def _credentials(self) -> dict[str, KafkaValue]:
        config: dict[str, KafkaValue] = {}
        if self.kafka_security_protocol.startswith("SASL"):
            config["sasl.mechanism"] = self.kafka_sasl_mechanism
            config["sasl.username"] = self.kafka_sasl_username
            config["sasl.password"] = self.kafka_sasl_password.get_secret_value()
        if self.kafka_ssl_ca_location:
            config["ssl.ca.location"] = self.kafka_ssl_ca_location
        return config


FROM_ENVIRONMENT: Final = {
    name: f"COSTREAM_{name.upper()}" for name in Settings.model_fields if name not in ("enabled", "topic", "kafka")
}


def resolve(given: Mapping[str, Any], environ: Mapping[str, str]) -> Settings:
    """Settings from arguments (``None`` means not given) and environment.

    A bad argument is the caller's mistake and raises ``InvalidSettings``. A bad variable must not stop the host: it is
    logged, and the default holds.
    """
    chosen = {name: value for name, value in given.items() if value is not None}
    ambient = {name: environ[key] for name, key in FROM_ENVIRONMENT.items() if key in environ and name not in chosen}
    if "enabled" not in chosen:
        chosen["enabled"] = is_enabled(environ)
    try:
        return Settings.model_validate(ambient | chosen)
    except ValidationError as error:
        bad = {str(fault["loc"][0]) for fault in error.errors()}
        if bad & chosen.keys():
            raise InvalidSettings(list(_faults(error, ambient | chosen))) from error
        for fault in _faults(error, ambient):
            voice.say(logging.WARNING, "settings", f"{fault}; the default holds")
        return Settings.model_validate({name: ambient[name] for name in ambient.keys() - bad} | chosen)


def _faults(error: ValidationError, values: Mapping[str, Any]) -> Iterator[str]:
    for fault in error.errors():
        name = str(fault["loc"][0])
        secret = "password" in name or name == "kafka"
        value = "(hidden)" if secret else repr(values[name])
        yield f"{FROM_ENVIRONMENT.get(name, name)} = {value}: {fault['msg']}"


def is_enabled(environ: Mapping[str, str]) -> bool:
    """Off if either switch says so; a word that is neither on nor off is warned about and counts as on."""
    words = [_switch(name, environ[name]) for name in SWITCHES if name in environ]  # each may have to warn
    return all(words)


def _switch(name: str, text: str) -> bool:
    word = text.strip().lower()
    if word not in ON | OFF:
        on, off = "/".join(sorted(ON)), "/".join(sorted(OFF))
        text = f"{name}={text!r} is neither on ({on}) nor off ({off}); usage events stay on"
        voice.say(logging.WARNING, "switch", text)
    return word not in OFF
