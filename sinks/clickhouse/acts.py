"""What people have done about alerts: one is seen to, or nobody is to be told of some for a while."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Final, Literal
from uuid import uuid4

import polars as pl

from sinks.clickhouse.connect import ClickHouseAddress
from sinks.clickhouse.migrate import require_current
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.writer import Writer

ACTS: Final = "alert_acts"
ID_CHARS: Final = 12
NOTE_CHARS_MAX: Final = 1_000

_MOMENT: Final = pl.Datetime("ms", "UTC")
_SHAPE: Final[dict[str, Any]] = {"until": _MOMENT, "at": _MOMENT}

IN_FORCE: Final = """
  SELECT act_id, kind, alert_id, rule, scope, until, acted_by, note, at
  FROM alert_acts WHERE until > {now:DateTime64(3, 'UTC')} ORDER BY at, act_id"""
OF_ALERT: Final = """
  SELECT act_id, kind, alert_id, rule, scope, until, acted_by, note, at
  FROM alert_acts WHERE alert_id = {alert_id:String} ORDER BY at, act_id"""


@dataclass(frozen=True, slots=True)
class Act:
    """``ack``: the alert is seen to, in the revision that it had then. ``silence``: nobody is told of alerts of this
    rule and scope; where one of them is empty, of any. The same ``act_id`` again takes the place of the one before."""

    act_id: str
    kind: Literal["ack", "silence"]
    alert_id: str
    rule: str
    scope: str
    until: datetime
    acted_by: str
    note: str
    at: datetime


def new_act(
    kind: Literal["ack", "silence"],
    *,
    until: datetime,
    acted_by: str,
    at: datetime,
    note: str = "",
    alert_id: str = "",
    rule: str = "",
    scope: str = "",
) -> Act:
    """With an id of its own."""
    return Act(uuid4().hex[:ID_CHARS], kind, alert_id, rule, scope, until, acted_by, note, at)


def store_act(address: ClickHouseAddress, act: Act) -> None:
    """Raises what the writer raises, and where the schema is another one, since nothing may be written then."""
    require_current(address)
    with closing(Writer(address)) as writer:
        writer.insert(ACTS, act_rows([act]))


def act_rows(acts: Sequence[Act]) -> pl.DataFrame:
    names = [one.name for one in fields(Act)]
    rows = [[getattr(act, name) for name in names] for act in acts]
    return pl.DataFrame(rows, schema={name: _SHAPE.get(name, pl.String) for name in names}, orient="row")


def acts_in_force(reader: Reader, *, now: datetime) -> Sequence[Act]:
    """The oldest first."""
    return [Act(**row) for row in reader.frame(IN_FORCE, now=now).iter_rows(named=True)]


def acts_of(reader: Reader, alert_id: str) -> Sequence[Act]:
    """The oldest first."""
    return [Act(**row) for row in reader.frame(OF_ALERT, alert_id=alert_id).iter_rows(named=True)]
