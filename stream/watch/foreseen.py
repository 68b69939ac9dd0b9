"""How an alert of a forecast lives: plain functions on frozen values, with no Kafka, clock or network.

It is opened while a budget is expected to be used up before its period ends, and is not yet. It is cleared when that is
so, when clearly less is expected, and when the period is over. What is opened and cleared again and again keeps its id:
there is one a budget, subject and period.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Final, Literal

from costream.alerts import AMOUNT_DIGITS_MAX, RATIO_MAX, Alert, Status, episode_id
from sinks.answers.forecast import Forecast, Outlook
from stream.budgets.budget import Budget
from stream.budgets.facts import ended, facts_of
from stream.budgets.judge import cut

RULE: Final = "budget_forecast"
CLEAR: Final = Decimal("0.95")  # of the amount: what is expected has to fall below it, so that noise opens nothing anew
AMOUNT_MAX: Final = Decimal(10) ** AMOUNT_DIGITS_MAX

Because = Literal["reached", "lower", "over"]


def alert_id(budget: Budget, subject: str, period_start: datetime) -> str:
    return episode_id(rule=RULE, scope=budget.alert_scope(subject), first_window=period_start)


def judged(budget: Budget, subject: str, found: Forecast, known: Alert | None, *, now: datetime) -> Alert | None:
    """The next revision of the alert of a subject in the period that is running, without words; None where there is
    nothing to say. ``found`` is in the currency of the budget; ``known`` is the latest revision."""
    outlook = next(one for one in found.outlooks if one.period == budget.period)
    expected, amount = outlook.expected, budget.amount
    if expected is None or not expected < AMOUNT_MAX:
        return None
    because: Because | None = None
    if known and known.standing:
        if outlook.so_far >= amount:
            because = "reached"
        elif expected < amount * CLEAR:
            because = "lower"
        if because is None:
            return None
    elif not outlook.so_far < amount <= expected:
        return None
    return _revision(budget, subject, found, outlook, expected=expected, known=known, because=because, now=now)


def over(known: Alert, *, now: datetime) -> Alert:
    """The end of an alert whose period is over, without words. Its figures are the last that were expected."""
    return ended(known, now=now, because="over")


def _revision(
    budget: Budget,
    subject: str,
    found: Forecast,
    outlook: Outlook,
    *,
    expected: Decimal,
    known: Alert | None,
    because: Because | None,
    now: datetime,
) -> Alert:
    level = known.level if known and because else budget.forecast
    assert level, "a budget without one is not foreseen"
    status: Status = "cleared" if because else "open"
    return Alert(
        alert_id=alert_id(budget, subject, outlook.start),
        revision=known.revision + 1 if known else 1,
        status=status,
        level=level,
        rule=RULE,
        title="",
        message="",
        metric_name=f"{budget.metric_name}_forecast",
        scope=budget.alert_scope(subject),
        user_id=None,
        window_start=outlook.start,
        window_end=outlook.end,
        current_value=expected,
        threshold_value=budget.amount,
        expected_value=None,
        ratio=min(RATIO_MAX, cut(Fraction(expected) / Fraction(budget.amount), digits=4)),
        unpriced_calls=outlook.unpriced_calls,
        metadata={
            **facts_of(budget, subject, outlook.start),
            "spent": f"{outlook.so_far.normalize():f}",
            "expected_low": _text(outlook.low),
            "expected_high": _text(outlook.high),
            "reached_at": _moment(outlook.reached_at(budget.amount)),
            "method": found.method,
            "whole_days": found.whole_days,
            **({"because": because} if because else {}),
        },
        timestamp=now,
    )


def _text(amount: Decimal | None) -> str | None:
    return None if amount is None else f"{amount.normalize():f}"


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="seconds")
