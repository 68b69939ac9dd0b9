"""An outage is waited out, told once when it begins and once when it is over; a bug is not an outage."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from queue import Empty, Queue

import pytest
from prometheus_client import CollectorRegistry, Gauge
from structlog.testing import capture_logs

from sinks.errors import RowCountMismatch, SchemaAhead, SchemaBehind, WarehouseRefused, WarehouseUnavailable
from stream.runtime import patience as patience_module
from stream.runtime.errors import PublishFailed
from stream.runtime.patience import WAIT_SECONDS_FIRST, WAIT_SECONDS_MAX, Patience
from stream.runtime.process import EXIT_TEMPORARY
from stream.runtime.topics import KafkaUnavailable

WAIT_MAX_S = 20.0

OUTAGES = [
    WarehouseUnavailable(where="http://here", reason="connection refused"),
    RowCountMismatch(where="http://here", table="usage_events", sent=2, written=1),
    SchemaBehind(where="http://here", database="costream", missing=["migration 3"]),
    PublishFailed(topic="t", unacknowledged=1, reason="timed out"),
    KafkaUnavailable(bootstrap_servers="here:9092", reason="no broker"),
]


class Waits:
    """The event that a pause waits for: it notes for how long, and at once lets go."""

    def __init__(self, *, stopped_after: int = 1_000) -> None:
        self.seconds: list[float] = []
        self._stopped_after = stopped_after

    def wait(self, seconds: float) -> bool:
        self.seconds.append(seconds)
        return len(self.seconds) >= self._stopped_after


def patient(waits: Waits) -> tuple[Patience, Gauge]:
    stalled = Gauge("stalled", "", registry=CollectorRegistry())
    patience = Patience(stalled, dice=lambda: 1.0)
    patience._stopping = waits  # type: ignore[assignment]  # the clock is an edge
    return patience, stalled


def failing(times: int, error: Exception, seen: list[float], stalled: Gauge) -> Callable[[], str]:
    counter = itertools.count()

    def action() -> str:
        seen.append(stalled._value.get())
        if next(counter) < times:
            raise error
        return "stored"

    return action


@pytest.mark.parametrize("outage", OUTAGES, ids=lambda error: type(error).__name__)
def test_an_outage_is_waited_out_and_said_once(outage: Exception) -> None:
    waits, seen = Waits(), list[float]()
    patience, stalled = patient(waits)
    with capture_logs() as lines:
        assert patience.insist(failing(7, outage, seen, stalled), doing="storing a batch") == "stored"
    assert [line["event"] for line in lines] == ["stalled", "going on"]
    assert (lines[0]["doing"], lines[0]["error"]) == ("storing a batch", str(outage))
    assert seen == [0.0] + [1.0] * 7
    assert stalled._value.get() == 0.0


def test_it_is_stalled_until_the_last_stage_goes_on() -> None:
    patience, stalled = patient(Waits())
    seen: list[float] = []

    def one_stage_while_another_waits() -> None:
        if not seen:
            seen.append(stalled._value.get())
            raise OUTAGES[0]
        patience.insist(failing(1, OUTAGES[0], [], stalled), doing="reading back the alerts")
        seen.append(stalled._value.get())

    patience.insist(one_stage_while_another_waits, doing="storing a batch")
    assert seen == [0.0, 1.0]
    assert stalled._value.get() == 0.0


def test_waits_double_up_to_their_bound() -> None:
    waits = Waits()
    patience, stalled = patient(waits)
    patience.insist(failing(8, OUTAGES[0], [], stalled), doing="storing")
    assert waits.seconds[:3] == [WAIT_SECONDS_FIRST, 2 * WAIT_SECONDS_FIRST, 4 * WAIT_SECONDS_FIRST]
    assert waits.seconds[-2:] == [WAIT_SECONDS_MAX] * 2


def test_without_an_outage_nothing_is_said() -> None:
    patience, stalled = patient(Waits())
    with capture_logs() as lines:
        assert patience.insist(failing(0, OUTAGES[0], [], stalled), doing="storing") == "stored"
    assert lines == []


@pytest.mark.parametrize(
    "error",
    [
        WarehouseRefused(where="here", reason="unknown table", code=60),
        SchemaAhead(where="here", database="costream", unknown=["migration 99"]),
        KeyError("a bug"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_would_fail_again_is_raised(error: Exception) -> None:
    patience, stalled = patient(Waits())
    with pytest.raises(type(error)):
        patience.insist(failing(1, error, [], stalled), doing="storing")


class Ended(BaseException):
    """The process would be over."""


@pytest.fixture
def process_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    def end(status: int) -> None:
        raise Ended(status)

    monkeypatch.setattr(patience_module.os, "_exit", end)


@pytest.mark.usefixtures("process_ends")
def test_told_to_stop_in_an_outage_the_process_ends_as_one_to_be_started_again() -> None:
    patience, stalled = patient(Waits(stopped_after=2))
    with capture_logs() as lines, pytest.raises(Ended) as ended:
        patience.insist(failing(9, OUTAGES[0], [], stalled), doing="storing")
    assert ended.value.args == (EXIT_TEMPORARY,)
    assert lines[-1]["next"] == "what was not stored stays in Kafka"


@pytest.mark.usefixtures("process_ends")
def test_stop_cuts_a_wait_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience_module, "WAIT_SECONDS_FIRST", 600.0)
    patience = Patience(Gauge("stalled", "", registry=CollectorRegistry()))
    tried = threading.Event()

    def fail() -> None:
        tried.set()
        raise OUTAGES[0]

    def insist() -> None:
        try:
            patience.insist(fail, doing="storing")
        except Ended as ended:
            statuses.put(ended.args)

    statuses: Queue[tuple[object, ...]] = Queue()
    threading.Thread(target=insist, daemon=True).start()  # one that is not stopped must not keep the test run waiting
    assert tried.wait(WAIT_MAX_S)
    with pytest.raises(Empty):
        statuses.get(timeout=0.2)
    patience.stop()
    assert statuses.get(timeout=WAIT_MAX_S) == (EXIT_TEMPORARY,)
