"""The names of topics and of the headers that costream writes, and the limits of a message: the one place for them.

Topics may have a prefix before these names (COSTREAM_TOPIC_PREFIX). Who only reads one of them needs nothing else.
"""

from __future__ import annotations

from typing import Final

EVENTS: Final = "usage.events"
ROLLUPS: Final = "usage.rollups"
USER_ROLLUPS: Final = "usage.rollups.user_daily"
ALERTS: Final = "usage.alerts"
BUDGETS: Final = "usage.budgets"
DEADLETTER: Final = "usage.deadletter"

FORWARDED_HEADER: Final = "costream-forwarded"  # for people: the partition count by which its sender sent it here
# Of a dead letter: what headers were called whose names are no text, in base64, by the names that took their place.
NAMES_HEADER: Final = "costream-header-names"
REPLAYED_HEADER: Final = "costream-replayed"  # source/partition/offset of the record that was refused

EVENT_BYTES_MAX: Final = 65_536  # an event with every field at its bound is a third of it
# What topics take as one record, which is Kafka's own default. It is far more than an event, so that one that is too
# large arrives, and is told of, instead of failing in its producer.
RECORD_BYTES_MAX: Final = 1024 * 1024
# A dead letter is the refused record with its headers and the reason. Sixteen times what usage.events takes leaves room
# for topics whose owner has raised that limit, and stays far below the 100 MB at which a broker drops a connection.
DEADLETTER_BYTES_MAX: Final = 16 * 1024 * 1024
