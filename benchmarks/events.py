"""The events that all contenders read: made by a fixed recipe and loaded before anything is measured."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import Final

import numpy as np
from confluent_kafka import Producer

from benchmarks.ground import BenchmarkFailed
from costream import UsageEvent
from costream.settings import KAFKA_DEFAULTS, KAFKA_FIXED

# Dearer models are called less often; the shares are made up, the names are in the price table.
MODELS: Final = (
    ("openai", "gpt-5", 8),
    ("openai", "gpt-5-mini", 16),
    ("openai", "gpt-4o", 8),
    ("openai", "gpt-4o-mini", 20),
    ("openai", "gpt-4.1", 6),
    ("openai", "o3", 3),
    ("anthropic", "claude-opus-4-1", 2),
    ("anthropic", "claude-sonnet-4-5", 12),
    ("anthropic", "claude-haiku-4-5", 10),
    ("google", "gemini-2.5-pro", 5),
    ("google", "gemini-2.5-flash", 8),
    ("mistral", "mistral-large-latest", 2),
)
FEATURES: Final = 20
TASKS: Final = ("answer", "summarise", "classify", "extract", "rewrite")
TEAMS: Final = ("growth", "support", "search", "platform")
USERS: Final = 5_000
SPAN: Final = timedelta(hours=2)  # the events occurred within it, evenly, and arrive in that order
DUPLICATE_EVERY: Final = 200  # one event in so many is sent twice
DUPLICATE_DISTANCE: Final = 5_000  # events between the two; on different fetches, as re-sent events are
BLOCK: Final = 10_000
# The headers that our client sends with every event.
HEADERS: Final[list[tuple[str, str | bytes | None]]] = [
    ("content-type", b"application/json"),
    ("costream-client", f"python/{version('costream')}".encode()),
    ("schema-version", b"1"),
]


@dataclass(frozen=True, slots=True)
class Loaded:
    """What lies on the topic."""

    topic: str
    events: int
    distinct: int
    bytes_mean: float
    seconds: float


def load(bootstrap_servers: str, topic: str, *, events: int, now: datetime) -> Loaded:
    """Produce as our client does (lz4, linger, idempotent, murmur2, its headers), only as fast as it goes."""
    producer = Producer({**KAFKA_FIXED, **KAFKA_DEFAULTS, "bootstrap.servers": bootstrap_servers, "log_level": 0})
    started, size, distinct = time.monotonic(), 0, 0
    for is_new, key, value in usage_events(events, now=now, dice=random.Random(7)):
        distinct += is_new
        size += len(value)
        while True:
            try:
                producer.produce(topic, value=value, key=key, headers=HEADERS)
            except BufferError:
                producer.poll(0.05)
            else:
                break
    if unsent := producer.flush(120):
        raise BenchmarkFailed(f"{unsent} of {events} events were not taken by Kafka within two minutes")
    return Loaded(topic, events, distinct, size / events, time.monotonic() - started)


def usage_events(count: int, *, now: datetime, dice: random.Random) -> Iterator[tuple[bool, bytes, bytes]]:
    """Whether it is new, key and value of each event, as ``UsageEvent.to_json`` writes it."""
    recent: list[tuple[bytes, bytes]] = []
    numbers = np.random.default_rng(dice.getrandbits(32))
    for first in range(0, count, BLOCK):
        block = _block(first, min(BLOCK, count - first), count, now=now, dice=dice, numbers=numbers)
        for number, (key, value) in enumerate(block, first):
            if number >= DUPLICATE_DISTANCE and number % DUPLICATE_EVERY == 0:
                yield False, *recent[(number + 1) % DUPLICATE_DISTANCE]  # the oldest of them but one
                continue
            if len(recent) < DUPLICATE_DISTANCE:
                recent.append((key, value))
            else:
                recent[number % DUPLICATE_DISTANCE] = (key, value)
            yield True, key, value


def _block(
    first: int, size: int, count: int, *, now: datetime, dice: random.Random, numbers: np.random.Generator
) -> Iterator[tuple[bytes, bytes]]:
    """Numbers drawn together are drawn quickly. Token counts are log-normal, as those of real services are."""
    shares = np.array([share for _, _, share in MODELS], dtype=float)
    models = numbers.choice(len(MODELS), size, p=shares / shares.sum()).tolist()
    inputs = np.clip(numbers.lognormal(7, 1, size), 20, 200_000).astype(int).tolist()
    outputs = np.clip(numbers.lognormal(5.5, 1, size), 1, 16_000).astype(int).tolist()
    cached = numbers.random(size).tolist()
    users = numbers.integers(USERS, size=size).tolist()
    features = numbers.integers(FEATURES, size=size).tolist()
    tasks = numbers.integers(len(TASKS), size=size).tolist()
    waits = numbers.integers(80, 900, size).tolist()
    oldest = (now - SPAN).astimezone(UTC)
    for at in range(size):
        bits = f"{dice.getrandbits(128):032x}"
        request_id = f"{bits[:8]}-{bits[8:12]}-4{bits[13:16]}-a{bits[17:20]}-{bits[20:]}"
        moment = oldest + SPAN * ((first + at) / count)
        provider, model, _ = MODELS[models[at]]
        cache_read = int(inputs[at] * cached[at]) if cached[at] > 0.5 else 0
        value = (
            f'{{"schema_version":1,"request_id":"{request_id}",'
            f'"occurred_at":"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z",'
            f'"provider":"{provider}","model":"{model}","feature":"feature-{features[at]:02d}",'
            f'"task_type":"{TASKS[tasks[at]]}","user_id":"user-{users[at]:05d}",'
            f'"team":"{TEAMS[features[at] % len(TEAMS)]}","environment":"production",'
            f'"duration_ms":{waits[at] + 12 * outputs[at]},"time_to_first_token_ms":{waits[at]},'
            f'"input_tokens":{inputs[at]},"output_tokens":{outputs[at]},"cache_read_tokens":{cache_read}}}'
        )
        yield request_id.encode(), value.encode()


def one_event(number: int) -> UsageEvent:
    """What a service hands to record(): the same fields, by the public API."""
    provider, model, _ = MODELS[number % len(MODELS)]
    return UsageEvent.create(
        provider=provider,
        model=model,
        feature=f"feature-{number % FEATURES:02d}",
        task_type=TASKS[number % len(TASKS)],
        user_id=f"user-{number % USERS:05d}",
        team=TEAMS[number % len(TEAMS)],
        environment="production",
        duration_ms=812,
        time_to_first_token_ms=210,
        input_tokens=1_200,
        output_tokens=300,
        cache_read_tokens=1_000,
    )
