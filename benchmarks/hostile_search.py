"""Looks for messages that cost more to decode than any known: shapes are drawn, the dearest kept and changed again.

    python -m benchmarks.hostile_search --seed 1 --seconds 60

Prints the dearest shapes of each outcome, each with its cost against a plain event's and how it is made. What is dearer
than the kinds of hostile_kinds.py belongs among them.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from benchmarks.hostile_kinds import LIMITS, NOW, Kind, kinds
from costream.topics import EVENT_BYTES_MAX
from stream.consume.wire import FetchedRecord
from stream.decode.frame import decode
from stream.runtime.memory import calm_the_collector
from stream.store.letters import dead_letter_message, dead_letter_rows
from tests.support.records import wire

COPIES: Final = 10  # in a batch; what a batch costs at all is taken off
TRIES: Final = 3  # the quickest counts: what a neighbour on the machine takes is not the message's
KEPT: Final = 40  # shapes that are changed again
SHOWN: Final = 8
COUNTS: Final = (1, 2, 17, 32, 64, 65, 118, 256, 330, 680, 1_000, 1_360, 2_000, 4_000, 10_000, 60_000)
NAMES: Final = (
    *("metadata", "metadata", "metadata", "quantities", "unit_prices", "feature", "team", "error", "occurred_at"),
    *("duration_ms", "revenue_usd", "operation", "request_id", "x", "x{n}", "{n}", "te\\\\u0061m"),
)
TOKENS: Final = (
    *("0", "-0", "7", "1.5", "0.1", "1e5", "1E-7", "12345678901234567890", "null", "true", "[]", "{}", "[[]]", "[{}]"),
    *('""', '"a"', '"1.5"', '"é"', '"😀"', '"\\u0041"', '"\\ud83d\\ude00"', '"\\""', '"\\\\"', '"\\n"', '"1e5."'),
    *('{"":0}', '{"a":{}}', '{"a":0,"a":0}', '{"a":[]}', "1e400", "NaN", '"\\ud800"', '"\x01"'),
)
UNITS_OF_TEXT: Final = (
    "a",
    "9",
    "é",
    "😀",
    "e\u0301",
    "\u200b",
    "\\u0041",
    "\\ud83d\\ude00",
    '\\"',
    "\\\\",
    "{",
    '\\"a\\":',
    "[,",
)
SPACES: Final = ("", "", "", " ", "\n", "\t \r\n", " " * 40)
ENDS: Final = (b"", b"", b"", b"", b"", b"}", b"\xff", b" " * 500)


@dataclass(frozen=True, slots=True)
class Member:
    """A name, and a value of so many tokens put together in a way; it may stand there many times."""

    name: str
    wrap: str
    token: str
    text: str
    count: int
    times: int

    def rendered(self, space: str) -> str:
        value = self._value(space)
        return f",{space}".join(f'"{self.name.format(n=n)}":{space}{value}' for n in range(self.times))

    def _value(self, space: str) -> str:
        return WAYS[self.wrap](self, f",{space}")


WAYS: Final[dict[str, Callable[[Member, str], str]]] = {
    "bare": lambda it, comma: it.token,
    "list": lambda it, comma: "[" + comma.join([it.token] * it.count) + "]",
    "object": lambda it, comma: "{" + comma.join(f'"k{n}":{it.token}' for n in range(it.count)) + "}",
    "same key": lambda it, comma: "{" + comma.join(f'"k{n % max(1, it.count - 1)}":0' for n in range(it.count)) + "}",
    "text": lambda it, comma: '"' + it.text * it.count + '"',
    "digits": lambda it, comma: "7" * it.count,
    "fraction": lambda it, comma: "0." + "3" * it.count,
    "lists in lists": lambda it, comma: "[" * it.count + it.token + "]" * it.count,
    "objects in objects": lambda it, comma: '{"a":' * it.count + it.token + "}" * it.count,
}


@dataclass(frozen=True, slots=True)
class Shape:
    members: tuple[Member, ...]
    space: str
    end: bytes

    def value(self) -> bytes:
        members = "".join("," + member.rendered(self.space) for member in self.members)
        return wire(feature=None)[:-1] + members.encode() + b"}" + self.end


def drawn(dice: random.Random) -> Shape:
    return Shape(tuple(_member(dice) for _ in range(dice.choice((1, 1, 2, 3)))), dice.choice(SPACES), dice.choice(ENDS))


def changed(shape: Shape, dice: random.Random) -> Shape:
    """With one thing another."""
    place = dice.randrange(len(shape.members))
    member = shape.members[place]
    match dice.randrange(9):
        case 0:
            return replace(shape, space=dice.choice(SPACES))
        case 1:
            return replace(shape, end=dice.choice(ENDS))
        case 2:
            return replace(shape, members=(*shape.members, _member(dice))[:6])
        case 3:
            member = replace(member, name=dice.choice(NAMES))
        case 4:
            member = replace(member, token=dice.choice(TOKENS), text=dice.choice(UNITS_OF_TEXT))
        case 5:
            member = replace(member, wrap=dice.choice(list(WAYS)))
        case 6:
            member = replace(member, times=dice.choice(COUNTS))
        case _:
            member = replace(member, count=max(1, round(member.count * dice.choice((0.5, 0.9, 0.98, 1.02, 1.1, 2)))))
    return replace(shape, members=(*shape.members[:place], member, *shape.members[place + 1 :]))


def _member(dice: random.Random) -> Member:
    times = dice.choice(COUNTS) if dice.random() < 0.2 else 1
    return Member(
        dice.choice(NAMES),
        dice.choice(list(WAYS)),
        dice.choice(TOKENS),
        dice.choice(UNITS_OF_TEXT),
        dice.choice(COUNTS),
        times,
    )


@dataclass(frozen=True, slots=True)
class Found:
    ratio: float  # to a plain event, decoded just before
    outcome: str
    size: int
    shape: Shape | str


def cost(value: bytes) -> tuple[float, str]:
    """What decoding one and making its dead letter takes against a plain event, and what it ended as."""
    best, plain, outcome = float("inf"), float("inf"), ""
    for _ in range(TRIES):  # in turns, so that a slow moment of the machine meets both
        plain = min(plain, (_seconds(_PLAIN)[0] - _seconds(_PLAIN[:2])[0]) / len(_PLAIN))
        seconds, outcome = _seconds([value] * COPIES)
        best = min(best, seconds - _seconds(_PLAIN[:2])[0])
    return max(0.0, best / COPIES) / max(plain, 1e-7), outcome


_PLAIN: Final = [wire(request_id=f"p-{number}") for number in range(500)]


def _seconds(values: Sequence[bytes]) -> tuple[float, str]:
    moment = round(NOW.timestamp() * 1000)
    records = [FetchedRecord(0, offset, moment, None, value, []) for offset, value in enumerate(values)]
    began = time.process_time()
    refusals = decode(records, source="s", limits=LIMITS).refusals
    dead_letter_rows(refusals, source="s", now=NOW)
    for refusal in refusals:
        dead_letter_message(refusal, source="s")
    return time.process_time() - began, refusals[0].kind if refusals else "accepted"


def search(*, seed: int, seconds: float) -> list[Found]:
    """The dearest first."""
    dice, found, kept = random.Random(seed), list[Found](), list[Found]()
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        shape = changed(dice.choice(kept).shape, dice) if kept and dice.random() < 0.8 else drawn(dice)  # type: ignore[arg-type]  # what is kept has a shape
        value = shape.value()
        if len(value) > EVENT_BYTES_MAX:
            continue
        ratio, outcome = cost(value)
        found.append(Found(ratio, outcome, len(value), shape))
        kept = _dearest([*kept, found[-1]])
    return sorted(found, key=lambda each: -each.ratio)


def _dearest(found: Sequence[Found]) -> list[Found]:
    """Of each outcome as many, so that the dear ones of one do not crowd out the others."""
    by_cost = sorted(found, key=lambda each: -each.ratio)
    outcomes = {each.outcome for each in by_cost}
    return [each for outcome in outcomes for each in [one for one in by_cost if one.outcome == outcome][: KEPT // 3]]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hostile_search", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=60.0)
    options = parser.parse_args()
    calm_the_collector()
    known: list[tuple[float, Kind]] = sorted(
        ((cost(kind.value)[0], kind) for kind in kinds()), key=lambda each: -each[0]
    )
    print(
        "known, to a plain event decoded:",
        *(f"{ratio:5.0f} x  {kind.name}" for ratio, kind in known[:SHOWN]),
        sep="\n  ",
    )
    found = search(seed=options.seed, seconds=options.seconds)
    print(f"found among {len(found):,} shapes:")
    for outcome in sorted({each.outcome for each in found}):
        for each in [one for one in found if one.outcome == outcome][:SHOWN]:
            print(f"  {each.ratio:5.0f} x  {each.outcome}, {each.size:,} bytes: {each.shape}")


if __name__ == "__main__":
    main()
