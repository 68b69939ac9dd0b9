"""What the consumer's thread makes of Kafka's words: where a log ends, what of it is withheld, what is refused."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import GroupAuthorizationFailedError
from faust.types import TP

from stream.consume.faust_patches import reading_of
from stream.consume.fetching import ChunkConsumerThread, Consumption
from stream.runtime.patience import Patience
from stream.runtime.telemetry import Telemetry

PLACE = TP("usage.events", 0)


def told_by_broker(*, lso: int | None, highwater: int | None) -> SimpleNamespace:
    """An assignment of one partition, as far as it is looked at."""
    state = SimpleNamespace(lso=lso, highwater=highwater, has_valid_position=True, position=5)
    return SimpleNamespace(state_value={PLACE: state}.get)


@pytest.mark.parametrize(
    ("lso", "highwater", "end", "withheld"),
    [
        (7, 10, 7, 3),  # behind a transaction that is still open
        (10, 10, 10, 0),
        (0, 10, 0, 10),  # the transaction was the first in the log
        (-1, 10, 10, 0),  # a broker that knows no transactions
        (None, 10, 10, 0),
        (None, None, None, 0),  # nothing was fetched yet
        (12, 10, 12, 0),  # the two answers are of different moments
    ],
)
def test_a_log_ends_before_the_first_open_transaction_and_the_rest_is_withheld(
    lso: int | None, highwater: int | None, end: int | None, withheld: int
) -> None:
    reading = reading_of(told_by_broker(lso=lso, highwater=highwater), PLACE, (3, 4))
    assert (reading.end, reading.withheld) == (end, withheld)
    assert (reading.position, reading.handed) == (5, (3, 4))


class Group:
    """A group that this member is in, and whose coordinator refuses nothing; commits are answered as the test says."""

    def __init__(self) -> None:
        self.refuses_commits = True
        self._coordinator = SimpleNamespace(check_errors=lambda: None, need_rejoin=lambda subscription: False)
        self._subscription = SimpleNamespace(subscription=SimpleNamespace(assignment=None), fetch_context=nullcontext)

    async def commit(self, commits: Any) -> None:
        if self.refuses_commits:
            raise GroupAuthorizationFailedError("costream")


class Thread(ChunkConsumerThread):
    """The consumer's thread without Faust around it."""

    def __init__(self, group: Group, patience: Patience) -> None:
        self.app = SimpleNamespace(conf=SimpleNamespace(id="costream"))
        self.consumption = Consumption(patience, "127.0.0.1:9092")
        self.tp_last_committed_at = {}
        self._held, self._commit_refused = None, False
        self._group = patience.outage("taking part in the consumer group")
        self._fake = group

    def running_consumer(self) -> Any:
        return self._fake

    def assignment(self) -> set[TP]:
        return {TP("usage.events", 0)}


async def test_a_commit_that_is_refused_stays_a_refusal_until_one_goes_through() -> None:
    """The group itself may refuse nothing yet: a worker must not look ready again in between."""
    patience, group = Patience(Telemetry().stalled), Group()
    thread = Thread(group, patience)
    assert not await thread.commit_offsets({TP("usage.events", 0): 5})
    (said,) = patience.refusals
    assert "Read on group costream" in said
    thread._look_at_group(group)
    assert patience.refusals == [said]
    group.refuses_commits = False
    assert await thread.commit_offsets({TP("usage.events", 0): 5})
    thread._look_at_group(group)
    assert patience.refusals == []
