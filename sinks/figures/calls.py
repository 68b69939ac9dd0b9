"""Single calls, the newest first, and the values that a dimension has."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import polars as pl

from sinks.clickhouse.reader import Reader
from sinks.figures.spans import BadQuestion, Span
from sinks.figures.spend import CALLS, Asked, where

VALUES_TOLD_MAX: Final = 1_000

_COLUMNS: Final = """u.request_id AS request_id, u.occurred_at AS occurred_at, toString(u.provider) AS provider,
  toString(u.model) AS model, toString(u.operation) AS operation, toString(u.feature) AS feature,
  toString(u.task_type) AS task_type, toString(u.team) AS team, toString(u.environment) AS environment,
  u.user_id AS user_id, u.session_id AS session_id, toString(u.status) AS status, u.duration_ms AS duration_ms,
  u.input_tokens AS input_tokens, u.output_tokens AS output_tokens, u.cost_usd AS cost_usd,
  u.cost AS cost, toString(u.cost_status) AS cost_status, toString(u.cost_reason) AS cost_reason,
  toString(u.price_version) AS price_version"""


@dataclass(frozen=True, slots=True)
class Place:
    """The last call of a page: the next page is what comes after it."""

    occurred_at: datetime
    request_id: str

    def text(self) -> str:
        told = json.dumps([round(self.occurred_at.timestamp() * 1000), self.request_id])
        return base64.urlsafe_b64encode(told.encode()).decode().rstrip("=")

    @classmethod
    def of(cls, text: str) -> Place:
        """Raises ``BadQuestion``."""
        try:
            milliseconds, request_id = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
            if not isinstance(milliseconds, int) or not isinstance(request_id, str):
                raise TypeError(text)
            return cls(datetime.fromtimestamp(milliseconds / 1000, UTC), request_id)
        except (ValueError, TypeError, OverflowError, OSError, binascii.Error) as error:
            raise BadQuestion("after: it is not what an earlier answer gave as `next`") from error


def calls(reader: Reader, asked: Asked, *, limit: int, after: Place | None = None) -> pl.DataFrame:
    """Calls of the span, the newest first. ``cost_usd`` and ``cost`` are null where they are not known."""
    conditions, parameters = asked.conditions, asked.parameters | {"limit": limit}
    if after is not None:
        conditions.append(
            "(u.occurred_at, u.request_id) < (fromUnixTimestamp64Milli({at:Int64}, 'UTC'), {after:String})"
        )
        parameters |= {"at": round(after.occurred_at.timestamp() * 1000), "after": after.request_id}
    rows = where(CALLS, conditions)
    sql = f"""
SELECT {_COLUMNS}
FROM {rows}
ORDER BY u.occurred_at DESC, u.request_id DESC LIMIT {{limit:UInt32}}"""
    return reader.frame(sql, **parameters)


def values(reader: Reader, span: Span, column: str) -> Sequence[str]:
    """The values of a column in a span, the dearest first."""
    _, rows = Asked(span, by=(column,)).rows()
    sql = f"""
SELECT toString(u.{column}) AS value FROM {rows}
GROUP BY value ORDER BY sum(u.cost_usd) DESC NULLS LAST, value LIMIT {{limit:UInt32}}"""
    told: list[Any] = reader.frame(sql, **span.parameters, limit=VALUES_TOLD_MAX).get_column("value").to_list()
    return told
