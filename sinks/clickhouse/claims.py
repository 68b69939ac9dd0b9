"""One writer of corrections at a time. A re-pricing, a rebuild and a repair each work out the whole difference of a
row, so two of them at once would each undo what the other did.

Whoever wants to write puts down a claim and waits for a moment, so that every claim that was put down at the same time
can be seen. Of the claims that were seen lately the earliest one has the right, by the clock of the warehouse. A holder
says again and again that it lives; one that was killed loses its right LAPSE_SECONDS later, and one that could not say
so for half of that stops by itself.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import polars as pl

from sinks.clickhouse.reader import Reader
from sinks.clickhouse.writer import Writer
from sinks.errors import CorrectionsClaimed, CorrectionsLost, WarehouseError

TABLE: Final = "correction_claims"
SETTLE_SECONDS: Final = 1.0  # a row of some bytes takes a hundredth of it
SEEN_EVERY_SECONDS: Final = 5.0
LAPSE_SECONDS: Final = 30

LIVING: Final = f"""
  SELECT claim, holder, doing, claimed_at, seen_at
  FROM correction_claims_rows FINAL
  WHERE released = 0 AND seen_at > now64(6) - INTERVAL {LAPSE_SECONDS} SECOND
  ORDER BY claimed_at, claim"""  # noqa: S608 - a number written here
LATELY: Final = """
  SELECT claim, holder, doing, claimed_at, seen_at
  FROM correction_claims_rows FINAL
  WHERE seen_at > now64(6) - toIntervalMillisecond({milliseconds:Int64})
  ORDER BY claimed_at, claim"""
ONE: Final = "SELECT claimed_at FROM correction_claims_rows FINAL WHERE claim = {claim:String}"


@dataclass(frozen=True, slots=True)
class Claimed:
    """A claim as it stands in the warehouse."""

    claim: str
    holder: str
    doing: str
    claimed_at: datetime
    seen_at: datetime


def living(reader: Reader) -> list[Claimed]:
    """The claims that were seen lately, the one that has the right first."""
    return [Claimed(*row) for row in reader.frame(LIVING).iter_rows()]


def lately(reader: Reader, span: timedelta) -> list[Claimed]:
    """Who was writing corrections within this time until now, or wanted to; ended ones too."""
    found = reader.frame(LATELY, milliseconds=span // timedelta(milliseconds=1))
    return [Claimed(*row) for row in found.iter_rows()]


class Claim:
    """The right to write corrections, while it lasts."""

    def __init__(self, reader: Reader, writer: Writer, claimed: Claimed, *, monotonic: Callable[[], float]) -> None:
        self._writer = writer
        self._reader = reader
        self.claimed = claimed
        self._monotonic = monotonic
        self._seen_at = monotonic()
        self._ended = threading.Event()

    def require(self) -> None:
        """Before each write. Raises ``CorrectionsLost`` where another may have the right by now."""
        if self._monotonic() - self._seen_at > LAPSE_SECONDS / 2:
            raise CorrectionsLost(where=self._reader.address.url)

    def say_that_it_lives(self) -> None:
        began = self._monotonic()
        _put(self._writer, self.claimed, released=0)
        self._seen_at = began

    def keep_saying(self) -> None:
        while not self._ended.wait(SEEN_EVERY_SECONDS):
            with suppress(WarehouseError):  # an outage: said again soon, or the right ends
                self.say_that_it_lives()

    def say_no_more(self) -> None:
        self._ended.set()

    def release(self) -> None:
        with suppress(WarehouseError):  # then it lapses by itself
            _put(self._writer, self.claimed, released=1)


@contextmanager
def claimed(
    reader: Reader,
    writer: Writer,
    *,
    holder: str,
    doing: str,
    new_id: Callable[[], str],
    pause: Callable[[float], None],
    monotonic: Callable[[], float],
    waiting: Callable[[Claimed], None],
) -> Iterator[Claim]:
    """The right to write corrections. ``waiting`` is told of a holder that was not heard of meanwhile: it may have been
    killed, and its right lapses. Raises ``CorrectionsClaimed`` where the holder lives."""
    name = new_id()
    writer.insert(TABLE, pl.DataFrame({"claim": [name], "holder": [holder], "doing": [doing]}))
    (at,) = reader.frame(ONE, claim=name)["claimed_at"]
    claim = Claim(reader, writer, Claimed(name, holder, doing, at, at), monotonic=monotonic)
    speaking = threading.Thread(target=claim.keep_saying, name="costream-claim", daemon=True)
    try:
        pause(SETTLE_SECONDS)
        _wait_for_the_right(reader, claim, pause=pause, waiting=waiting)
        speaking.start()
        yield claim
    finally:
        claim.say_no_more()
        if speaking.is_alive():
            speaking.join(SEEN_EVERY_SECONDS)  # or its last word would take the release back
        claim.release()


def _wait_for_the_right(
    reader: Reader, claim: Claim, *, pause: Callable[[float], None], waiting: Callable[[Claimed], None]
) -> None:
    other = _before(reader, claim.claimed)
    if other is None:
        return
    waiting(other)
    waited = 0.0
    while (now := _before(reader, claim.claimed)) and waited <= LAPSE_SECONDS:
        if (now.claim, now.seen_at) != (other.claim, other.seen_at):
            break  # it lives
        pause(SETTLE_SECONDS)
        waited += SETTLE_SECONDS
        claim.say_that_it_lives()
    if now:
        raise CorrectionsClaimed(holder=now.holder, doing=now.doing, since=now.claimed_at, seen=now.seen_at)


def _before(reader: Reader, claim: Claimed) -> Claimed | None:
    """Who has the right, if it is another."""
    first = next(iter(living(reader)), None)
    return first if first and first.claim != claim.claim else None


def _put(writer: Writer, claimed: Claimed, *, released: int) -> None:
    row: dict[str, Any] = {"claim": claimed.claim, "holder": claimed.holder, "doing": claimed.doing}
    row |= {"claimed_at": claimed.claimed_at, "released": released}
    kinds = pl.Schema({"claimed_at": pl.Datetime("us", "UTC"), "released": pl.UInt8()})
    writer.insert(TABLE, pl.DataFrame([row], schema_overrides=kinds))
