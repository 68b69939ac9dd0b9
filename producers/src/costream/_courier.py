"""The background thread that brings events to Kafka, or to the spool while Kafka is away.

    record() ─▶ door ─▶ [up]   Kafka ─▶ acknowledged
                        [down] spool ─▶ Kafka, once it acknowledges again

Everything that takes time (the checks, JSON, the network, the disk) happens here and never in the caller's thread:
writing one event as JSON takes 6 us in a loop, but 40 us in a service that did something else in between. The link
is *up* until a message fails or no broker can be reached; then what Kafka has not acknowledged goes to the spool, and
so does everything new. While it is *down*, some spooled messages are always on offer to Kafka; the first one it
acknowledges means that it is back. What it had written without saying so comes again under the same request_id, and
counts once.

What Kafka has taken and not acknowledged lives in this process's memory alone. So what waits for longer than a second
is copied to disk, and until a handle has had its first acknowledgement, which takes half a second, everything is: a
process that is killed loses what it recorded in the last hundredth of a second, or in the last second if Kafka has
just fallen silent.

Nothing that others have written may end this thread: the clock is asked for a time and not trusted, log lines are
spoken elsewhere (``_voice``), and an error that nobody expected costs what it hit, counted, and no more.
"""

from __future__ import annotations

import logging
import sqlite3
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from queue import Empty
from traceback import format_exception
from typing import Any, Final
from uuid import uuid4

from confluent_kafka import KafkaError

from costream import _voice
from costream._complaints import INTERVAL_S, Complaints
from costream._door import Door, Item
from costream._drops import Drops
from costream._fork import GATE
from costream._intake import Given, to_message
from costream._lenient import Refused
from costream._lifetime import arrange_celerys_exit
from costream._link import HOPELESS, Connect, Link, Offer
from costream._parcel import Counts, FlushOrder, Parcel, ProducerStats, StopOrder
from costream._real import wait_until
from costream._settings import Settings
from costream._spool import Lost, Message, Spool
from costream.events import UsageEvent

