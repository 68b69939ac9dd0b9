"""What was spent, hour by hour: by everything together, or by each subject that some dimensions tell apart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Protocol

import polars as pl

from sinks.clickhouse.vocabulary import DIMENSIONS

SINCE: Final = "u.hour >= toDateTime({since:UInt32}, 'UTC') AND u.hour < toDateTime({until:UInt32}, 'UTC')"
LATELY: Final = "s.hour >= toDateTime({lately:UInt32}, 'UTC') AND s.hour < toDateTime({until:UInt32}, 'UTC')"


class Reader(Protocol):
    """What is needed of ``sinks.clickhouse.reader.Reader``."""

    def frame(self, sql: str, **parameters: Any) -> pl.DataFrame: ...


def hours_of_subjects(
    reader: Reader,
    *,
    since: datetime,
    until: datetime,
    only: Mapping[str, Sequence[str]],
    by: Sequence[str] = (),
    lately: datetime | None = None,
    subjects_max: int = 1,
) -> pl.DataFrame:
    """The hours with calls from ``since`` until before ``until``, oldest first: ``hour``, ``cost_usd`` (null where no
    call has a price), ``calls``, ``unpriced_calls``, and before them the dimensions ``by``.

    ``only``: by a dimension the values that count. Of more subjects than ``subjects_max`` those are told that have cost
    most since ``lately``.
    """
    assert {*by, *only} <= set(DIMENSIONS), "these are the names of columns"
    values = {f"only_{dimension}": list(allowed) for dimension, allowed in only.items()}
    span = {"since": _seconds(since), "until": _seconds(until), "lately": _seconds(lately or since)}
    where = f"{SINCE} AND u.calls > 0{_only('u', only)}"
    told, group = "", "u.hour"
    if by:
        dimensions, mine = ", ".join(f"s.{name}" for name in by), ", ".join(f"u.{name}" for name in by)
        where += f"""
    AND ({mine}) IN (
      SELECT {dimensions} FROM usage_hourly AS s WHERE {LATELY}{_only("s", only)}
      GROUP BY {dimensions} ORDER BY ifNull(sum(s.cost_usd), 0) DESC, {dimensions} LIMIT {{subjects_max:UInt32}})"""  # noqa: S608 - names of ours
        told, group = "".join(f"u.{name} AS {name}, " for name in by), f"u.hour, {mine}"
    sql = f"""
  SELECT {told}u.hour AS hour, sum(u.cost_usd) AS cost_usd, toInt64(sum(u.calls)) AS calls,
    toInt64(sum(u.unpriced_calls)) AS unpriced_calls
  FROM usage_hourly AS u
  WHERE {where}
  GROUP BY {group} ORDER BY hour"""  # noqa: S608 - names of ours
    return reader.frame(sql, **span, **values, subjects_max=subjects_max)


def _only(table: str, dimensions: Iterable[str]) -> str:
    return "".join(f" AND {table}.{name} IN {{only_{name}:Array(String)}}" for name in dimensions)


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())
