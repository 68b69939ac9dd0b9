"""The topic ``usage.budgets``: which limits hold, for clients to read, and for whoever judges next to go on from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from costream.budgets import BudgetState
from costream.reasons import first_fault
from costream.topics import BUDGETS
from stream.budgets.limits import News
from stream.runtime.settings import Settings
from stream.store.flush import Outgoing
from stream.store.outbox import Outbox
from stream.watch.topic_feed import feed


def publish_states(outbox: Outbox, topic: str, news: Sequence[News]) -> None:
    """Publish states and what ends them; returns once Kafka has them."""
    outbox.publish(topic, (Outgoing(key, state.to_json() if state else None, []) for key, state in news))


@dataclass(frozen=True, slots=True)
class PublishedStates:
    """The states on the topic by their keys, and how many records are somebody else's, with why of the first."""

    states: Mapping[bytes, BudgetState]
    strange: int = 0
    reason: str = ""


def published_states(settings: Settings) -> PublishedStates:
    """Read the topic whole: it is compacted. What no worker of ours can have written is passed over.

    Raises ``KafkaUnavailable``, ``TopicMissing`` or ``RightMissing`` if it cannot be read.
    """
    states, strange, first = dict[bytes, BudgetState](), 0, ""
    for found in feed(settings, BUDGETS, starts={}, follow=False):
        if found.value is None:
            states.pop(found.key or b"", None)
            continue
        state = _read(found.key, found.value)
        if isinstance(state, BudgetState):
            states[state.key] = state
        else:
            strange, first = strange + 1, first or state
    return PublishedStates(states, strange, first)


def _read(key: bytes | None, value: bytes) -> BudgetState | str:
    """Or why it is none."""
    try:
        state = BudgetState.from_json(value)
    except ValidationError as error:
        return first_fault(error)
    return state if state.key == key else "key: it is not that of its budget and subject"
