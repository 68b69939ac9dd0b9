"""The contract of the topic ``usage.budgets``: the state of one budget and subject, as it stands there.

The topic is public and compacted: whoever reads it from its beginning knows which limits hold now. A state is keyed by
its budget and its subject, and takes the place of the one before. A limit holds while ``limited`` is true and
``period_end`` has not come. A message without a value says that there is nothing to know any more.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from costream.alerts import Amount
from costream.events import NAME_CHARS_MAX, Moment

SCHEMA_VERSION: Final = 1

FIELDS_MAX: Final = 16  # of the event that a budget may go by; there are nine
ONLY_VALUES_MAX: Final = 100  # of a budget that refuses: they stand in each of its messages

Period = Literal["hour", "day", "month", "session"]
Value = Annotated[str, StringConstraints(max_length=NAME_CHARS_MAX)]


class BudgetState(BaseModel):
    """Whether new calls of one subject may be refused. Fields may be added within a schema version: ignore those you do
    not know."""

    model_config = ConfigDict(frozen=True, title="UsageBudget")

    schema_version: Literal[1] = SCHEMA_VERSION
    budget: str = Field(max_length=64, description="The name of the budget in the rules.")
    subject: dict[str, Value] = Field(
        max_length=FIELDS_MAX,
        description="Whose limit it is: the value of each field of the event by which the budget tells one from "
        "another, such as user_id; empty for everything together.",
    )
    only: dict[str, Annotated[tuple[Value, ...], Field(max_length=ONLY_VALUES_MAX)]] = Field(
        default_factory=dict,
        max_length=FIELDS_MAX,
        description="By a field of the event the values that count; a call with another one is not limited.",
    )
    period: Period
    zone: str = Field(max_length=64, description="By whose clocks the period begins and ends.")
    period_start: Moment | None = Field(description="The first moment of the period; null of a session.")
    period_end: Moment | None = Field(
        description="The first moment after it, at which the limit lifts by itself; null of a session."
    )
    limited: bool = Field(description="Whether new calls may be refused.")
    spent: Amount = Field(description="In the period, when this was decided.")
    amount: Amount = Field(description="What may be spent in the period.")
    limit: Amount = Field(description="From here on new calls may be refused: a share of amount.")
    currency: str = Field(max_length=16, description="Of spent, amount and limit.")
    ratio: Amount = Field(description="spent by amount, cut at 4 digits, at most 1000000.")
    rules_revision: int = Field(ge=0, description="Of the rules that it was decided by; 0: those that are shipped.")
    timestamp: Moment = Field(description="When this was decided.")

    @property
    def key(self) -> bytes:
        """Of its message."""
        return key_of(self.budget, self.subject)

    def holds(self, now: datetime) -> bool:
        """Whether new calls may be refused at this moment."""
        return self.limited and not self.is_over(now)

    def is_over(self, now: datetime) -> bool:
        """Whether its period has ended; a session has no end."""
        return self.period_end is not None and now >= self.period_end

    def to_json(self) -> bytes:
        """The bytes on the topic: UTF-8 JSON, every field present."""
        return self.model_dump_json().encode()

    @classmethod
    def from_json(cls, data: bytes | str) -> Self:
        """Raises ``pydantic.ValidationError``, naming the field, for bytes that are no such state."""
        return cls.model_validate_json(data)


def key_of(budget: str, subject: Mapping[str, str]) -> bytes:
    """JSON: the name of the budget, and its subject with the fields in their order."""
    return json.dumps([budget, dict(sorted(subject.items()))], ensure_ascii=False, separators=(",", ":")).encode()


def json_schema() -> dict[str, Any]:
    """The published JSON Schema (draft 2020-12) of the bytes on ``usage.budgets``."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | BudgetState.model_json_schema(
        mode="serialization"
    )
