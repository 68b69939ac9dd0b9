"""What re-pricings say they changed, against the calls: kept like a ledger, each re-pricing an account of its own.

Every call that a re-pricing has changed carries its number. So the calls that carry a number are those that its
adjustments took in, less those that later ones took over, and so is their cost, to the last digit.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, time
from typing import Any, Final

import polars as pl

from sinks.clickhouse import repricings as stored
from sinks.clickhouse.ledger import REMOVED
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.repricings import Repricing
from sinks.clickhouse.writer import Writer
from stream.audit.ground import Ground
from stream.audit.report import FINDINGS_MAX, Check, Finding

# Calls may be missing, which other checks say; there is never one too many, and where all are there the cost is right.
UNTOLD: Final = f"""
SELECT repricing, hour, provider, model, feature, toInt64(count() OVER ()) AS differing,
  calls, calls_told, cost_usd, cost_usd_told
FROM (
  SELECT repricing, hour, provider, model, feature,
    toInt64(sumIf(n, is_call)) AS calls, toInt64(sumIf(n, NOT is_call)) AS calls_told,
    sumIf(usd, is_call) AS cost_usd, sumIf(usd, NOT is_call) AS cost_usd_told
  FROM (
    SELECT price_rev AS repricing, toStartOfHour(occurred_at) AS hour, provider, model, feature,
      true AS is_call, toInt64(count()) AS n, toDecimal128(ifNull(sum(cost_usd), 0), 12) AS usd
    FROM usage_events_rows FINAL
    WHERE price_rev > 0 AND occurred_at >= {{start:Date}} AND (source, source_partition, source_offset) NOT IN {REMOVED}
    GROUP BY ALL
    UNION ALL
    SELECT repricing, hour, provider, model, feature, false, toInt64(calls), a.cost_usd
    FROM cost_adjustments_rows AS a FINAL
    WHERE state IN ('planned', 'applied') AND hour >= {{start:Date}}
    UNION ALL
    SELECT price_rev_before, hour, provider, model, feature, false, -toInt64(calls), -a.cost_usd_before
    FROM cost_adjustments_rows AS a FINAL
    WHERE state = 'applied' AND price_rev_before > 0 AND hour >= {{start:Date}})
  GROUP BY ALL)
WHERE calls > calls_told OR (calls = calls_told AND cost_usd != cost_usd_told)
ORDER BY repricing, hour, provider, model, feature
LIMIT {{limit:UInt32}}"""  # noqa: S608 - written here
# In one column that is nearly always 0: where nothing was ever priced anew, nothing more is read.
TOUCHED: Final = "SELECT toInt64(count()) FROM usage_events_rows WHERE price_rev > 0 AND occurred_at >= {start:Date}"
COMPARED: Final = """
SELECT toInt64(count()) FROM cost_adjustments_rows FINAL WHERE state = 'applied' AND hour >= {start:Date}"""


def adjustments_check(reader: Reader, on: Ground) -> Check:
    touched = reader.frame(TOUCHED, start=on.start).item()
    rows = reader.frame(UNTOLD, start=on.start, limit=FINDINGS_MAX).to_dicts() if touched else []
    return Check(
        name="adjustments",
        question="what a re-pricing changed is what cost_adjustments says, by hour, provider, model and feature",
        compared=int(reader.frame(COMPARED, start=on.start).item()),
        differing=rows[0]["differing"] if rows else 0,
        findings=tuple(map(_finding, rows)),
    )


def _finding(row: dict[str, Any]) -> Finding:
    return Finding(
        where={name: row[name] for name in ("repricing", "hour", "provider", "model", "feature")},
        rule="the calls that carry a re-pricing's number, and their cost, are what its adjustments tell",
        numbers={name: row[name] for name in ("calls", "calls_told", "cost_usd", "cost_usd_told")},
    )


def unsettled(reader: Reader, on: Ground) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The adjustments that are not said to be applied: those whose calls are changed all the same, and those that were
    planned and came to nothing."""
    left = stored.open_adjustments(reader, since=datetime.combine(on.start, time.min, UTC))
    standing = stored.standing(reader, left)
    void = left.join(standing, on=stored.PLACE, how="anti").filter(pl.col("state") == stored.PLANNED)
    return standing, void


def settle(
    reader: Reader,
    writer: Writer,
    on: Ground,
    *,
    clock: Callable[[], datetime],
    before_each: Callable[[], None] = lambda: None,
) -> tuple[Repricing, ...]:
    """Say of what broke off how far it came. Only who has the right to write corrections may: then nothing is under
    way. Do it once the rollups are right: should this break off as well, the next one finds the same to do. Returns
    the runs that had broken off."""
    standing, void = unsettled(reader, on)
    for rows, state in ((standing, stored.APPLIED), (void, stored.VOID)):
        before_each()
        stored.put_adjustments(writer, rows, state)
    broken = tuple(run for run in stored.repricings(reader) if run.state == stored.UNDER_WAY)
    for run in broken:
        before_each()
        stored.put(writer, run.ended(stored.BROKEN_OFF, at=clock()))
    return broken
