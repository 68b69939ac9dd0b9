"""Nothing is published out of turn, and no turn ends in the middle of a publication."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence

import pytest

from costream.alerts import Alert
from stream.runtime.patience import Patience
from stream.runtime.telemetry import Telemetry
from stream.watch.turn import InTurn, OutOfTurn, Publish, Turn
from tests.producers.test_alert import alert

WAIT_MAX_S = 20.0


def begun() -> tuple[Turn, int]:
    turn = Turn()
    turn.begin()
    assert turn.number is not None
    return turn, turn.number


def test_in_its_turn_a_worker_publishes() -> None:
    turn, number = begun()
    with turn.publishing(number):
        assert turn.number == number


def test_what_was_judged_in_a_turn_that_is_over_is_not_published() -> None:
    turn, number = begun()
    turn.end()
    with pytest.raises(OutOfTurn, match="its next holder judges anew"), turn.publishing(number):
        pytest.fail("published out of turn")


def test_a_partition_that_went_and_came_back_is_a_new_turn() -> None:
    turn, number = begun()
    turn.end()
    turn.begin()
    assert turn.number not in (None, number)
    with pytest.raises(OutOfTurn), turn.publishing(number):
        pytest.fail("another worker may have judged in between")


def test_a_turn_ends_only_after_what_is_being_published() -> None:
    turn, number = begun()
    ended = threading.Event()
    leaving = threading.Thread(target=lambda: (turn.end(), ended.set()))
    with turn.publishing(number):
        leaving.start()
        while turn.number is not None:  # until the end has begun
            pass
        assert not ended.is_set()
    assert ended.wait(WAIT_MAX_S)
    leaving.join(WAIT_MAX_S)


class Judge:
    """Publishes one alert a tick, and notes with what each of its turns began."""

    def __init__(self, publish: Publish) -> None:
        self.began_with: list[list[Alert]] = []
        self.publish = publish

    def restore(self, published: Iterable[Alert]) -> None:
        self.began_with.append(list(published))

    def tick(self) -> Sequence[Alert]:
        self.publish([alert()])
        return [alert()]


def test_a_judge_begins_each_turn_with_what_is_published_and_judges_in_none_of_another_worker() -> None:
    turn = Turn()
    published: list[Alert] = []
    patience = Patience(Telemetry().stalled)
    judging = InTurn(
        turn, Judge, publish=published.extend, published=lambda: list(published), patience=patience, doing="reading"
    )
    assert not judging.tick()
    assert published == judging.part.began_with == []
    turn.begin()
    assert (len(judging.tick()), len(judging.tick())) == (1, 1)
    turn.end()
    assert not judging.tick()
    with pytest.raises(OutOfTurn):
        judging.part.publish([alert()])
    turn.begin()
    judging.tick()
    assert [len(known) for known in judging.part.began_with] == [0, 2]
    assert len(published) == 3
