"""The background thread that brings events to Kafka, or to the spool while Kafka is away.

    record() ─▶ queue ─▶ [up]   Kafka ─▶ acknowledged
                         [down] spool ─▶ Kafka, once it acknowledges again

Everything that takes time (JSON, the network, the disk, a log handler) happens here and never in the caller's thread:
writing one event as JSON takes 6 us in a loop, but 40 us in a service that did something else in between. The link
is *up* until a message fails or no broker can be reached; then what Kafka has not acknowledged goes to the spool, and
so does everything new. While it is *down*, some spooled messages are always on offer to Kafka; the first one it
acknowledges means that it is back. What it had written without saying so comes again under the same request_id, and
counts once.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Final
from uuid import uuid4

from confluent_kafka import KafkaError

from costream._complaints import INTERVAL_S, Complaints
from costream._drops import Drops
from costream._lifetime import arrange_worker_exit
from costream._link import HOPELESS, Connect, Link, Offer
from costream._parcel import Counts, Flush, Parcel, ProducerStats, Stop
from costream._settings import Settings
from costream._spool import Lost, Message, Spool
from costream.events import UsageEvent

log = logging.getLogger("costream")

BATCH_EVENTS_MAX: Final = 500  # taken at once: one spool transaction, and a few milliseconds of work
PROBE_ROWS_MAX: Final = 100  # on offer to a Kafka that is away; enough to notice that it is back
DRAIN_ROWS_MAX: Final = 1_000  # spooled messages on their way at once, so that new ones find room beside them
GATHER_S: Final = 0.01  # between two looks at the queue while events keep coming
LULL_S: Final = 1.0  # without an event, until it waits at the queue again
WAIT_BUSY_S: Final = 0.02  # between looks at Kafka's answers while some are due
WAIT_DOWN_S: Final = 0.1  # and while they are due from a Kafka that is away
WAIT_IDLE_S: Final = 1.0
ORPHANS_EVERY_S: Final = 30.0
JOIN_EXTRA_S: Final = 1.0  # for the spool, which is written after the deadline; a stalled disk is not waited for


class _Unwritable(Exception):
    """An event that JSON cannot hold; it is counted already."""


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
        self._complaints = Complaints(log, monotonic)
        # SimpleQueue.put is reentrant: a signal handler or a destructor may record an event at any point.
        self._queue: SimpleQueue[UsageEvent | Flush | Stop] = SimpleQueue()
        self._lock = threading.RLock()
        self._hurry = threading.Event()
        self._orders = 0  # flushes and stops in the queue
        self._overflowed = 0  # events that found no room; the background thread counts and reports them
        self._thread: threading.Thread | None = None

        # Below: the background thread's own.
        self._link = Link(
            settings, connect=connect, headers=headers, monotonic=monotonic, on_down=self._say_down, on_up=self._say_up
        )
        self._spool = Spool(settings)
        self._spool_works = True
        self._epoch = 0
        self._unsettled: Counter[int] = Counter()  # messages in memory, by epoch
        self._flushes: list[Flush] = []
        self._returned: list[Parcel] = []
        self._borrowing = False
        self._on_loan: set[int] = set()
        self._repaid: list[int] = []
        self._drops = Drops()
        self._report_at = 0.0
        self._last_report = False
        self._adopt_at = 0.0
        self._expire_at = 0.0
        self._stop: Stop | None = None
        self._lull_at = 0.0

    # --- the callers' side -------------------------------------------------------------------------------------------

    def post(self, event: UsageEvent) -> None:
        """Take one event. It waits for nothing; where there is no room the event is dropped and counted."""
        if self._queue.qsize() >= self._settings.queue_events_max:
            with self._lock:
                self._overflowed += 1
            return
        self._queue.put(event)
        if self._thread is None:
            self.start()

    def come_too_late(self) -> None:
        """An event recorded after the close, when nobody is left to deliver it."""
        with self._lock:
            self._counts.taken += 1
            self._counts.dropped += 1
        self._complaints.say("late", "usage events are lost: they were recorded after the producer was closed")

    def start(self) -> None:
        with self._lock:
            if self._thread is not None:
                return
            thread = threading.Thread(target=self._run, name="costream", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the interpreter is going down, or there are too many threads: the next call tries
                return
            self._thread = thread
        arrange_worker_exit()

    def flush(self, timeout: float) -> int:
        """Wait until all posted so far is acknowledged or on disk; returns how much of it is neither."""
        flush = Flush()
        self._put_order(flush)
        self.start()
        if flush.done.wait(timeout):
            return 0
        if flush.epoch is None:
            return self._in_memory()
        return sum(count for epoch, count in list(self._unsettled.items()) if epoch <= flush.epoch)

    def _put_order(self, order: Flush | Stop) -> None:
        with self._lock:
            self._orders += 1
            self._queue.put(order)
        self._hurry.set()

    def _queued(self) -> int:
        """Events in the queue; the orders among them are none."""
        return max(0, self._queue.qsize() - self._orders)

    def _in_memory(self) -> int:
        return self._queued() + sum(list(self._unsettled.values()))

    def stats(self) -> ProducerStats:
        with self._lock:  # the background thread moves what overflowed into the counts under it
            counts, overflowed = self._counts, self._overflowed
            return ProducerStats(
                recorded=counts.taken + self._queued() + overflowed,
                delivered=counts.delivered,
                spooled=counts.spooled,
                spool_rows=self._spool.rows,
                queued=self._in_memory(),
                dropped=counts.dropped + overflowed,
                refused=counts.refused,
            )

    def close(self, timeout: float) -> None:
        """Deliver for at most ``timeout`` seconds, then spool the rest and end the thread."""
        self._put_order(Stop(self._monotonic() + timeout))
        self.start()
        if self._thread is None:  # no thread can be started any more, so the work is done here
            self._run()
            return
        self._thread.join(timeout + JOIN_EXTRA_S)
        if not self._thread.is_alive() and self._queue.qsize():  # recorded while the thread ended
            self._safely(self._wind_up)

    # --- the background thread ---------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._finished():
            self._safely(self._round)
        self._safely(self._wind_up)

    def _safely(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # a bug in here must neither reach the host nor end the delivery
            self._complaints.say("bug", f"costream met a bug of its own: {error!r}", level=logging.ERROR)
            log.debug("the bug in detail", exc_info=True)

    def _round(self) -> None:
        self._send(self._take(self._wait()))
        self._hear_kafka()
        self._repay()
        self._borrow()
        self._keep_house()
        self._answer_flushes()

    def _wait(self) -> float:
        if self._unsettled or self._on_loan:
            return WAIT_BUSY_S if self._link.up else WAIT_DOWN_S
        return WAIT_BUSY_S if self._stop or (self._link.up and self._spool.rows) else WAIT_IDLE_S

    def _take(self, wait: float) -> list[Parcel]:
        """What has come, or comes within ``wait`` seconds.

        While events keep coming it sleeps and looks instead of waiting at the queue: waking a waiting thread is the
        caller's work and would be most of what ``record()`` costs.
        """
        batch: list[Parcel] = []
        if self._monotonic() < self._lull_at:
            self._hurry.wait(GATHER_S)
            wait = 0
        self._hurry.clear()
        with suppress(Empty):
            self._sort_in(self._queue.get(timeout=wait), batch)
            while len(batch) < BATCH_EVENTS_MAX:
                self._sort_in(self._queue.get_nowait(), batch)
            self._hurry.set()  # there may be more
        if batch:
            self._lull_at = self._monotonic() + LULL_S
        return batch

    def _sort_in(self, item: UsageEvent | Flush | Stop, batch: list[Parcel]) -> None:
        if isinstance(item, UsageEvent):
            self._counts.taken += 1
            with suppress(_Unwritable):
                batch.append(self._wrap(self._write(item)))
            return
        with self._lock:
            self._orders -= 1
        if isinstance(item, Flush):
            item.epoch = self._epoch
            self._epoch += 1
            self._flushes.append(item)
        else:
            self._stop = item

    def _write(self, event: UsageEvent) -> Message:
        try:
            return Message(event.request_id.encode(), event.to_json())
        except Exception as error:  # whatever an event is that was built without validation
            self._counts.refused += 1
            text = f"a usage event cannot be written as JSON, it is lost: {type(error).__name__}: {error}"
            self._lament("refused", Lost(1), text)
            raise _Unwritable from error

    def _wrap(self, message: Message) -> Parcel:
        self._unsettled[self._epoch] += 1
        return Parcel(message, self._epoch)

    def _send(self, batch: Sequence[Parcel]) -> None:
        left = [parcel for parcel in batch if not self._offer(parcel)] if self._link.up else batch
        if left:
            self._store(left)

    def _offer(self, parcel: Parcel) -> bool:
        """Whether Kafka takes it from here, or has said that it never will."""
        offer = self._link.offer(parcel.message, partial(self._on_answer, parcel))
        if offer is Offer.HOPELESS:
            self._refuse(parcel, "it is too large")
        return offer is not Offer.NO_ROOM

    def _store(self, batch: Sequence[Parcel]) -> None:
        """To disk. Where the disk refuses, Kafka's queue in memory is the last resort; where that is full, lost."""
        try:
            lost = self._spool.write([parcel.message for parcel in batch], self._clock())
        except (OSError, sqlite3.Error) as error:
            self._complain_of_disk(error)
            for parcel in batch:
                if self._stopped() or not self._offer(parcel):
                    self._drop(parcel.message.lost(), "neither Kafka nor the spool takes them")
                    self._settle(parcel)
            return
        self._spool_works = True
        self._counts.spooled += sum(not parcel.message.report_of for parcel in batch)
        for parcel in batch:
            self._settle(parcel)
        self._drop(lost, f"the spool folder is full ({self._settings.spool_bytes_max} bytes)")

    def _settle(self, parcel: Parcel) -> None:
        """It is no longer in memory only: acknowledged, on disk, or given up and counted."""
        if parcel.row is not None:
            self._on_loan.discard(parcel.row)
            return
        self._unsettled[parcel.epoch] -= 1
        if not self._unsettled[parcel.epoch]:
            del self._unsettled[parcel.epoch]

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
        self._lament("refused", lost, f"Kafka will never take a usage event, it is lost: {reason}")
        self._done_with(parcel)

    def _done_with(self, parcel: Parcel) -> None:
        if parcel.row is not None:
            self._repaid.append(parcel.row)
        self._settle(parcel)

    def _say_down(self, reason: str) -> None:
        self._complaints.say(
            "down",
            f"Kafka at {self._settings.kafka_bootstrap_servers} does not take usage events ({reason});"
            f" they wait in {self._settings.spool_dir} until it does",
        )

    def _say_up(self) -> None:
        log.info("Kafka takes usage events again; %d spooled ones follow", self._spool.rows)

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
            if not self._offer(Parcel(stored.message, row=stored.row)):
                self._on_loan.discard(stored.row)
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
        self._count_overflow()
        self._tend_spool()
        now = self._monotonic()
        if self._drops.events and (now >= self._report_at or (self._stop and not self._last_report)):
            self._report_at = now + INTERVAL_S
            self._last_report = self._stop is not None
            self._send([self._wrap(self._report())])
        if not self._link.up and not self._spool.rows:
            self._link.assume_up()
        self._complaints.say_what_is_due()

    def _tend_spool(self) -> None:
        now = self._monotonic()
        try:
            if now >= self._adopt_at:
                self._adopt_at = now + ORPHANS_EVERY_S
                if rows := self._spool.adopt():
                    log.info("%d usage events left by a process that has ended will be delivered", rows)
            if now >= self._expire_at:
                self._expire_at = now + INTERVAL_S
                lost = self._spool.expire(self._clock())
                self._drop(lost, f"Kafka was away for longer than {self._settings.spool_age_max}")
        except (OSError, sqlite3.Error) as error:
            self._complain_of_disk(error)

    def _count_overflow(self) -> None:
        with self._lock:
            overflowed, self._overflowed = self._overflowed, 0
            self._counts.taken += overflowed
            self._counts.dropped += overflowed
        text = f"usage events are lost: {self._settings.queue_events_max} wait in memory already"
        self._lament("dropped", Lost(overflowed), text)

    def _drop(self, lost: Lost, reason: str) -> None:
        self._counts.dropped += lost.events
        self._lament("dropped", lost, f"usage events are lost: {reason}")

    def _lament(self, kind: str, lost: Lost, text: str) -> None:
        if sum(lost):
            self._drops.add(sum(lost), self._clock())
        if lost.events:  # what a lost report stood for was said when it was dropped
            self._complaints.say(kind, text, times=lost.events, level=logging.ERROR)

    def _report(self) -> Message:
        dropped = self._drops.events
        report = self._drops.take_report(new_id=lambda: str(uuid4()), client=self._client)
        return Message(report.request_id.encode(), report.to_json(), report_of=dropped)

    def _answer_flushes(self) -> None:
        for flush in self._flushes:
            if flush.epoch is not None and all(epoch > flush.epoch for epoch in self._unsettled):
                flush.done.set()
        self._flushes = [flush for flush in self._flushes if not flush.done.is_set()]

    # --- the end -----------------------------------------------------------------------------------------------------

    def _stopped(self) -> bool:
        return self._stop is not None and self._monotonic() >= self._stop.deadline

    def _finished(self) -> bool:
        """Whether to stop: asked to, and either nothing is left that Kafka takes, or the time is up."""
        if self._stop is None:
            return False
        waiting = self._queue.qsize() or self._unsettled or self._overflowed
        return self._stopped() or not (waiting or (self._link.up and self._spool.rows))

    def _wind_up(self) -> None:
        """Everything that is still in memory goes to disk; a step that fails does not take the others with it."""
        self._stop = Stop(self._monotonic())
        for step in (self._link.take_back, self._hear_kafka, self._repay, self._store_queue, self._store_report):
            self._safely(step)
        self._answer_flushes()
        self._complaints.say_what_is_due(everything=True)
        self._safely(self._spool.close)

    def _store_queue(self) -> None:
        while self._queue.qsize():
            if batch := self._take(0):
                self._store(batch)

    def _store_report(self) -> None:
        self._count_overflow()
        if self._drops.events:
            self._store([self._wrap(self._report())])
