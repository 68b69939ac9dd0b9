"""What Kafka says of its log is taken literally: transactions, markers, ends, and records that are gone."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.support.site import Events, Site, broken, lags, now_events, ready
from tests.support.worker import WorkerProcess, group_offsets

pytestmark = pytest.mark.kafka


class Transaction:
    """A transactional producer with one transaction open."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._producer = site.producer(**{"transactional.id": f"{site.prefix}{uuid4()}", "linger.ms": 0})
        self._producer.init_transactions(30)
        self._producer.begin_transaction()

    def publish(self, events: Events, **placed: Any) -> None:
        self._site.publish(self._producer, events, **placed)

    def commit(self) -> None:
        self._producer.commit_transaction(30)

    def abort(self) -> None:
        self._producer.abort_transaction(30)


@pytest.mark.slow
def test_aborted_records_are_never_counted_and_committed_ones_once_whoever_writes_between_them(site: Site) -> None:
    """Batches of 20 records, transactions of 90: each spans many, and two are interleaved with a plain producer."""
    site.create(1)
    kept, gone, plain = now_events(90), now_events(90), now_events(90)
    committed, aborted, outside = Transaction(site), Transaction(site), site.producer()
    for at in range(0, 90, 10):
        some = slice(at, at + 10)
        committed.publish(kept[some])
        aborted.publish(gone[some])
        site.publish(outside, plain[some])
    with site.worker(batch_rows_max=20) as worker:
        worker.until(lambda: lags(worker) == {0: 0}, "nothing can be delivered: the first transaction is open")
        assert site.totals.counted()[0] == 0
        assert "costream_withheld_offsets" in worker.page("/metrics")[1]
        aborted.abort()
        committed.commit()
        worker.until(lambda: site.counts(180), "what was committed is counted")
        late = Transaction(site)
        late.publish(now_events(30))
        late.abort()
        worker.until(lambda: site.acknowledged(1) == 270 + 2 + 30 + 1, "what is no record is passed over")
        assert lags(worker) == {0: 0}
        assert ready(worker)["lag"] == 0
        assert site.totals.counted() == (180, 180, 180, 0, 0)
        assert worker.stop() == 0
    report = site.audited()
    assert broken(report) == {}
    (totals,) = report.partitions
    assert (totals.received, totals.stored, totals.lag) == (180, 180, 0)


@pytest.mark.slow
def test_an_open_transaction_holds_back_what_is_behind_it_and_nothing_before_it(site: Site) -> None:
    site.create(1)
    site.publish(site.producer(), now_events(10))
    still_open = Transaction(site)
    still_open.publish(now_events(5))
    site.publish(site.producer(), now_events(20))
    with site.worker() as worker:
        worker.until(lambda: site.counts(10), "what stands before it is counted")
        worker.until(lambda: lags(worker) == {0: 0}, "nothing else can be delivered")
        assert withheld(worker) == {0: 25}
        assert ready(worker)["ready"]
        still_open.commit()
        worker.until(lambda: site.counts(35), "it is counted once the transaction has ended")
        worker.until(lambda: (lags(worker), withheld(worker)) == ({0: 0}, {0: 0}), "nothing is left")
        assert worker.stop() == 0
    assert broken(site.audited()) == {}


def withheld(worker: WorkerProcess) -> dict[int, int]:
    found = WITHHELD.findall(worker.page("/metrics")[1])
    return {int(partition): int(float(offsets)) for partition, offsets in found}


WITHHELD = re.compile(r'^costream_withheld_offsets\{partition="(\d+)"\} (\S+)$', re.MULTILINE)


@pytest.mark.slow
def test_a_topic_that_ends_with_a_marker_and_silence_is_not_behind_nor_does_it_vanish_with_its_log(site: Site) -> None:
    site.create(1)
    closed = Transaction(site)
    closed.publish(now_events(10))
    closed.commit()
    with site.worker(stall_max=0.2) as worker:
        worker.until(lambda: site.counts(10), "its records are counted")
        worker.until(lambda: site.acknowledged(1) == 11, "the marker is passed over, and committed")
        worker.until(lambda: lags(worker) == {0: 0} and ready(worker)["ready"], "and no lag")
        assert worker.page("/healthz")[0] == 200
        assert worker.stop() == 0
    site.delete_records(0, 11)
    with site.worker() as worker:
        site.publish(site.producer(), now_events(1))
        worker.until(lambda: site.counts(11), "what comes then is counted")
        assert worker.stop() == 0
        assert not worker.log(VANISHED)
    assert broken(site.audited()) == {}


