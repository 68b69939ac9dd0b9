"""Many ask, and the warehouse is asked once: answers are kept while nothing new is stored, and for a moment in any
case."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import polars as pl
import pytest

from sinks.errors import WarehouseUnavailable
from sinks.figures import answers as module
from sinks.figures.answers import (
    ANSWERS_MAX,
    AT_ONCE,
    KEPT_SECONDS,
    KEPT_SECONDS_MAX,
    KEPT_TIMES,
    RELAXED_SECONDS,
    Answers,
)


class Warehouse:
    """Stands for a reader: tells the pulse, counts questions, and takes as long as it is told."""

    def __init__(self) -> None:
        self.pulse, self.now, self.seconds = "1", 1_000.0, 0.0
        self.questions = 0
        self.gate = threading.Event()
        self.gate.set()
        self.under_way, self.most = 0, 0
        self.lock = threading.Lock()
        self.fault: Exception | None = None

    def frame(self, sql: str, **_: Any) -> pl.DataFrame:
        return pl.DataFrame({"pulse": [self.pulse]})

    def monotonic(self) -> float:
        return self.now

    def ask(self, _: Any) -> int:
        with self.lock:
            self.questions += 1
            self.under_way += 1
            self.most = max(self.most, self.under_way)
        assert self.gate.wait(10)
        self.now += self.seconds
        with self.lock:
            self.under_way -= 1
        if self.fault:
            raise self.fault
        return self.questions


@pytest.fixture
def warehouse() -> Warehouse:
    return Warehouse()


@pytest.fixture
def answers(warehouse: Warehouse) -> Answers:
    return Answers(warehouse, monotonic=warehouse.monotonic)  # type: ignore[arg-type]  # it stands for a reader


async def test_who_asks_while_the_same_is_under_way_waits_for_its_answer(
    warehouse: Warehouse, answers: Answers
) -> None:
    warehouse.gate.clear()
    asking = [asyncio.create_task(answers.get("a", warehouse.ask)) for _ in range(100)]
    await asyncio.sleep(0.05)
    warehouse.gate.set()
    assert await asyncio.gather(*asking) == [1] * 100
    assert warehouse.questions == 1


async def test_an_answer_is_kept_while_nothing_new_is_stored_half_a_minute_at_the_most(
    warehouse: Warehouse, answers: Answers
) -> None:
    assert await answers.get("a", warehouse.ask) == 1
    warehouse.now += KEPT_SECONDS_MAX - 0.1
    assert await answers.get("a", warehouse.ask) == 1
    warehouse.now += 0.1
    assert await answers.get("a", warehouse.ask) == 2


async def test_what_is_new_is_told_after_two_seconds_and_not_before(warehouse: Warehouse, answers: Answers) -> None:
    assert await answers.get("a", warehouse.ask) == 1
    warehouse.pulse = "2"
    warehouse.now += KEPT_SECONDS - 0.1
    assert await answers.get("a", warehouse.ask) == 1
    warehouse.now += 0.1
    assert await answers.get("a", warehouse.ask) == 2


async def test_what_took_long_is_kept_for_longer(warehouse: Warehouse, answers: Answers) -> None:
    warehouse.seconds = 2.0
    assert await answers.get("a", warehouse.ask) == 1
    began = warehouse.now - 2.0
    for turn in range(3):
        warehouse.pulse = f"new {turn}"
        warehouse.now = began + 2.0 * KEPT_TIMES * (turn + 1) / 3 - 0.1
        assert await answers.get("a", warehouse.ask) == 1
    warehouse.now += 0.1
    assert await answers.get("a", warehouse.ask) == 2


async def test_what_is_not_watched_second_by_second_may_be_a_little_older(
    warehouse: Warehouse, answers: Answers
) -> None:
    assert await answers.get("a", warehouse.ask, relaxed=True) == 1
    warehouse.pulse = "2"
    warehouse.now += RELAXED_SECONDS - 0.1
    assert await answers.get("a", warehouse.ask, relaxed=True) == 1
    warehouse.now += 0.1
    assert await answers.get("a", warehouse.ask, relaxed=True) == 2
    warehouse.pulse = "3"
    warehouse.now += KEPT_SECONDS
    assert await answers.get("a", warehouse.ask) == 3, "who watches it is told"


async def test_nothing_is_kept_for_more_than_half_a_minute_however_long_it_took(
    warehouse: Warehouse, answers: Answers
) -> None:
    warehouse.seconds = 10.0
    assert await answers.get("a", warehouse.ask) == 1
    warehouse.pulse = "2"
    warehouse.now += KEPT_SECONDS_MAX - 10.1
    assert await answers.get("a", warehouse.ask) == 1
    warehouse.now += 0.1
    assert await answers.get("a", warehouse.ask) == 2


async def test_each_question_has_an_answer_of_its_own(warehouse: Warehouse, answers: Answers) -> None:
    assert await answers.get("a", warehouse.ask) == 1
    assert await answers.get("b", warehouse.ask) == 2
    assert await answers.get("a", warehouse.ask) == 1


async def test_few_questions_are_under_way_at_once(warehouse: Warehouse, answers: Answers) -> None:
    await answers.pulse()
    warehouse.gate.clear()
    asking = [asyncio.create_task(answers.get(name, warehouse.ask)) for name in "abcdefgh"]
    await asyncio.sleep(0.1)
    warehouse.gate.set()
    await asyncio.gather(*asking)
    assert warehouse.most == AT_ONCE


async def test_a_fault_is_told_to_all_who_wait_and_kept_for_nobody(warehouse: Warehouse, answers: Answers) -> None:
    warehouse.fault = WarehouseUnavailable(where="here", reason="it is away")
    asked = await asyncio.gather(*(answers.get("a", warehouse.ask) for _ in range(3)), return_exceptions=True)
    assert [type(each) for each in asked] == [WarehouseUnavailable] * 3
    assert warehouse.questions == 1
    warehouse.fault = None
    assert await answers.get("a", warehouse.ask) == 2


async def test_who_goes_away_takes_the_answer_from_nobody(warehouse: Warehouse, answers: Answers) -> None:
    await answers.pulse()
    warehouse.gate.clear()
    first, second = (asyncio.create_task(answers.get("a", warehouse.ask)) for _ in range(2))
    await asyncio.sleep(0.05)
    first.cancel()
    warehouse.gate.set()
    assert await second == 1


async def test_so_many_answers_are_kept_and_no_more(
    warehouse: Warehouse, answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(ANSWERS_MAX + 5):
        await answers.get(number, warehouse.ask)
    assert len(answers) == ANSWERS_MAX
    monkeypatch.setattr(module, "ROWS_MAX", 10)
    await answers.get("large", lambda _: pl.DataFrame({"a": range(9)}))
    await answers.get("larger", lambda _: pl.DataFrame({"a": range(11)}))
    assert len(answers) == 1
    asked = warehouse.questions
    await answers.get("larger", warehouse.ask)
    assert warehouse.questions == asked, "the last one is kept, however large it is"
