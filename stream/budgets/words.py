"""The words of an alert of a budget: money at 2 decimals, shares at 1, the unpriced calls beside every cost."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from typing import Any, Final, NamedTuple

from costream.alerts import Alert, plain, rounded
from stream.budgets.budget import whose
from stream.budgets.judge import DIGITS, cut, share_of
from stream.budgets.zones import zone as zone_of

PARTS_TOLD_MAX: Final = 5


class Part(NamedTuple):
    """What one feature cost, in the currency of the budget."""

    feature: str
    cost: Decimal


def worded(alert: Alert) -> Alert:
    """An alert of a budget or of a limit, with its title and its facts."""
    return alert.model_copy(update={"title": _title(alert), "message": _message(alert)})


def with_parts(alert: Alert, parts: Sequence[Part]) -> Alert:
    """The same with what each feature cost, the dearest first, and its share of all of them."""
    total = sum((part.cost for part in parts), Decimal(0))
    if total <= 0:
        return alert
    told = [f"{_feature(part)} {money(part.cost, alert.metadata)} ({_share(part.cost, total)} %)" for part in parts]
    if len(told) > PARTS_TOLD_MAX:
        rest = sum((part.cost for part in parts[PARTS_TOLD_MAX:]), Decimal(0))
        others = f"{len(told) - PARTS_TOLD_MAX:,} more {money(rest, alert.metadata)} ({_share(rest, total)} %)"
        told = [*told[:PARTS_TOLD_MAX], others]
    features: list[Any] = [
        {"feature": part.feature, "amount": f"{part.cost.normalize():f}", "share": f"{_of(part.cost, total, '0.0001')}"}
        for part in parts[:PARTS_TOLD_MAX]
    ]
    message = f"{alert.message} By feature: {', '.join(told)}."
    return alert.model_copy(update={"message": message, "metadata": {**alert.metadata, "features": features}})


def _feature(part: Part) -> str:
    return plain(part.feature) or "(no feature)"


def _share(cost: Decimal, total: Decimal) -> str:
    return f"{_of(100 * cost, total, '1')}"


def _of(part: Decimal, total: Decimal, digits: str) -> Decimal:
    return (part / total).quantize(Decimal(digits), ROUND_HALF_UP)


def _title(alert: Alert) -> str:
    told = alert.metadata
    name = named(alert)
    spent, whole = _spent(alert), money(_amount(told), told)
    match alert.status, told["kind"]:
        case "cleared", _ if told.get("withdrawn"):
            return f"{name}: judged by no rule any more, at {spent} of {whole}"
        case "cleared", _:
            return f"{name}: the {told['period']} is over, at {spent} of {whole}"
        case "retracted", _:
            return f"{name}: corrected to {spent}, no alert was due"
        case _, "limit":
            return f"{name}: {spent}, above {whole}"
        case _:
            return f"{name}: {_percent(alert)} of {whole} spent"


def _message(alert: Alert) -> str:
    told = alert.metadata
    spent = f"{whose_period(alert)} cost {_spent(alert)}"
    facts = [f"{spent}: {_percent(alert)} of {money(_amount(told), told)}.", _crossed(alert)]
    if alert.standing:
        facts += [_passed(alert), _projected(alert), _pace(alert)]
    return " ".join(fact for fact in [*facts, unpriced_told(alert)] if fact)


def _crossed(alert: Alert) -> str:
    threshold = money(alert.threshold_value, alert.metadata)
    match alert.status, alert.metadata["kind"]:
        case "retracted", _:
            return f"After a correction that is below {threshold}, which was told before."
        case _, "limit":
            return f"That is above the limit of {threshold}."
        case _:
            return f"Threshold reached: {threshold}."


def _period(alert: Alert) -> str:
    zone = str(alert.metadata["zone"])
    start, end = (moment.astimezone(zone_of(zone)) for moment in (alert.window_start, alert.window_end))
    match alert.metadata["period"]:
        case "hour":
            return f"The hour {start:%H:%M}-{end:%H:%M} of {start:%Y-%m-%d} ({zone})"
        case "day":
            return f"{start:%Y-%m-%d} ({zone})"
        case "month":
            return f"{start:%B %Y} ({zone})"
        case _:
            return "In all,"


def _passed(alert: Alert) -> str:
    """Of a month, how many of its days."""
    if alert.metadata["period"] != "month":
        return ""
    start, end = alert.window_start, alert.window_end
    days = round((end - start) / timedelta(days=1))  # with a change of the clocks, a month has an hour more or less
    passed = days * share_of(min(alert.timestamp, end) - start, end - start)
    return f"{cut(passed, digits=1)} of {days} days have passed."


def _projected(alert: Alert) -> str:
    value = alert.metadata["projected_value"]
    if value is None:
        return ""
    return f"Projected for the whole {alert.metadata['period']}: {money(Decimal(str(value)), alert.metadata)}."


def _pace(alert: Alert) -> str:
    """Of a share of a budget, how long that would last if it went on so. The period may still run: so long at most."""
    whole: Any = alert.metadata.get("share_of")
    if whole is None:
        return ""
    amount, spent = Decimal(whole["amount"]), Fraction(alert.current_value)
    share, lasts = cut(spent / Fraction(amount) * 100, digits=1), cut(Fraction(amount) / spent, digits=1)
    budget = f"{plain(str(whole['budget']))}, {money(amount, alert.metadata)} a {whole['period']}"
    return f"It is {share:,f} % of {budget}: at this pace the whole of it lasts {lasts:,f} {alert.metadata['period']}s."


def _amount(told: Any) -> Decimal:
    return Decimal(str(told["amount"]))


def _spent(alert: Alert) -> str:
    """With more than 2 decimals where those would say that it had reached or passed what it has not, or the other way
    round."""
    marks = (alert.threshold_value, _amount(alert.metadata))
    exact = [alert.current_value.compare(mark) for mark in marks]
    for digits in range(2, DIGITS):
        shown = rounded(alert.current_value, digits=digits)
        if [shown.compare(mark) for mark in marks] == exact:
            return f"{shown:,f} {alert.metadata['unit']}"
    return f"{alert.current_value:,f} {alert.metadata['unit']}"


def _percent(alert: Alert) -> str:
    """Cut, not rounded: 79.96 % has not reached 80 %."""
    return f"{cut(Fraction(alert.ratio or 0) * 100, digits=1):,f} %"


# --- of every alert that is about a budget ---


def named(alert: Alert) -> str:
    """The budget, and whose it is."""
    subject = _subject(alert)
    return f"{plain(str(alert.metadata['budget']))}{' of ' + subject if subject else ''}"


def whose_period(alert: Alert) -> str:
    """The period by the clocks of the budget, and whose it is."""
    subject = _subject(alert)
    return f"{_period(alert)}{' ' + subject if subject else ''}"


def unpriced_told(alert: Alert) -> str:
    """How many calls are in no figure; empty where all are."""
    if alert.unpriced_calls <= 0:
        return ""
    calls = "call" if alert.unpriced_calls == 1 else "calls"
    return f"{alert.unpriced_calls:,} {calls} unpriced: the true cost is higher."


def money(amount: Decimal, told: Any) -> str:
    return f"{amount:,.2f} {told['unit']}"


def _subject(alert: Alert) -> str:
    """What the scope says behind the budget's name, for a person."""
    return whose(alert.scope.partition(",")[2])