VANISHED = "RECORDS VANISHED BEFORE THEY WERE READ"


def stretches(worker: WorkerProcess) -> list[tuple[int, int]]:
    return [(line["offset_first"], line["offset_last"]) for line in worker.log(VANISHED)]


@pytest.mark.slow
def test_records_that_vanish_while_no_worker_runs_are_said_counted_and_named_ever_after(site: Site) -> None:
    site.create(2)
    producer = site.producer()
    for partition in (0, 1):
        site.publish(producer, now_events(10), partition=partition)
    with site.worker() as worker:
        worker.until(lambda: site.acknowledged(2) >= 20 and worker.log("partitions taken over"), "all are read")
        assert worker.stop() == 0
    read = group_offsets(site.bootstrap_servers, site.group, site.events, 2)[0]
    site.publish(producer, now_events(20), partition=0)
    site.delete_records(0, read + 15)

    with site.worker() as worker:
        worker.until(lambda: vanished(worker) == 15, "the metric tells of them")
        assert stretches(worker) == [(read, read + 14)]
        worker.until(lambda: lags(worker) == {0: 0, 1: 0}, "the rest is stored")
        assert worker.stop() == 0
    check = site.audited().check("vanished")
    assert (check.holds, check.differing) == (False, 1)
    assert check.findings[0].numbers.items() >= {"offset_first": read, "offset_last": read + 14}.items()


def vanished(worker: WorkerProcess) -> int:
    (told,) = re.findall(r"^costream_vanished_records_total (\S+)$", worker.page("/metrics")[1], re.MULTILINE) or ["0"]
    return int(float(told))


@pytest.mark.slow
def test_records_that_vanish_under_a_running_worker_are_noted_before_what_comes_after_is_acknowledged(
    site: Site, tmp_path: Path
) -> None:
    """A flush is held up, and meanwhile most of what waits behind it is deleted."""
    site.create(1)
    hold = tmp_path / "hold"
    with site.worker(batch_rows_max=10, prelude=HELD_UP.format(str(hold))) as worker:
        site.publish(site.producer(), now_events(10))
        worker.until(lambda: site.counts(10), "the first are counted")
        hold.touch()
        site.publish(site.producer(**{"batch.size": 1_000}), now_events(500))
        site.delete_records(0, 400)
        hold.unlink()
        worker.until(lambda: worker.log(VANISHED), "it says so")
        ((first, last),) = stretches(worker)
        assert (10 <= first < 300, last) == (True, 399)
        worker.until(lambda: site.acknowledged(1) == 510, "and goes on")
        assert site.totals.counted()[0] == 510 - (400 - first)
        assert worker.stop() == 0
    assert list(broken(site.audited())) == ["vanished"]


# Each fetch brings a few records, and nothing is stored while a file is there.
HELD_UP = """
import os, time
import stream.consume.faust_app, stream.store.order
stream.consume.faust_app.PARTITION_FETCH_BYTES_MAX = 1_000
save = stream.store.order.Store.save
def held_up(self, flush, *, source):
    while os.path.exists({!r}):
        time.sleep(0.05)
    save(self, flush, source=source)
stream.store.order.Store.save = held_up
"""


@pytest.mark.slow
def test_what_expired_before_a_new_group_came_is_no_loss_of_it(site: Site) -> None:
    site.create(1)
    site.publish(site.producer(), now_events(30))
    site.delete_records(0, 20)
    with site.worker() as worker:
        worker.until(lambda: site.counts(10), "what is left is counted")
        assert [line["offset"] for line in worker.log("reading begins where the log does")] == [20]
        assert not worker.log(VANISHED)
        assert worker.stop() == 0
    assert broken(site.audited()) == {}
