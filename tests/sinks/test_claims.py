"""One writer of corrections at a time: the first of those that live has the right, and one that was killed loses it."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import polars as pl
import pytest

from sinks.clickhouse import claims
from sinks.clickhouse.claims import LAPSE_SECONDS, Claim, Claimed, claimed, lately, living
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.writer import Writer
from sinks.errors import CorrectionsClaimed, CorrectionsLost, WarehouseUnavailable

Claiming = Callable[..., AbstractContextManager[Claim]]


@pytest.fixture
def waited_for() -> list[Claimed]:
    return []


@pytest.fixture
def claim(reader: Reader, writer: Writer, waited_for: list[Claimed]) -> Claiming:
    numbers = count()

    def claim(holder: str, **options: Any) -> AbstractContextManager[Claim]:
        usual: dict[str, Any] = {
            "doing": f"the work of {holder}",
            "new_id": lambda: f"{next(numbers):04d}-{holder}",
            "pause": lambda seconds: time.sleep(0.05),
            "monotonic": lambda: 0.0,
            "waiting": waited_for.append,
        }
        return claimed(reader, writer, holder=holder, **usual | options)

    return claim


def killed(writer: Writer, holder: str, *, seconds_ago: float) -> None:
    """The claim of a process that was heard of last so long ago."""
    seen = datetime.now(UTC) - timedelta(seconds=seconds_ago)
    row = {"claim": holder, "holder": holder, "doing": f"the work of {holder}", "claimed_at": seen, "seen_at": seen}
    moments = dict.fromkeys(("claimed_at", "seen_at"), pl.Datetime("us", "UTC"))
    writer.insert("correction_claims", pl.DataFrame([row], schema_overrides=moments))


def test_one_after_the_other_has_the_right(claim: Claiming, reader: Reader, waited_for: list[Claimed]) -> None:
    for holder in ("ada", "bob"):
        with claim(holder) as right:
            right.require()
            assert [each.holder for each in living(reader)] == [holder]
    assert living(reader) == []
    assert waited_for == []


def test_who_comes_second_is_told_who_is_at_it_and_leaves_no_claim(claim: Claiming, reader: Reader) -> None:
    with claim("ada") as ada:
        told = r"^the work of ada by ada is under way since .* UTC, last heard of at .* Nothing was changed; wait until"
        with pytest.raises(CorrectionsClaimed, match=told), claim("bob", pause=lambda _: ada.say_that_it_lives()):
            pytest.fail("two at once")
        assert [each.holder for each in living(reader)] == ["ada"]


def test_of_two_at_the_same_time_the_first_by_the_clock_of_the_warehouse_has_it(
    claim: Claiming, reader: Reader, writer: Writer
) -> None:
    """The second one puts its claim down while the first one waits for such."""
    refused = []

    def while_ada_waits(_: float) -> None:
        with pytest.raises(CorrectionsClaimed), claim("bob", pause=lambda _: heard_of("ada", reader, writer)):
            pytest.fail("two at once")
        refused.append("bob")

    with claim("ada", pause=while_ada_waits) as first:
        first.require()
    assert refused == ["bob"]


def heard_of(holder: str, reader: Reader, writer: Writer) -> None:
    """It says that it lives, as its thread would."""
    (mine,) = (each for each in living(reader) if each.holder == holder)
    claims._put(writer, mine, released=0)


@pytest.mark.slow
def test_the_right_of_one_that_was_killed_lapses_while_the_next_one_waits(
    claim: Claiming, writer: Writer, reader: Reader, waited_for: list[Claimed]
) -> None:
    killed(writer, "ada", seconds_ago=LAPSE_SECONDS - 4)  # long enough to be seen on a slow machine
    with claim("bob", pause=lambda _: time.sleep(0.2)) as right:
        right.require()
        assert [each.holder for each in living(reader)] == ["bob"]
    assert [each.holder for each in waited_for] == ["ada"]


def test_one_that_was_killed_long_ago_is_not_waited_for(
    claim: Claiming, writer: Writer, waited_for: list[Claimed]
) -> None:
    killed(writer, "ada", seconds_ago=LAPSE_SECONDS + 1)
    with claim("bob"):
        assert waited_for == []


def test_who_has_been_writing_lately_is_known_after_it_has_ended(
    claim: Claiming, writer: Writer, reader: Reader
) -> None:
    killed(writer, "ada", seconds_ago=100)
    with claim("bob"):
        pass
    assert [each.holder for each in lately(reader, timedelta(seconds=90))] == ["bob"]
    assert [each.holder for each in lately(reader, timedelta(seconds=110))] == ["ada", "bob"]


def test_who_could_not_say_that_it_lives_for_half_of_the_lapse_writes_no_more(
    claim: Claiming, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    with claim("ada", monotonic=lambda: now) as right:
        now = LAPSE_SECONDS / 2
        right.require()
        now += 0.1
        with pytest.raises(CorrectionsLost, match=r"What it had changed by then stands; give the same command again"):
            right.require()
        right.say_that_it_lives()
        right.require()


def test_a_holder_says_that_it_lives_by_itself_through_an_outage(
    claim: Claiming, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "SEEN_EVERY_SECONDS", 0.02)
    said = 0

    def put(writer: Writer, mine: Claimed, *, released: int, really: Any = claims._put) -> None:
        nonlocal said
        said += 1
        if said < 3:
            raise WarehouseUnavailable(where="here", reason="gone")
        really(writer, mine, released=released)

    monkeypatch.setattr(claims, "_put", put)
    with claim("ada"):
        (first,) = living(reader)
        until = time.monotonic() + 20
        while living(reader)[0].seen_at == first.seen_at:
            assert time.monotonic() < until
            time.sleep(0.02)
    assert living(reader) == []