BATCH_EVENTS_MAX: Final = 500  # taken at once: one spool transaction, and a few milliseconds of work
PROBE_ROWS_MAX: Final = 100  # on offer to a Kafka that is away; enough to notice that it is back
DRAIN_ROWS_MAX: Final = 1_000  # spooled messages on their way at once, so that new ones find room beside them
GATHER_S: Final = 0.01  # between two looks at the queue while events keep coming
LULL_S: Final = 1.0  # without an event, until it waits at the queue again
WAIT_BUSY_S: Final = 0.02  # between looks at Kafka's answers while some are due
WAIT_DOWN_S: Final = 0.1  # and while they are due from a Kafka that is away
WAIT_IDLE_S: Final = 1.0
AHEAD_AFTER_S: Final = 1.0  # without an answer from Kafka, until a copy is on disk; a slow Kafka answers sooner
AHEAD_AGAIN_S: Final = 10.0  # after a disk that refused one
ORPHANS_EVERY_S: Final = 30.0
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
        self._client = dict(headers)["costream-client"].decode()
        self._complaints = Complaints(_voice.say, monotonic)
        self._door = Door(self._run, room=settings.queue_events_max, monotonic=monotonic)
        self._swallowed: type[BaseException] = BaseException  # what does not end the thread
        self._ended = False

        # Below: the background thread's own.
        self._link = Link(
            settings, connect=connect, headers=headers, monotonic=monotonic, on_down=self._say_down, on_up=self._say_up
        )
        self._spool = Spool(settings)
        self._spool_works = True
        self._epoch = 0
        self._unsettled: Counter[int] = Counter()  # messages in memory, by epoch
        self._flushes: list[FlushOrder] = []
        self._overflow_said = 0
        self._inbox: deque[Parcel] = deque()  # in hand: placed nowhere yet
        self._returned: list[Parcel] = []
        self._watched: deque[tuple[float, Parcel]] = deque()  # given to Kafka, no copy on disk yet; oldest first
        self._ahead_unanswered = 0
        self._ahead_answered: list[int] = []
        self._ahead_at = 0.0
        self._borrowing = False
        self._on_loan: set[int] = set()
        self._repaid: list[int] = []
        self._drops = Drops()
        self._report_at = 0.0
        self._last_report = False
        self._adopt_at = 0.0
        self._expire_at = 0.0
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
        """By the producer's clock; by the system's where that one raises or tells no time with a zone."""
        try:
            moment = self._clock()
            if moment.utcoffset() is not None:
                return moment
            trouble = f"{moment!r} has no zone"
        except Exception as error:  # noqa: BLE001 - the clock is the host's
            trouble = f"{type(error).__name__}: {error}"
        self._complaints.say("clock", f"the clock of a producer cannot be used ({trouble}); the system's is")
        return datetime.now(UTC)

    def flush(self, timeout: float) -> int:
        """Wait until all posted so far is acknowledged or on disk; returns how much of it is neither."""
        flush = FlushOrder()
        self._door.order(flush)
        if wait_until(lambda: flush.done or not self._door.see_that_it_lives(), timeout) and flush.done:
            return 0
        if flush.epoch is None:
            return self._in_memory()
        waiting = sum(count for epoch, count in list(self._unsettled.items()) if epoch <= flush.epoch)
        return max(0, waiting - self._ahead_unanswered)

    def _in_memory(self) -> int:
        return max(0, self._door.events + sum(list(self._unsettled.values())) - self._ahead_unanswered)

    def stats(self) -> ProducerStats:
        counts = self._counts
        lost_at_the_door = self._door.overflowed.value + self._door.too_late.value
        return ProducerStats(
            recorded=counts.taken + self._door.events + lost_at_the_door,
            delivered=counts.delivered,
            spooled=counts.spooled,
            spool_rows=self._spool.rows,
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
        _voice.wait(VOICE_WAIT_MAX_S)

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
        _voice.say(logging.DEBUG, "bug", "".join(format_exception(error)))

    def _round(self) -> None:
        """Each step for itself: one that fails does not take the others with it."""
        self._safely(self._take)
        self._safely(self._send)
        self._safely(self._hear_kafka)
        self._safely(self._write_ahead)
        self._safely(self._end_ahead)
        self._safely(self._repay)
        self._safely(self._borrow)
        self._safely(self._keep_house)
        self._safely(self._answer_flushes)

    def _wait(self) -> float:
        if self._stopped():
            return 0
        if self._unsettled or self._on_loan:
            return WAIT_BUSY_S if self._link.up else WAIT_DOWN_S
        return WAIT_BUSY_S if self._stop or (self._link.up and self._spool.rows) else WAIT_IDLE_S

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
                self._inbox.append(self._wrap(message))
            return
        self._door.orders_taken += 1
        if isinstance(item, FlushOrder):
            item.epoch = self._epoch
            self._epoch += 1
            self._flushes.append(item)
        else:
            self._stop = item

    def _write(self, item: UsageEvent | Given) -> Message | None:
        """The bytes on the wire, or None: then the event is counted as refused."""
        try:
            with GATE:  # pydantic's core has locks of its own
                message, changes = to_message(item, new_id=lambda: str(uuid4()))
        except Exception as error:  # noqa: BLE001 - a Refused, or whatever the caller's value does when looked at
            reason = str(error) if isinstance(error, Refused) else f"{type(error).__name__}: {error}"
            self._counts.refused += 1
            why = f"refused: {error.field}" if isinstance(error, Refused) else "refused"
            self._lament("refused", Lost(1), f"a usage event is refused, and lost: {reason}", why)
            return None
        if changes:
            self._counts.changed += 1
            self._complaints.say("changed", f"a usage event is recorded with changes: {'; '.join(changes)}")
        return message

    def _wrap(self, message: Message) -> Parcel:
        self._unsettled[self._epoch] += 1
        return Parcel(message, self._epoch)

    def _send(self) -> None:
        """Empty the inbox: to Kafka where it takes them, else to disk."""
        try:
            if self._link.up:
                self._give_to_kafka()
        except Exception as error:  # noqa: BLE001 - a bug; what is still in the inbox goes to disk
            self._say_bug(error)
        try:
            self._store(self._inbox)
        except Exception as error:  # noqa: BLE001 - a bug
            self._say_bug(error)
            self._drop_all(self._inbox, "costream met a bug of its own")
        self._inbox.clear()

    def _give_to_kafka(self) -> None:
        """What finds no room there stays in the inbox."""
        now = self._monotonic()
        self._watched.extend((now, parcel) for parcel in self._inbox)
        if not self._link.proved:
            self._write_ahead(0.0)
        for _ in range(len(self._inbox)):
            if not self._offer(self._inbox[0]):
                self._inbox.append(self._inbox[0])
            self._inbox.popleft()

    def _offer(self, parcel: Parcel) -> bool:
        """Whether Kafka takes it from here, or has said that it never will."""
        offer = self._link.offer(parcel.message, partial(self._on_answer, parcel))
        if offer is Offer.HOPELESS:
            self._refuse(parcel, "it is too large")
        return offer is not Offer.NO_ROOM

    def _store(self, batch: Sequence[Parcel]) -> None:
        """To disk. Where the disk refuses, Kafka's queue in memory is the last resort; where that is full, lost."""
        for parcel in batch:
            if parcel.ahead is not None:
                self._leave_on_disk(parcel)
        batch = [parcel for parcel in batch if not parcel.settled]
        if not batch:
            return
        try:
            lost = self._spool.write([parcel.message for parcel in batch], self.now())
        except (OSError, sqlite3.Error) as error:
            self._complain_of_disk(error)
            homeless = [parcel for parcel in batch if self._stopped() or not self._offer(parcel)]
            self._drop_all(homeless, "neither Kafka nor the spool takes them")
            return
        self._spool_works = True
        self._counts.spooled += sum(not parcel.message.report_of for parcel in batch)
        for parcel in batch:
            self._settle(parcel)
        self._drop(lost, f"the spool folder is full ({self._settings.spool_bytes_max} bytes)")

    def _leave_on_disk(self, parcel: Parcel) -> None:
        self._ahead_unanswered -= 1
        parcel.ahead = None
        self._counts.spooled += not parcel.message.report_of
        self._settle(parcel)

    def _drop_all(self, parcels: Sequence[Parcel], reason: str) -> None:
        for parcel in parcels:
            self._drop(parcel.message.lost(), reason)
            self._settle(parcel)

    def _settle(self, parcel: Parcel) -> None:
        """It is no longer in memory only: acknowledged, on disk, or given up and counted."""
        if parcel.settled:
            return
        parcel.settled = True
        if parcel.row is not None:
            self._on_loan.discard(parcel.row)
            return
        self._unsettled[parcel.epoch] -= 1
        if not self._unsettled[parcel.epoch]:
            del self._unsettled[parcel.epoch]

    # --- copies on disk of what Kafka has not answered for ----------------------------------------------------------

    def _write_ahead(self, after_s: float = AHEAD_AFTER_S) -> None:
        """Copy to disk what has waited that long for Kafka's answer."""
        now = self._monotonic()
        late: list[Parcel] = []
        while self._watched and (self._watched[0][1].settled or now - self._watched[0][0] >= after_s):
            parcel = self._watched.popleft()[1]
            if not parcel.settled:
                late.append(parcel)
        if not late or now < self._ahead_at:
            return
        try:
            rows = self._spool.write_ahead([parcel.message for parcel in late], self.now())
        except (OSError, sqlite3.Error) as error:
            self._ahead_at = now + AHEAD_AGAIN_S
            self._complain_of_disk(error)
            return
        for parcel, row in zip(late, rows, strict=True):
            parcel.ahead = row
        self._ahead_unanswered += len(late)

    def _end_ahead(self) -> None:
        """Forget the copies that are not needed any more, a batch at a time."""
        all_answered = not self._ahead_unanswered
        if not self._ahead_answered and not all_answered:
            return
        if not all_answered and len(self._ahead_answered) < BATCH_EVENTS_MAX:
            return
        answered, self._ahead_answered = self._ahead_answered, []
        try:
            self._spool.end_ahead(answered, all_answered=all_answered)
        except (OSError, sqlite3.Error) as error:  # they will be sent again, and count once
            self._complain_of_disk(error)

    # --- Kafka's answers ---------------------------------------------------------------------------------------------

    def _hear_kafka(self) -> None:
        self._link.listen()
        waiting = bool(self._unsettled or self._on_loan)
        cut_off = self._link.lost_contact() and self._link.up and waiting and self._spool_works
        if self._link.broken or cut_off:
            self._link.go_down()
            self._link.take_back()
        returned, self._returned = self._returned, []
        if returned:
            self._store(returned)

    def _on_answer(self, parcel: Parcel, error: KafkaError | None, _message: Any) -> None:
        if error is None:
            self._delivered(parcel)
        elif error.code() in HOPELESS:
            self._refuse(parcel, error.str())
        else:
            self._link.blame(error)
            if parcel.row is None:
                self._returned.append(parcel)  # still unsettled: it is written to the spool outside this callback
            else:
                self._settle(parcel)  # it never left the spool

    def _delivered(self, parcel: Parcel) -> None:
        self._counts.delivered += not parcel.message.report_of
        self._done_with(parcel)
        self._link.acknowledged()

    def _refuse(self, parcel: Parcel, reason: str) -> None:
        lost = parcel.message.lost()
        self._counts.refused += lost.events
        self._lament("refused", lost, f"Kafka will never take a usage event, it is lost: {reason}", f"Kafka: {reason}")
        self._done_with(parcel)

    def _done_with(self, parcel: Parcel) -> None:
        if parcel.row is not None:
            self._repaid.append(parcel.row)
        if parcel.ahead is not None:
            self._ahead_unanswered -= 1
            self._ahead_answered.append(parcel.ahead)
            parcel.ahead = None
        self._settle(parcel)

    def _say_down(self, reason: str) -> None:
        self._complaints.say(
            "down",
            f"Kafka at {self._settings.kafka_bootstrap_servers} does not take usage events ({reason});"
            f" they wait in {self._settings.spool_dir} until it does",
        )

    def _say_up(self) -> None:
        _voice.say(logging.INFO, "up", f"Kafka takes usage events again; {self._spool.rows} spooled ones follow")

    # --- the spool, back to Kafka ------------------------------------------------------------------------------------

    def _borrow(self) -> None:
        """Offer spooled messages to Kafka, one batch at a time."""
        if self._borrowing or not self._spool.rows or not self._link.may_try() or self._stopped():
            return
        try:
            batch = self._spool.lend(DRAIN_ROWS_MAX if self._link.up else PROBE_ROWS_MAX)
        except (OSError, sqlite3.Error) as error:
            self._complain_of_disk(error)
            return
        self._borrowing = bool(batch)
        for stored in batch:
            self._on_loan.add(stored.row)
            taken = False
            try:
                taken = self._offer(Parcel(stored.message, row=stored.row))
            finally:  # whatever is raised, nobody will ever answer for it
                if not taken:
                    self._on_loan.discard(stored.row)
            if not taken:
                return

    def _repay(self) -> None:
        """Forget what Kafka has acknowledged, once the whole batch is answered."""
        if not self._borrowing or self._on_loan:
            return
        repaid, self._repaid, self._borrowing = self._repaid, [], False
        try:
            self._spool.settle(repaid)
        except (OSError, sqlite3.Error) as error:  # they will be sent again, and count once
            self._complain_of_disk(error)

    def _complain_of_disk(self, error: Exception) -> None:
        self._spool_works = False
        self._complaints.say("disk", f"the spool folder {self._settings.spool_dir} cannot be used: {error}")

    # --- housekeeping ------------------------------------------------------------------------------------------------

    def _keep_house(self) -> None:
        self._say_overflow()
        self._tend_spool()
        now = self._monotonic()
        if self._drops.events and (now >= self._report_at or (self._stop and not self._last_report)):
            self._report_at = now + INTERVAL_S
            self._last_report = self._stop is not None
            self._inbox.append(self._wrap(self._report()))
            self._send()
        if not self._link.up and not self._spool.rows:
            self._link.assume_up()
        self._complaints.say_what_is_due()

    def _tend_spool(self) -> None:
        now = self._monotonic()
        try:
            if now >= self._adopt_at:
                self._adopt_at = now + ORPHANS_EVERY_S
                if rows := self._spool.adopt():
                    text = f"{rows} usage events left by a process that has ended will be delivered"
                    _voice.say(logging.INFO, "adopted", text)
            if now >= self._expire_at:
                self._expire_at = now + INTERVAL_S
                lost = self._spool.expire(self.now())
                self._drop(lost, f"Kafka was away for longer than {self._settings.spool_age_max}")
        except (OSError, sqlite3.Error) as error:
            self._complain_of_disk(error)

    def _say_overflow(self) -> None:
        new = self._door.overflowed.value - self._overflow_said
        self._overflow_said += new
        reason = f"{self._settings.queue_events_max} wait in memory already"
        self._lament("dropped", Lost(new), f"usage events are lost: {reason}", reason)

    def _drop(self, lost: Lost, reason: str) -> None:
        self._counts.dropped += lost.events
        self._lament("dropped", lost, f"usage events are lost: {reason}", reason)

    def _lament(self, kind: str, lost: Lost, text: str, why: str) -> None:
        if sum(lost):
            self._drops.add(sum(lost), self.now(), why)
        if lost.events:  # what a lost report stood for was said when it was dropped
            self._complaints.say(kind, text, times=lost.events, level=logging.ERROR)

    def _report(self) -> Message:
        dropped = self._drops.events
        report = self._drops.take_report(new_id=lambda: str(uuid4()), client=self._client)
        with GATE:
            return Message(report.request_id.encode(), report.to_json(), report_of=dropped)

    def _answer_flushes(self) -> None:
        for flush in self._flushes:
            if flush.epoch is not None and all(epoch > flush.epoch for epoch in self._unsettled):
                flush.done = True
        self._flushes = [flush for flush in self._flushes if not flush.done]

    # --- the end -----------------------------------------------------------------------------------------------------

    def _stopped(self) -> bool:
        return self._stop is not None and self._monotonic() >= self._stop.deadline

    def _finished(self) -> bool:
        """Whether to stop: asked to, and either nothing is left that Kafka takes, or the time is up."""
        if self._stop is None:
            return False
        unsaid = self._door.overflowed.value > self._overflow_said
        waiting = self._door.queue.qsize() or self._unsettled or unsaid
        return self._stopped() or not (waiting or (self._link.up and self._spool.rows))

    def _wind_up(self) -> None:
        """Everything that is still in memory goes to disk; a step that fails does not take the others with it."""
        self._stop = StopOrder(self._monotonic())
        for step in (
            self._link.take_back,
            self._hear_kafka,
            self._end_ahead,
            self._repay,
            self._store_queue,
            self._store_report,
        ):
            self._safely(step)
        self._answer_flushes()
        self._complaints.say_what_is_due(everything=True)
        self._safely(self._spool.close)

    def _store_queue(self) -> None:
        while self._inbox or self._door.queue.qsize():
            self._take()
            self._send()

    def _store_report(self) -> None:
        self._say_overflow()
        if self._drops.events:
            self._inbox.append(self._wrap(self._report()))
            self._send()
