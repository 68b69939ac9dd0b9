"""The errors of the stream.

StreamError
├── ConfigurationError   the settings or the topics cannot work: nothing was consumed
│   └── PublishRefused   Kafka will not take what is to be published, however often it is sent
├── PublishFailed        Kafka did not acknowledge in time: the batch is kept and published again
├── RightMissing         Kafka refuses until an ACL is granted: waited for and said (stream/runtime/rights.py)
└── KafkaUnavailable     no broker answers, or lets this user in (stream/runtime/topics.py)

What the warehouse raises is in sinks/errors.py. A bad event is not an error: it goes to the dead-letter topic.
"""

from __future__ import annotations


class StreamError(Exception):
    """Something the stream cannot go on with, or only after waiting."""


class ConfigurationError(StreamError):
    """What was set cannot work; the message says which setting, which value and what to do."""


class PublishFailed(StreamError):
    """Records were not acknowledged by Kafka; whoever sends them has them still."""

    def __init__(self, *, topic: str, unacknowledged: int, reason: str) -> None:
        self.topic = topic
        self.unacknowledged = unacknowledged
        super().__init__(
            f"{unacknowledged} records were not acknowledged by '{topic}': {reason}; they are kept and sent again"
        )


class PublishRefused(ConfigurationError):
    """Kafka refused records, and would refuse them again: a person has to change the topic, a right or a limit."""

    def __init__(self, *, topic: str, refused: int, reason: str, remedy: str) -> None:
        self.topic = topic
        super().__init__(
            f"{refused} records were refused by '{topic}' for good: {reason}; {remedy}. What they were made of was not "
            "acknowledged and is read again"
        )
