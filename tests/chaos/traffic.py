"""What is published: a plan made from a seed, and the thread that sends it and writes down what it sent.

The plan is honest traffic with everything that goes wrong in real life: repeats adjacent and long after, late events,
other spellings, wrong keys, another partitioner, transactions that commit or abort, conflicting and malformed
messages.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, Literal, cast

from confluent_kafka import KafkaError, KafkaException, Producer

from costream import UsageEvent, UsageProducer

Kind = Literal["event", "repeat", "conflict", "malformed", "aborted"]
Route = Literal["client", "plain", "wrong_key", "no_key", "other_partitioner", "transaction"]

REPEATED: Final = 0.03
CONFLICTING: Final = 0.002
MALFORMED: Final = 0.002
ABORTED: Final = 0.005
TRANSACTION_LETTERS: Final = 25  # then it commits, or aborts: markers all over the log, and gaps of what was aborted
TRANSACTION_MAX_S: Final = 120.0  # a broker's absence lies within it
LATE: Final = 0.05
HISTORY: Final = 0.15  # of the events, the first: spread over the past, so that the present hour is a spike
HISTORY_HOURS: Final = 60
DELIVERED_MAX_S: Final = 120.0  # for what a broker's absence has held up

ROUTES: Final[tuple[tuple[Route, float], ...]] = (
    ("client", 0.57),
    ("plain", 0.25),
    ("transaction", 0.03),
    ("wrong_key", 0.07),
    ("no_key", 0.04),
    ("other_partitioner", 0.04),
)
# provider, model, operation, weight
MODELS: Final = (
    ("openai", "gpt-4o-mini", "chat", 30),
    ("openai", "gpt-4o", "chat", 9),
    ("OpenAI", "openai/GPT-4o", "chat", 3),
    ("anthropic", "claude-sonnet-4-0", "chat", 14),
    ("google", "gemini-2.5-pro", "chat", 5),  # its price has tiers
    ("google-gla", "models/gemini-2.5-pro", "chat", 3),
    ("deepseek", "deepseek-chat", "chat", 6),  # and this one's has had times of day
    ("openai", "text-embedding-3-small", "embedding", 10),
    ("openai", "whisper-1", "transcription", 5),
    ("in-house", "nobody-knows-7b", "chat", 4),
)
FEATURES: Final = ("chatbot", "code-assistant", "search", "summaries", "")
TEAMS: Final = ("core", "growth", "labs", "")
USERS: Final = 400


@dataclass(frozen=True, slots=True)
class Letter:
    """One message of the plan, ``at_s`` seconds after its start."""

    at_s: float
    kind: Kind
    route: Route
    request_id: str
    value: bytes
    fields: dict[str, Any] | None  # of an event; None where the bytes are not one

    def line(self) -> str:
        """As it is written down; any bytes survive as escaped text."""
        text = self.value.decode(errors="surrogateescape")
        return json.dumps({"kind": self.kind, "route": self.route, "request_id": self.request_id, "value": text})


def plan(dice: random.Random, *, start: datetime, events: int, seconds: float) -> list[Letter]:
    """``events`` distinct usage events and what goes wrong beside them, in the order of sending."""
    letters: list[Letter] = []
    for number in range(events):
        at_s = seconds * number / events
        event = _event(dice, number, at_s, start=start, history=number < events * HISTORY)
        letters.append(event)
        if dice.random() < REPEATED:
            letters.append(_repeat(dice, event, until_s=seconds))
        if dice.random() < CONFLICTING and event.route == "plain":
            letters.append(_conflict(dice, event, until_s=seconds))
        if dice.random() < MALFORMED:
            letters.append(_malformed(dice, event, start=start))
        if dice.random() < ABORTED:
            letters.append(_aborted(dice, event))
    return sorted(letters, key=lambda letter: letter.at_s)


def _event(dice: random.Random, number: int, at_s: float, *, start: datetime, history: bool) -> Letter:
    sent_at = start + timedelta(seconds=at_s)
    if history:
        occurred_at = sent_at - timedelta(hours=1 + dice.random() * HISTORY_HOURS)
    elif dice.random() < LATE:
        occurred_at = sent_at - timedelta(hours=dice.random() * HISTORY_HOURS)
    else:
        occurred_at = sent_at - timedelta(seconds=dice.random() * 20)
    route = dice.choices([route for route, _ in ROUTES], [share for _, share in ROUTES])[0]
    fields = _fields(dice, f"call-{number:07d}-{dice.getrandbits(32):08x}", occurred_at)
    return Letter(at_s, "event", route, fields["request_id"], _spelled(dice, route, fields), fields)


def _fields(dice: random.Random, request_id: str, occurred_at: datetime) -> dict[str, Any]:
    """A usage event as its caller would fill it in."""
    provider, model, operation, _ = dice.choices(MODELS, [model[-1] for model in MODELS])[0]
    fields: dict[str, Any] = {
        "request_id": request_id,
        "occurred_at": occurred_at.replace(microsecond=occurred_at.microsecond // 1000 * 1000),
        "provider": provider,
        "model": model,
        "operation": operation,
        "feature": dice.choice(FEATURES),
        "task_type": dice.choice(("interactive", "batch")),
        "user_id": f"user-{int(USERS * dice.random() ** 2):03d}",
        "team": dice.choice(TEAMS),
        "environment": "prod" if dice.random() < 0.9 else "staging",
        "duration_ms": dice.randrange(20, 30_000) if dice.random() < 0.9 else None,
        "metadata": {"workflow_id": f"w{number}"} if (number := dice.randrange(20)) < 3 else {},
    }
    fields |= _usage(dice, operation)
    if dice.random() < 0.02:
        fields |= {"status": "error", "error": "the provider said: 529 overloaded"}
    if dice.random() < 0.1:
        fields["revenue_usd"] = Decimal(dice.randrange(10**6)).scaleb(-5)
    if dice.random() < 0.1:
        fields["reported_cost_usd"] = Decimal(dice.randrange(10**9)).scaleb(-9)
    return fields


def _usage(dice: random.Random, operation: str) -> dict[str, Any]:
    if dice.random() < 0.01:
        return {"usage_status": "missing"}
    if operation == "transcription":
        return {"quantities": {"audio_seconds": Decimal(dice.randrange(1, 600_000)).scaleb(-3)}}
    input_tokens = dice.randrange(300_000) if dice.random() < 0.02 else dice.randrange(8_000)
    if operation == "embedding":
        return {"input_tokens": input_tokens}
    usage: dict[str, Any] = {"input_tokens": input_tokens, "output_tokens": dice.randrange(2_000)}
    if dice.random() < 0.2:
        usage["cache_read_tokens"] = dice.randrange(input_tokens + 1)
    if dice.random() < 0.1:
        usage["reasoning_tokens"] = dice.randrange(usage["output_tokens"] + 1)
    if dice.random() < 0.02:
        usage["quantities"] = {"gizmos": Decimal(dice.randrange(1, 9))}  # no price table has them: partial
    return usage


def _spelled(dice: random.Random, route: Route, fields: dict[str, Any]) -> bytes:
    """The bytes: as our client writes them, or now and then as somebody else would."""
    event = UsageEvent(**{name: value for name, value in fields.items() if value is not None})
    if route == "client" or dice.random() < 0.7:
        return event.to_json()
    return respelled(event.to_json(), zone_hours=dice.choice((-7, 0, 2, 9)))


def respelled(value: bytes, *, zone_hours: int) -> bytes:
    """The same event with its time in another zone, its members turned round and white space between them."""
    members = json.loads(value)
    moment = datetime.fromisoformat(members["occurred_at"]).astimezone(timezone(timedelta(hours=zone_hours)))
    members["occurred_at"] = moment.isoformat(timespec="milliseconds")
    return json.dumps(dict(reversed(members.items())), ensure_ascii=False).encode()


def _repeat(dice: random.Random, event: Letter, *, until_s: float) -> Letter:
    """The same event again: at once, soon, or long after the first was stored; by its own way or by another."""
    delay_s = dice.choice((0.0, dice.random() * 3, dice.random() * until_s))
    route = event.route if dice.random() < 0.6 else dice.choice([route for route, _ in ROUTES])
    at_s = max(event.at_s, min(event.at_s + delay_s, until_s))
    assert event.fields is not None, "only an event is repeated"
    return replace(event, at_s=at_s, kind="repeat", route=route, value=_spelled(dice, route, event.fields))


def _conflict(dice: random.Random, event: Letter, *, until_s: float) -> Letter:
    """The same id with other content, by the same producer with the same key: so it is certain which comes first."""
    assert event.fields is not None, "only an event is contradicted"
    other = event.fields | {"feature": "a-conflict"} | dice.choice(({}, {"duration_ms": 31_000}))
    at_s = min(event.at_s + dice.random() * until_s, until_s)
    return replace(event, at_s=at_s, kind="conflict", value=_spelled(dice, "plain", other), fields=None)


def _malformed(dice: random.Random, event: Letter, *, start: datetime) -> Letter:
    """A message that no one may count, different from every other."""
    assert event.fields is not None, "a malformed message is made of a good one"
    request_id = "bad-" + event.request_id
    fields = {name: value for name, value in event.fields.items() if value is not None} | {"request_id": request_id}
    good = UsageEvent(**fields).to_json()
    members = json.loads(good)
    value: bytes = dice.choice(
        (
            good[:-9],
            good + b"\xff\xfe",
            b'{"request_id": "' + request_id.encode() + b'"}',
            json.dumps(members | {"input_tokens": -5}).encode(),
            json.dumps(members | {"input_tokens": 5, "cache_read_tokens": 6}).encode(),
            json.dumps(members | {"occurred_at": "2026-01-01T10:00:00"}).encode(),
            json.dumps(members | {"cost": 1.5}).encode(),
            json.dumps(members | {"revenue_usd": float("nan")}).encode(),
            json.dumps(members | {"occurred_at": (start + timedelta(days=2)).isoformat()}).encode(),
            json.dumps(members | {"occurred_at": (start - timedelta(days=100)).isoformat()}).encode(),
        )
    )
    return Letter(event.at_s, "malformed", "plain", request_id, value, None)


def _aborted(dice: random.Random, event: Letter) -> Letter:
    """An event of a transaction that is taken back: nobody may count it."""
    fields = _fields(dice, "aborted-" + event.request_id, _moment(event))
    return Letter(event.at_s, "aborted", "transaction", fields["request_id"], _spelled(dice, "plain", fields), None)


def _moment(event: Letter) -> datetime:
    assert event.fields is not None, "only an event has a time"
    return cast("datetime", event.fields["occurred_at"])


class Publisher:
    """Sends a plan at its pace. What it sends is written down first: whatever is in the file must be counted."""

    def __init__(self, letters: list[Letter], *, bootstrap_servers: str, topic: str, folder: Path) -> None:
        self.path = folder / "published.jsonl"
        self.sent = 0
        self.total = len(letters)
        self._letters = letters
        self._topic = topic
        self._bootstrap_servers = bootstrap_servers
        self._folder = folder

    def run(self) -> None:
        """Returns once Kafka has acknowledged every message; raises if one was given up."""
        plain, crc32 = self._producer("murmur2_random"), self._producer("consistent_random")
        kept, taken_back = (self._transactions(fate) for fate in ("commit", "abort"))
        with (
            UsageProducer(
                bootstrap_servers=self._bootstrap_servers, topic=self._topic, spool_dir=self._folder / "spool"
            ) as client,
            self.path.open("w", encoding="utf-8") as written,
        ):
            for letter in self._paced():
                written.write(letter.line() + "\n")
                if letter.route == "transaction":
                    (taken_back if letter.kind == "aborted" else kept).send(letter)
                else:
                    self._send(letter, client, plain, crc32)
                self.sent += 1
            kept.end()
            taken_back.end()
            waiting = plain.flush(DELIVERED_MAX_S) + crc32.flush(DELIVERED_MAX_S)
            if waiting:
                raise RuntimeError(f"{waiting} messages were not acknowledged within {DELIVERED_MAX_S} s of the last")
            _await_delivery(client)

    def _paced(self) -> Iterator[Letter]:
        started = time.monotonic()
        for letter in self._letters:
            ahead = started + letter.at_s - time.monotonic()
            if ahead > 0.01:
                time.sleep(ahead)  # the pace of the traffic, not a wait for a result
            yield letter

    def _send(self, letter: Letter, client: UsageProducer, plain: Producer, crc32: Producer) -> None:
        key = letter.request_id.encode()
        match letter.route:
            case "client":
                client.record(UsageEvent.model_validate_json(letter.value))
            case "plain":
                _produce(plain, self._topic, key, letter.value)
            case "wrong_key":
                _produce(plain, self._topic, key[:6], letter.value)
            case "no_key":
                _produce(plain, self._topic, None, letter.value)
            case "other_partitioner":
                _produce(crc32, self._topic, key, letter.value)
            case "transaction":
                raise AssertionError("a transaction has a producer of its own")

    def _producer(self, partitioner: str, **more: str | int) -> Producer:
        settings: dict[str, str | int | bool] = {
            "bootstrap.servers": self._bootstrap_servers,
            "partitioner": partitioner,
            "enable.idempotence": True,  # no repeats but those of the plan
            "message.timeout.ms": 0,  # none is given up while the broker is away
            "reconnect.backoff.max.ms": 500,
            "linger.ms": 10,
            "log_level": 0,
        }
        return Producer(settings | more)

    def _transactions(self, fate: Literal["commit", "abort"]) -> Transactions:
        limit_ms = int(TRANSACTION_MAX_S * 1000)
        producer = self._producer(
            "murmur2_random",
            **{
                "transactional.id": f"{self._topic}-{fate}",
                "transaction.timeout.ms": limit_ms,
                "message.timeout.ms": limit_ms,
            },
        )
        return Transactions(producer, topic=self._topic, fate=fate)


class Transactions:
    """One producer's transactions of a few letters each, all with the same end."""

    def __init__(self, producer: Producer, *, topic: str, fate: Literal["commit", "abort"]) -> None:
        self._producer = producer
        self._topic = topic
        self._fate = fate
        self._open: list[Letter] = []
        producer.init_transactions(TRANSACTION_MAX_S)

    def send(self, letter: Letter) -> None:
        if not self._open:
            self._producer.begin_transaction()
        self._open.append(letter)
        self._produce(letter)
        if len(self._open) == TRANSACTION_LETTERS:
            self.end()

    def end(self) -> None:
        """Commit or abort what is open. One that the broker's absence broke is begun again with the same letters."""
        while self._open:
            try:
                if self._fate == "abort":
                    self._producer.flush(TRANSACTION_MAX_S)  # in the log, and then taken back
                    self._producer.abort_transaction(TRANSACTION_MAX_S)
                else:
                    self._producer.commit_transaction(TRANSACTION_MAX_S)
            except KafkaException as error:
                self._recover(error.args[0])
            else:
                self._open.clear()

    def _recover(self, error: KafkaError) -> None:
        if error.retriable():
            return
        if not error.txn_requires_abort():
            raise RuntimeError(f"a transaction of the plan cannot go on: {error}")
        self._producer.abort_transaction(TRANSACTION_MAX_S)
        self._producer.begin_transaction()
        for letter in self._open:
            self._produce(letter)

    def _produce(self, letter: Letter) -> None:
        _produce(self._producer, self._topic, letter.request_id.encode(), letter.value)


def _produce(producer: Producer, topic: str, key: bytes | None, value: bytes) -> None:
    while True:
        try:
            producer.produce(topic, key=key, value=value)
        except BufferError:
            producer.poll(0.1)
        else:
            producer.poll(0)
            return


def _await_delivery(client: UsageProducer) -> None:
    """What the client put into its spool while the broker was away has to arrive as well."""
    deadline = time.monotonic() + DELIVERED_MAX_S
    while (stats := client.stats()).queued or stats.spool_rows:
        if time.monotonic() > deadline:
            raise RuntimeError(f"the client has not delivered everything {DELIVERED_MAX_S} s after the last: {stats}")
        time.sleep(0.05)
    if stats.dropped or stats.refused:
        raise RuntimeError(f"the client gave events up: {stats}")


def now() -> datetime:
    return datetime.now(UTC)
