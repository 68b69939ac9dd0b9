"""How an alert of a budget lives: plain functions on frozen values, with no Kafka, clock or network.

A step is told once, when it is crossed; of several that are crossed at once the highest alone. What a correction takes
back is told too: a lower step, or none. When the period is over the alert is cleared. What comes later moves the sum of
its own period, and may take back what was said, but raises no alert.
"""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from decimal import ROUND_DOWN, Decimal, localcontext
from fractions import Fraction
from typing import Final

from costream.alerts import DIGITS_EXACT, RATIO_MAX, Alert, Level, Status, episode_id
from stream.budgets.budget import Budget, Step, parts_of
from stream.budgets.facts import facts_of
from stream.budgets.periods import Span, span_at
from stream.budgets.spend import Account, PerUSD, Spend

RULE: Final = "budget"
LATE_MAX: Final = timedelta(minutes=5)  # so long after its end a period still takes what was spent in it as news
PROJECTED_FROM: Final = Fraction(1, 20)  # of a period: what less of it says about the rest is chance
DIGITS: Final = 12
MICROSECOND: Final = timedelta(microseconds=1)


def judged(
    budget: Budget, account: Account, spend: Spend, known: Alert | None, *, now: datetime, per_usd: PerUSD
) -> Alert | None:
    """The next revision of the alert of a subject and a period, without words; None where there is nothing to say, or
    where the rate of a day is not known. ``known`` is the latest one."""
    spent = spend.amount(budget.currency, per_usd)
    if spent is None:
        return None
    step, over = budget.crossed(spent), is_over(budget, account, spend, now)
    status = _status(step, known, over=over)
    if status is None:
        return None
    return _revision(budget, account, spend, spent, step=step, status=status, known=known, now=now)


def is_over(budget: Budget, account: Account, spend: Spend, now: datetime) -> bool:
    """Whether nothing that happens now is of this period any more. A session is over when a whole day of UTC has gone
    by without a call."""
    end = span_of(budget, account).end
    if end is None:
        last = max(spend.pico_usd, default=now.date())
        return now >= datetime.combine(last, time.min, UTC) + timedelta(days=2)
    return now >= end + LATE_MAX


def span_of(budget: Budget, account: Account) -> Span:
    return span_at(account.period_start, budget.period, budget.zone)


def _status(step: Step | None, known: Alert | None, *, over: bool) -> Status | None:
    if known is None or known.status == "retracted":
        return "open" if step and not over else None
    told = known.threshold_value
    if step is None:
        return "retracted"
    if over:
        return "cleared" if known.standing or step.amount < told else None
    if known.standing:
        return "updated" if step.amount != told else None
    return "updated" if step.amount > told else None


def _revision(
    budget: Budget,
    account: Account,
    spend: Spend,
    spent: Fraction,
    *,
    step: Step | None,
    status: Status,
    known: Alert | None,
    now: datetime,
) -> Alert:
    span, scope = span_of(budget, account), budget.alert_scope(account.subject)
    threshold, level = _told(step, status, known)
    return Alert(
        alert_id=episode_id(rule=RULE, scope=scope, first_window=account.period_start),
        revision=known.revision + 1 if known else 1,
        status=status,
        level=level,
        rule=RULE,
        title="",
        message="",
        metric_name=budget.metric_name,
        scope=scope,
        user_id=parts_of(account.subject).get("user"),
        window_start=span.start if span.end else _first_day(spend, now),
        window_end=span.end or _second(now),
        current_value=amount_of(spent),
        threshold_value=threshold,
        expected_value=None,
        ratio=min(RATIO_MAX, cut(spent / Fraction(budget.amount), digits=4)),
        unpriced_calls=spend.unpriced_calls,
        metadata={
            **facts_of(budget, account.subject, account.period_start),
            "calls": spend.calls,
            "elapsed": _text(elapsed(span, now)),
            "projected_value": _text(projected(spent, span, now)),
        },
        timestamp=now,
    )


def _told(step: Step | None, status: Status, known: Alert | None) -> tuple[Decimal, Level]:
    """The step that a revision is about: what was told before, where the period is over or nothing is crossed."""
    if known and (step is None or (status == "cleared" and step.amount > known.threshold_value)):
        return known.threshold_value, known.level
    assert step, "what was never told is opened by a step"
    return step.amount, step.level


def elapsed(span: Span, now: datetime) -> Fraction | None:
    """The share of a period that is over; None of a session."""
    if span.end is None:
        return None
    return min(max(share_of(now - span.start, span.end - span.start), Fraction(0)), Fraction(1))


def share_of(part: timedelta, whole: timedelta) -> Fraction:
    return Fraction(part // MICROSECOND, whole // MICROSECOND)


def projected(spent: Fraction, span: Span, now: datetime) -> Fraction | None:
    """What the whole period would cost if it went on as it began. None while too little of it is over."""
    share = elapsed(span, now)
    return spent / share if share and share >= PROJECTED_FROM else None


def amount_of(value: Fraction) -> Decimal:
    """To 12 digits after the point, half to even."""
    with localcontext(prec=DIGITS_EXACT):
        return (Decimal(value.numerator) / Decimal(value.denominator)).quantize(Decimal(1).scaleb(-DIGITS))


def cut(value: Fraction, *, digits: int) -> Decimal:
    """Never rounded up: what is short of a step is not shown as if it had reached it."""
    with localcontext(prec=DIGITS_EXACT):
        return (Decimal(value.numerator) / Decimal(value.denominator)).quantize(
            Decimal(1).scaleb(-digits), rounding=ROUND_DOWN
        )


def _text(value: Fraction | None) -> str | None:
    return None if value is None else f"{amount_of(value).normalize():f}"


def _first_day(spend: Spend, now: datetime) -> datetime:
    return datetime.combine(min(spend.pico_usd, default=now.date()), time.min, UTC)


def _second(moment: datetime) -> datetime:
    """As the warehouse keeps it."""
    return moment.replace(microsecond=0)
