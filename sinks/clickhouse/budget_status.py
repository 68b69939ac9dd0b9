"""Where each budget stands, for reports: every budget in force, with its subjects or without."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

from sinks.clickhouse.reader import Reader

# A budget nobody has spent anything of is a line with an empty subject and null in the columns of spending.
STATUS: Final = """
SELECT b.budget AS budget, b.kind AS kind, b.period AS period, b.zone AS zone, b.scope AS scope, b.amount AS amount,
  b.currency AS currency, if(s.budget = '', '', s.subject) AS subject, s.spent AS spent, s.ratio AS ratio,
  s.level AS level, s.projected AS projected, s.period_start AS period_start, s.period_end AS period_end,
  toInt64(if(s.budget = '', 0, s.calls)) AS calls, toInt64(if(s.budget = '', 0, s.unpriced_calls)) AS unpriced_calls,
  toInt64(count() OVER (PARTITION BY budget)) AS subjects
FROM budgets AS b
LEFT JOIN budget_status AS s ON s.budget = b.budget
WHERE {name:String} = '' OR b.budget = {name:String}
ORDER BY budget, ratio DESC NULLS LAST, subject
LIMIT {subjects_max:UInt32} BY budget
SETTINGS join_use_nulls = 0"""

# Of everything together, or of users; one of a team alone says nothing of the whole. What nobody has spent anything of
# has no row in budget_status, and its share is 0.
RATIOS: Final = """
SELECT if(empty(b.scope), if(b.period = 'day', 'daily', 'monthly'), 'user') AS budget_type,
  max(if(s.budget = '', toDecimal128(0, 4), s.ratio)) AS ratio
FROM budgets AS b
INNER JOIN budget_sums AS m ON m.spending = b.spending
LEFT JOIN (SELECT budget, max(ratio) AS ratio FROM budget_status GROUP BY budget) AS s ON s.budget = b.budget
WHERE b.kind = 'budget' AND empty(m.only_words)
  AND (b.scope = ['user'] OR empty(b.scope) AND b.period IN ('day', 'month'))
GROUP BY budget_type
HAVING ratio IS NOT NULL
SETTINGS join_use_nulls = 0"""


def budget_ratios(reader: Reader) -> dict[str, Decimal]:
    """The highest share that is spent, of ``daily`` and ``monthly`` budgets of everything together, and of those of
    users (``user``). Which is not known is not there."""
    return dict(reader.frame(RATIOS).iter_rows())


def budget_status(reader: Reader, *, name: str, subjects_max: int) -> Sequence[dict[str, Any]]:
    """The rows of the budget of this name (of all, where it is empty), those with the greatest share first.
    ``subjects`` counts all that have spent something of it."""
    return reader.frame(STATUS, name=name, subjects_max=subjects_max).to_dicts()
