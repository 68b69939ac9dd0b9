"""What the demo publishes: 28,185 real requests of a production LLM service (the folder `data`).

Reality adds repeats, conflicts, malformed records, an unknown model, late events, and a spike in the last whole hour.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib.resources import as_file, files
from typing import Any, Final

from costream import UsageEvent
from stream.demo.trace import Request, as_events, read_requests, stretched
from stream.runtime.errors import StreamError

HOUR: Final = timedelta(hours=1)
SPAN_MIN: Final = timedelta(hours=26)  # a spike is judged against 24 whole hours at least
SEED: Final = 20231116  # of what is drawn: which events come late and which are repeated

# The rule by which trace rows get a model: row n of a feature takes entry n modulo the length.
CHAT_MODELS: Final = (
    ("openai", "gpt-4o-mini"),
    ("openai", "gpt-4o-mini"),
    ("anthropic", "claude-3-5-haiku-20241022"),
    ("openai", "gpt-4o"),
)
CODE_MODELS: Final = (
    ("anthropic", "claude-sonnet-4-5"),
    ("openai", "gpt-4o"),
    ("google", "gemini-2.5-pro"),
)
SPIKE_MODELS: Final = (("openai", "gpt-4-turbo"),)
UNKNOWN_MODELS: Final = (("openai", "aurora-9-preview"),)  # nobody sells it
SPIKE_REQUESTS: Final = 1_200  # seven usual hours of calls in one, on a dearer model
UNKNOWN_REQUESTS: Final = 150
DUPLICATES_SHARE: Final = 0.02
LATE_SHARE: Final = 0.01
CONFLICTS: Final = 5
USERS: Final = 200

MALFORMED: Final = (
    b"not json at all",
    b'{"request_id": "demo-truncated", "occurred_at": "20',
    b'{"request_id": "demo-naive", "occurred_at": "2026-01-01T00:00:00", "provider": "openai", "model": "gpt-4o"}',
    b'{"request_id": "demo-typo", "occurred_at": "2026-01-01T00:00:00Z", "provider": "openai", "modle": "gpt-4o"}',
    b'{"request_id": "demo-negative", "occurred_at": "2026-01-01T00:00:00Z", "provider": "openai", "model": "gpt-4o",'
    b' "input_tokens": -5}',
    b'{"request_id": "demo-float-money", "occurred_at": "2026-01-01T00:00:00Z", "provider": "openai",'
    b' "model": "gpt-4o", "quantities": {"images": 0.1}}',
)


class SpanTooShort(StreamError):
    """The demo's span leaves no history for its spike."""

    def __init__(self, span: timedelta) -> None:
        super().__init__(f"--span {span} is too short: a spike needs {SPAN_MIN} to stand out from; nothing was started")


@dataclass(frozen=True, slots=True)
class Plan:
    """What is published, in this order."""

    events: tuple[UsageEvent, ...]  # repeats and conflicts included
    malformed: tuple[bytes, ...]
    counted: int  # distinct ids: what must be stored
    duplicates: int
    conflicts: int

    @property
    def records(self) -> int:
        return len(self.events) + len(self.malformed)

    def without(self, stored: Collection[str]) -> Plan:
        """What is left to publish where the requests with these ids are stored. The malformed ones have no id to be
        known by, and are left out as soon as anything is stored."""
        events = tuple(event for event in self.events if event.request_id not in stored)
        counted = len({event.request_id for event in events})
        conflicts = sum(event.request_id not in stored for event in self.events[len(self.events) - self.conflicts :])
        return Plan(
            events=events,
            malformed=() if stored else self.malformed,
            counted=counted,
            duplicates=len(events) - counted - conflicts,
            conflicts=conflicts,
        )


def require_history(span: timedelta) -> None:
    if span < SPAN_MIN:
        raise SpanTooShort(span)


def plan(*, span: timedelta, now: datetime, run: str) -> Plan:
    """The same for the same arguments. Real requests over the span, then what reality adds to them."""
    require_history(span)
    dice = random.Random(SEED)  # noqa: S311 - a demo's dice, not a secret's
    events = _real_and_odd(span=span, until=now - timedelta(seconds=5), run=run)
    late = set(dice.sample(range(len(events)), int(len(events) * LATE_SHARE)))
    on_time = [event for number, event in enumerate(events) if number not in late]
    repeats = dice.sample(events, int(len(events) * DUPLICATES_SHARE))
    conflicting = [_conflicting(event) for event in dice.sample(events, CONFLICTS)]
    halfway = len(repeats) // 2
    published = [*_interleaved(on_time, repeats[:halfway]), *(events[number] for number in late), *repeats[halfway:]]
    return Plan(
        events=(*published, *conflicting),
        malformed=MALFORMED,
        counted=len(events),
        duplicates=len(repeats),
        conflicts=len(conflicting),
    )


def _real_and_odd(*, span: timedelta, until: datetime, run: str) -> list[UsageEvent]:
    """Every event once, oldest first."""
    chat, code = (_trace(name) for name in ("conv", "code"))
    last_hour = until.replace(minute=0, second=0, microsecond=0) - HOUR
    spike = stretched(
        chat[:SPIKE_REQUESTS], span=HOUR - timedelta(minutes=2), until=last_hour + HOUR - timedelta(minutes=1)
    )
    unknown = stretched(chat[-UNKNOWN_REQUESTS:], span=span, until=until)
    shared = {"environment": "prod", "team": "support"}
    parts: list[Iterable[UsageEvent]] = [
        _events(stretched(chat, span=span, until=until), f"{run}:conv", CHAT_MODELS, feature="chatbot", **shared),
        _events(
            stretched(code, span=span, until=until),
            f"{run}:code",
            CODE_MODELS,
            feature="code-assistant",
            environment="prod",
            team="engineering",
        ),
        _events(spike, f"{run}:spike", SPIKE_MODELS, feature="chatbot", **shared),
        _events(unknown, f"{run}:unknown", UNKNOWN_MODELS, feature="chatbot", **shared),
    ]
    return sorted((event for part in parts for event in part), key=lambda event: event.occurred_at)


def _events(
    requests: Sequence[Request], run: str, models: Sequence[tuple[str, str]], **fields: Any
) -> Iterable[UsageEvent]:
    for number, event in enumerate(as_events(requests, run=run, models=models, **fields)):
        yield event.model_copy(update={"user_id": f"user-{number * 7919 % USERS:03d}"})


def _trace(name: str) -> list[Request]:
    with as_file(files("stream.demo") / "data" / f"azure_llm_2023_{name}.csv.gz") as path:
        return read_requests(path)


def _conflicting(event: UsageEvent) -> UsageEvent:
    return event.model_copy(update={"output_tokens": (event.output_tokens or 0) + 1_000})


def _interleaved(events: Sequence[UsageEvent], repeats: Sequence[UsageEvent]) -> Iterable[UsageEvent]:
    """Each repeat some hundred events after its first, as a retrying client sends it."""
    wanted = {event.request_id: event for event in repeats}
    waiting: list[UsageEvent] = []
    for number, event in enumerate(events):
        yield event
        if repeat := wanted.pop(event.request_id, None):
            waiting.append(repeat)
        if number % 300 == 0:
            yield from waiting
            waiting.clear()
    yield from waiting
    yield from wanted.values()  # their first comes late
