"""The background thread that brings events to Kafka, or to the spool while Kafka is away.

    record() ─▶ door ─▶ [up]   Kafka ─▶ acknowledged
                        [down] spool ─▶ Kafka, once it acknowledges again

Everything that takes time (the checks, JSON, the network, the disk) happens here and never in the caller's thread:
writing one event as JSON takes 6 us in a loop, but 40 us in a service that did something else in between. The link
is *up* until a message fails or no broker can be reached; then what Kafka has not acknowledged goes to the spool, and
so does everything new. While it is *down*, some spooled messages are always on offer to Kafka; the first one it
acknowledges means that it is back. What it had written without saying so comes again under the same request_id, and
counts once.

Nothing that others have written may end this thread: the clock is asked for a time and not trusted, log lines are
spoken elsewhere (voice.py), and an error that nobody expected costs what it hit, counted, and no more.

This file is the thread, its rounds and its end. Where a message goes is decided in ``carrier``, with ``copies`` of
what Kafka has not answered for and ``loans`` of what is spooled; ``pending`` knows what is in memory alone, ``disk``
whether the spool works, and ``losses`` what is given up.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from queue import Empty
from traceback import format_exception
from typing import Final
from uuid import uuid4

from costream.delivery import voice
from costream.delivery.carrier import Carrier
from costream.delivery.clock import time_by
from costream.delivery.complaints import Complaints
from costream.delivery.disk import Disk
from costream.delivery.door import Door, Item
from costream.delivery.fork import GATE
from costream.delivery.intake import Given, to_message
from costream.delivery.lifetime import arrange_celerys_exit
from costream.delivery.link import Connect, Link
from costream.delivery.losses import Losses
from costream.delivery.parcel import Counts, FlushOrder, ProducerStats, StopOrder
from costream.delivery.pending import Pending
from costream.delivery.real import wait_until
from costream.delivery.spool import Lost, Message
from costream.events import UsageEvent
from costream.lenient import Refused
from costream.settings import Settings

BATCH_EVENTS_MAX: Final = 500  # taken at once: one spool transaction, and a few milliseconds of work
GATHER_S: Final = 0.01  # between two looks at the queue while events keep coming
LULL_S: Final = 1.0  # without an event, until it waits at the queue again
WAIT_BUSY_S: Final = 0.02  # between looks at Kafka's answers while some are due
WAIT_DOWN_S: Final = 0.1  # and while they are due from a Kafka that is away
WAIT_IDLE_S: Final = 1.0
JOIN_EXTRA_S: Final = 1.0  # for the spool, which is written after the deadline; a stalled disk is not waited for
VOICE_WAIT_MAX_S: Final = 0.5  # at the end, for a log handler that hangs


class Courier:
    """One process's background thread, its link to Kafka and its spool. A forked child gets a new one."""

    def __init__(
        self,
        settings: Settings,
        *,
        connect: Connect,
        headers: Sequence[tuple[str, bytes]],
        clock: Callable[[], datetime],
        monotonic: Callable[[], float],
    ) -> None:
        self._counts = Counts()
        self._settings = settings
        self._clock = clock
        self._monotonic = monotonic
        self._complaints = Complaints(voice.say, monotonic)
        self._door = Door(self._run, room=settings.queue_events_max, monotonic=monotonic)
        self._pending = Pending()
        self._swallowed: type[BaseException] = BaseException  # what does not end the thread
        self._ended = False

        # Below: the background thread's own.
        client = dict(headers)["costream-client"].decode()
        self._losses = Losses(self._counts, self._complaints, client=client, now=self.now, monotonic=monotonic)
        self._link = Link(
            settings, connect=connect, headers=headers, monotonic=monotonic, on_down=self._say_down, on_up=self._say_up
        )
        self._disk = Disk(settings, complaints=self._complaints, losses=self._losses, now=self.now, monotonic=monotonic)
        self._carrier = Carrier(
            settings,
            self._link,
            self._disk,
            pending=self._pending,
            counts=self._counts,
            losses=self._losses,
            now=self.now,
            monotonic=monotonic,
            is_late=self._stopped,
            say_bug=self._say_bug,
        )
        self._stop: StopOrder | None = None
        self._lull_at = 0.0

    # --- the callers' side -------------------------------------------------------------------------------------------

    def post(self, event: UsageEvent | Given) -> None:
        self._door.put(event)

    def come_too_late(self) -> None:
        """An event recorded after the close, when nobody is left to deliver it."""
        self._door.too_late.add()
        text = "usage events are lost: they were recorded after the producer was closed"
        self._complaints.say("late", text, level=logging.ERROR)

    def start(self) -> None:
        self._door.see_that_it_lives()

    def now(self) -> datetime:
        return time_by(self._clock, lambda fault: self._complaints.say("clock", f"the clock of a producer {fault}"))

    def flush(self, timeout: float) -> int:
        """Wait until all posted so far is acknowledged or on disk; returns how much of it is neither."""
        flush = FlushOrder()
        self._door.order(flush)
        if wait_until(lambda: flush.done or not self._door.see_that_it_lives(), timeout) and flush.done:
            return 0
        if flush.epoch is None:
            return self._in_memory()
        return max(0, self._pending.until(flush.epoch) - self._carrier.copies.unanswered)

    def _in_memory(self) -> int:
        return max(0, self._door.events + self._pending.messages - self._carrier.copies.unanswered)

    def stats(self) -> ProducerStats:
        counts = self._counts
        lost_at_the_door = self._door.overflowed.value + self._door.too_late.value
        return ProducerStats(
            recorded=counts.taken + self._door.events + lost_at_the_door,
            delivered=counts.delivered,
            spooled=counts.spooled,
            spool_rows=self._disk.rows + self._carrier.copies.rows,
            queued=self._in_memory(),
            dropped=counts.dropped + lost_at_the_door,
            refused=counts.refused,
            changed=counts.changed,
        )

    def close(self, timeout: float) -> None:
        """Deliver for at most ``timeout`` seconds, then spool the rest and end the thread."""
        if self._door.is_untouched:
            return
        self._door.order(StopOrder(self._monotonic() + timeout))
        if not wait_until(lambda: self._ended or not self._door.see_that_it_lives(), timeout + JOIN_EXTRA_S):
            return
        if not self._ended:  # no thread can be started any more, so the work is done here
            self._swallowed = Exception
            self._run()
        elif self._door.queue.qsize():  # recorded while the thread ended
            self._safely(self._wind_up)
        voice.wait(VOICE_WAIT_MAX_S)

    # --- the background thread ---------------------------------------------------------------------------------------

    def _run(self) -> None:
        """If it ends early after all, the next caller has it started again."""
        self._safely(self._live)

    def _live(self) -> None:
        self._safely(arrange_celerys_exit)
        while not self._finished():
            self._round()
        self._safely(self._wind_up)
        self._ended = True

    def _safely(self, work: Callable[[], None]) -> None:
        try:
            work()
        except self._swallowed as error:  # a bug in here must neither reach the host nor end the delivery
            self._say_bug(error)

    def _say_bug(self, error: BaseException) -> None:
        self._complaints.say("bug", f"costream met a bug of its own: {error!r}", level=logging.ERROR)
        voice.say(logging.DEBUG, "bug", "".join(format_exception(error)))

    def _round(self) -> None:
        """Each step for itself: one that fails does not take the others with it."""
        self._safely(self._take)
        self._safely(self._carrier.send)
        self._safely(self._carrier.hear_kafka)
        self._safely(self._carrier.copies.write)
        self._safely(self._carrier.copies.end)
        self._safely(self._carrier.loans.repay)
        self._safely(self._carrier.borrow)
        self._safely(self._keep_house)
        self._safely(self._pending.answer_flushes)

    def _wait(self) -> float:
        if self._stopped():
            return 0
        if self._carrier.waits:
            return WAIT_BUSY_S if self._link.up else WAIT_DOWN_S
        return WAIT_BUSY_S if self._stop or (self._link.up and self._disk.rows) else WAIT_IDLE_S

    def _take(self) -> None:
        """What has come, or comes within a while, into the inbox.

        While events keep coming it sleeps and looks instead of waiting at the queue: waking a waiting thread is the
        caller's work and would be most of what ``record()`` costs.
        """
        wait = self._wait()
        if self._monotonic() < self._lull_at:
            self._door.bell.wait(min(GATHER_S, wait))
            wait = 0
        taken = self._counts.taken
        with suppress(Empty):
            self._sort_in(self._door.queue.get(timeout=wait))
            for _ in range(BATCH_EVENTS_MAX):
                self._sort_in(self._door.queue.get_nowait())
            self._door.bell.ring()  # there may be more
        if taken != self._counts.taken:
            self._lull_at = self._monotonic() + LULL_S

    def _sort_in(self, item: Item) -> None:
        if isinstance(item, (UsageEvent, Given)):
            self._counts.taken += 1
            if message := self._write(item):
                self._carrier.take(message)
            return
        self._door.orders_taken += 1
        if isinstance(item, FlushOrder):
            self._pending.take(item)
        else:
            self._stop = item

    def _write(self, item: UsageEvent | Given) -> Message | None:
        """The bytes on the wire, or None: then the event is counted as refused."""
        try:
            with GATE:  # pydantic's core has locks of its own
                message, changes = to_message(item, new_id=lambda: str(uuid4()))
        except Exception as error:  # noqa: BLE001 - a Refused, or whatever the caller's value does when looked at
            reason = str(error) if isinstance(error, Refused) else f"{type(error).__name__}: {error}"
            why = f"refused: {error.field}" if isinstance(error, Refused) else "refused"
            self._losses.refuse(Lost(1), f"a usage event is refused, and lost: {reason}", why)
            return None
        if changes:
            self._counts.changed += 1
            self._complaints.say("changed", f"a usage event is recorded with changes: {'; '.join(changes)}")
        return message

    # --- beside it ---------------------------------------------------------------------------------------------------

    def _say_down(self, reason: str) -> None:
        self._complaints.say(
            "down",
            f"Kafka at {self._settings.kafka_bootstrap_servers} does not take usage events ({reason});"
            f" they wait in {self._settings.spool_dir} until it does",
        )

    def _say_up(self) -> None:
        voice.say(logging.INFO, "up", f"Kafka takes usage events again; {self._disk.rows} spooled ones follow")

    def _keep_house(self) -> None:
        self._say_overflow()
        self._disk.tend()
        if report := self._losses.report_if_due(stopping=self._stop is not None):
            self._carrier.take(report)
            self._carrier.send()
        if not self._link.up and not self._disk.rows:
            self._link.assume_up()
        self._complaints.say_what_is_due()

    def _say_overflow(self) -> None:
        reason = f"{self._settings.queue_events_max} wait in memory already"
        self._losses.say_overflow(self._door.overflowed.value, reason)

    # --- the end -----------------------------------------------------------------------------------------------------

    def _stopped(self) -> bool:
        return self._stop is not None and self._monotonic() >= self._stop.deadline

    def _finished(self) -> bool:
        """Whether to stop: asked to, and either nothing is left that Kafka takes, or the time is up."""
        if self._stop is None:
            return False
        unsaid = self._door.overflowed.value > self._losses.overflow_said
        waiting = self._door.queue.qsize() or self._pending or unsaid
        return self._stopped() or not (waiting or (self._link.up and self._disk.rows))

    def _wind_up(self) -> None:
        """Everything that is still in memory goes to disk; a step that fails does not take the others with it."""
        self._stop = StopOrder(self._monotonic())
        for step in (
            self._link.take_back,
            self._carrier.hear_kafka,
            self._carrier.copies.end,
            self._carrier.loans.repay,
            self._store_queue,
            self._store_report,
        ):
            self._safely(step)
        self._pending.answer_flushes()
        self._complaints.say_what_is_due(everything=True)
        self._safely(self._disk.spool.close)

    def _store_queue(self) -> None:
        while self._carrier.holds_some or self._door.queue.qsize():
            self._take()
            self._carrier.send()

    def _store_report(self) -> None:
        self._say_overflow()
        if report := self._losses.report():
            self._carrier.take(report)
            self._carrier.send()
