"""The events that all contenders read: made by a fixed recipe and loaded before anything is measured.

A plain topic has events as our client sends them by default. A mixed one has what real services send beside those.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import Final, Literal, NamedTuple

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
DUPLICATE_DISTANCE: Final = 5_000  # events between the two; on different fetches, as re-sent events are
BAD_PLACE: Final = 7  # in each stretch; no repeat stands or is taken from there
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
    events: int  # all records
    distinct: int
    bad: int  # not counted: they end as dead letters
    bytes_mean: float
    seconds: float


class Message(NamedTuple):
    kind: Literal["new", "again", "bad"]
    key: bytes
    value: bytes


def load(bootstrap_servers: str, topic: str, *, events: int, now: datetime, recipe: Recipe) -> Loaded:
    """Produce as our client does (lz4, linger, idempotent, murmur2, its headers), only as fast as it goes."""
    producer = Producer({**KAFKA_FIXED, **KAFKA_DEFAULTS, "bootstrap.servers": bootstrap_servers, "log_level": 0})
    started, size, kinds = time.monotonic(), 0, Counter[str]()
    for kind, key, value in usage_events(events, now=now, dice=random.Random(7), recipe=recipe):
        kinds[kind] += 1
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
    return Loaded(topic, events, kinds["new"], kinds["bad"], size / events, time.monotonic() - started)


@dataclass(frozen=True, slots=True)
class Recipe:
    """``varied`` makes another event of a plain one, by its number; one in ``duplicate_every`` is a repeat of an
    earlier one, and one in ``bad_every`` no usage event at all (0: none)."""

    duplicate_every: int
    bad_every: int = 0
    varied: Callable[[int, bytes], bytes] = lambda _, value: value


def usage_events(count: int, *, now: datetime, dice: random.Random, recipe: Recipe) -> Iterator[Message]:
    """Records of a topic in their order; plain events are as ``UsageEvent.to_json`` writes them."""
    recent: list[tuple[bytes, bytes]] = []
    numbers = np.random.default_rng(dice.getrandbits(32))
    for first in range(0, count, BLOCK):
        block = _block(first, min(BLOCK, count - first), count, now=now, dice=dice, numbers=numbers)
        for number, (key, value) in enumerate(block, first):
            if number >= DUPLICATE_DISTANCE and number % recipe.duplicate_every == 0:
                yield Message("again", *recent[(number + 1) % DUPLICATE_DISTANCE])  # the oldest of them but one
                continue
            made = recipe.varied(number, value)
            if len(recent) < DUPLICATE_DISTANCE:
                recent.append((key, made))
            else:
                recent[number % DUPLICATE_DISTANCE] = (key, made)
            if recipe.bad_every and number % recipe.bad_every == BAD_PLACE:
                yield Message("bad", key, BAD[number // recipe.bad_every % len(BAD)])
            else:
                yield Message("new", key, made)


# --- what real services send beside plain events ---------------------------------------------------------------------


def _mixed(number: int, value: bytes) -> bytes:
    """Every tenth event is metered in units at prices of its own and has metadata. One in fifty each is a call that
    failed, a model that nobody knows, and one whose client spells legal JSON and times in its own way."""
    if number % 10 == 3:
        units = f'"quantities":{{"images":"{number % 7 + 1}","search_queries":"0.25"}}'
        prices = '"unit_prices":{"images":"0.04","search_queries":"0.01"}'
        metadata = f'"metadata":{{"region":"eu-west","attempt":{number % 3},"tags":["batch","v2"]}}'
        return b"%s,%s}" % (value[:-1], ",".join([units, prices, metadata]).encode())
    match number % 50:
        case 11:
            return value[:-1] + b',"status":"error"}'
        case 24:
            before, _, after = value.partition(b'"model":"')
            return before + b'"model":"unheard-of-' + after
        case 37:
            return _SPELLINGS[number // 50 % len(_SPELLINGS)](value)
    return value


_SPELLINGS: Final[tuple[Callable[[bytes], bytes], ...]] = (
    lambda value: value.replace(b'Z","provider"', b'+00:00","provider"'),
    lambda value: value.replace(b'"environment":"production"', b'"environment":"prod\\u0075ction"'),
    lambda value: value.replace(b'":', b'": ').replace(b',"', b', "'),
    lambda value: value.replace(b'Z","provider"', b'123Z","provider"'),
)

BAD: Final = (
    b"not JSON",
    b'{"schema_version":1,"request_id":"without-a-time","provider":"openai","model":"gpt-5"}',
    b'{"schema_version":1,"request_id":"below-zero","occurred_at":"2026-01-01T00:00:00Z","provider":"openai",'
    b'"model":"gpt-5","input_tokens":-1}',
)

PLAIN: Final = Recipe(duplicate_every=200)
MIXED: Final = Recipe(duplicate_every=100, bad_every=1_000, varied=_mixed)


# --- plain events ----------------------------------------------------------------------------------------------------


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
