"""One place that turns the settings into what a confluent-kafka client wants to be told."""

from __future__ import annotations

import re
import ssl
from typing import Any, Final

from stream.runtime.settings import Settings

# Records that are published go out in batches of as many bytes; a larger one goes alone. Kafka's own default for the
# limit of a topic, and ours, lets such a batch in.
BATCH_BYTES_MAX: Final = 1_000_000

KafkaConfig = dict[str, str | int | float | bool]  # what confluent-kafka's own signatures say


def kafka_config(settings: Settings) -> KafkaConfig:
    """Address and security, the same for producers, consumers and the admin client; callers add their own keys.

    A certificate authority is only named when one is set: librdkafka then finds the system's by itself.
    """
    config: KafkaConfig = {
        "bootstrap.servers": settings.kafka_bootstrap_servers,
        "client.id": "costream",
        "security.protocol": settings.kafka_security_protocol,
    }
    if settings.kafka_security_protocol.startswith("SASL"):
        config |= {
            "sasl.mechanisms": settings.kafka_sasl_mechanism,
            "sasl.username": settings.kafka_sasl_username,
            "sasl.password": settings.kafka_sasl_password.get_secret_value(),
        }
    if settings.kafka_security_protocol.endswith("SSL") and settings.kafka_ssl_ca_location:
        config["ssl.ca.location"] = settings.kafka_ssl_ca_location
    return config


# librdkafka hands out notes without their end (librdkafka issue 4649): what comes after the semicolon is not of ours.
COMMIT_NOTE: Final = re.compile(r"records:(\d+)(?:;|$)")


def commit_note(records_next: int | None, committed: int) -> str:
    """What stands beside a committed offset: the offset after the last record. The commit may lie beyond it, since
    markers of transactions and records of aborted ones are passed over, and no ledger knows of those."""
    return "" if records_next is None else f"records:{min(records_next, committed)};"


def records_next_of(note: str, committed: int) -> int:
    """The offset after the last record that a commit covers; a commit of somebody else's says no more than itself."""
    found = COMMIT_NOTE.match(note)
    return min(int(found[1]), committed) if found else committed


def faust_credentials(settings: Settings) -> Any:
    """The same for Faust, whose transport is aiokafka: credentials, a TLS context, or None for plain text."""
    import faust

    tls = settings.kafka_security_protocol.endswith("SSL")
    context = ssl.create_default_context(cafile=settings.kafka_ssl_ca_location or None) if tls else None
    if not settings.kafka_security_protocol.startswith("SASL"):
        return context
    return faust.SASLCredentials(
        username=settings.kafka_sasl_username,
        password=settings.kafka_sasl_password.get_secret_value(),
        mechanism=settings.kafka_sasl_mechanism,
        ssl_context=context,
    )
