"""What an alert says of the budget that it is about, and the way back: which budget it is of."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from costream.alerts import Alert
from stream.budgets.budget import Budget, parts_of


def facts_of(budget: Budget, subject: str, period_start: datetime) -> dict[str, Any]:
    """``metadata`` of each alert of a budget, whatever it tells."""
    facts: dict[str, Any] = {
        "first_window": period_start.isoformat(timespec="seconds"),
        "unit": budget.currency,
        "budget": budget.name,
        "kind": budget.kind,
        "subject": dict(parts_of(subject)),
        "period": budget.period,
        "zone": budget.zone,
        "amount": f"{budget.amount:f}",
    }
    if whole := budget.share_of:
        facts["share_of"] = {"budget": whole.name, "period": whole.period, "amount": f"{whole.amount:f}"}
    return facts


def budget_of(alert: Alert, budgets: Mapping[str, Budget]) -> Budget | None:
    """The one that it is of, if that still has the same periods and subjects."""
    told = alert.metadata
    budget = budgets.get(str(told["budget"]))
    if budget is None or (budget.period, budget.zone) != (told["period"], told["zone"]):
        return None
    words = tuple(told["subject"])  # type: ignore[arg-type]
    return budget if words == budget.scope else None


def ended(known: Alert, *, now: datetime, **told: Any) -> Alert:
    """The end of an alert by something else than its figures, without words."""
    changed = {"revision": known.revision + 1, "status": "cleared", "timestamp": now, "title": "", "message": ""}
    return known.model_copy(update=changed | {"metadata": {**known.metadata, **told}})


def withdrawn(known: Alert, *, now: datetime) -> Alert:
    """The end of an alert whose budget is not judged by any more."""
    return ended(known, now=now, withdrawn=True)
