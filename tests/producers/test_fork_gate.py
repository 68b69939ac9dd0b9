"""A fork waits for the moments in which its child could never connect, and for no longer than a bound."""

from __future__ import annotations

import threading
import time

from costream.delivery.fork import GATE_WAIT_MAX_S, SETTLE_MAX_S, SETTLED_AFTER_S, Gate

HANDLE = 1


def waited_s(gate: Gate) -> float:
    since = time.monotonic()
    gate.before_fork()
    waited = time.monotonic() - since
    gate.after_fork_in_parent()
    return waited


def test_a_fork_waits_until_a_new_handle_is_answered_and_a_moment_more() -> None:
    gate, answered_at = Gate(), list[float]()

    def answer() -> None:
        answered_at.append(time.monotonic())
        gate.answered(HANDLE)

    gate.settling(HANDLE)
    threading.Timer(0.05, answer).start()
    waited_s(gate)
    assert time.monotonic() - answered_at[0] >= SETTLED_AFTER_S


def test_a_fork_does_not_wait_for_a_handle_that_is_given_up_or_long_without_an_answer() -> None:
    gate = Gate()
    gate.settling(HANDLE)
    gate.settled(HANDLE)
    assert waited_s(gate) < SETTLE_MAX_S
    gate.settling(HANDLE)
    assert waited_s(gate) < GATE_WAIT_MAX_S * 2


def test_a_handle_that_is_made_while_the_fork_waits_for_the_gate_is_waited_for_as_well() -> None:
    gate, settled = Gate(), threading.Event()

    def make_a_handle() -> None:
        with gate:
            made.set()
            gate.settling(HANDLE)
            time.sleep(0.05)
        time.sleep(0.05)
        settled.set()
        gate.settled(HANDLE)

    made = threading.Event()
    maker = threading.Thread(target=make_a_handle)
    maker.start()
    made.wait()
    waited_s(gate)
    assert settled.is_set()
    maker.join()


def test_a_child_waits_for_no_handle_of_its_parent() -> None:
    gate = Gate()
    gate.settling(HANDLE)
    gate.after_fork_in_child()
    assert waited_s(gate) < SETTLE_MAX_S
