"""A worker that fills in the sums of budgets, on a clock of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import cast

from sinks.clickhouse.claims import Claim
from stream.audit.filling import LOOK, LOOKS, TAKEN_OVER_AFTER, Filler
from stream.budgets.budget import Budget
from stream.budgets.counted import Counted
from tests.support.ingest import Warehouse
from tests.support.repriced import Right

UNTIL_FILLED = TAKEN_OVER_AFTER + LOOKS * LOOK


@contextmanager
def right() -> Iterator[Claim]:
    """Nobody else writes corrections here."""
    yield cast(Claim, Right())


class Filling:
    def __init__(self, warehouse: Warehouse, budgets: Sequence[Budget], now: datetime) -> None:
        self.now, self.budgets = now, list(budgets)
        self.filler = Filler(
            reader=warehouse.reader,
            writer=warehouse.writer,
            budgets=lambda: self.budgets,
            retention=None,
            clock=lambda: self.now,
            right=right,
            pause=lambda: None,
        )
        self.filler.follow(1)

    def run(self, span: timedelta = UNTIL_FILLED) -> None:
        until = self.now + span
        while self.now < until:
            self.filler.tick()
            self.now += timedelta(seconds=2)

    @property
    def is_whole(self) -> bool:
        return self.filler.are_whole(Counted.by(self.budgets).control)
