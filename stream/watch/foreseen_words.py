"""The words of an alert of a forecast: money at 2 decimals, moments by the clocks of the budget's zone."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from costream.alerts import Alert
from stream.budgets.judge import cut
from stream.budgets.words import money, named, unpriced_told, whose_period
from stream.budgets.zones import zone as zone_of

METHODS: Final = {
    "rhythm": "Told from {days} whole days: the last two weeks, their trend, and what each weekday usually is.",
    "elapsed": "There are less than 14 whole days to learn from ({days}): what was spent so far is divided by the "
    "share of the {period} that is over.",
}


def worded(alert: Alert) -> Alert:
    """An alert of a forecast, with its title and its facts."""
    return alert.model_copy(update={"title": _title(alert), "message": _message(alert)})


def _title(alert: Alert) -> str:
    told = alert.metadata
    name = named(alert)
    expected, whole = _money(alert.current_value, told), _money(told["amount"], told)
    if alert.standing:
        return f"{name}: {expected} expected by the end of the {told['period']}, of {whole}"
    if told.get("withdrawn"):
        return f"{name}: foreseen by no rule any more"
    match told["because"]:
        case "reached":
            return f"{name}: used up, as was expected: {_money(told['spent'], told)} of {whole}"
        case "lower":
            return f"{name}: {expected} expected now, of {whole}"
        case _:
            return f"{name}: the {told['period']} is over; {expected} of {whole} was expected last"


def _message(alert: Alert) -> str:
    told = alert.metadata
    facts = [f"{whose_period(alert)} cost {_spent(alert)} so far, of {_money(told['amount'], told)}."]
    facts.append(f"Expected for the whole {told['period']}: {_money(alert.current_value, told)}{_band(told)}.")
    if alert.standing:
        if told["reached_at"] is not None:
            facts.append(f"The budget would be used up about {_moment(str(told['reached_at']), told)}.")
        facts.append(METHODS[str(told["method"])].format(days=told["whole_days"], period=told["period"]))
    return " ".join(fact for fact in [*facts, unpriced_told(alert)] if fact)


def _spent(alert: Alert) -> str:
    """With its share, cut and not rounded: 99.96 % is not all of it."""
    told = alert.metadata
    share = cut(Fraction(str(told["spent"])) / Fraction(str(told["amount"])) * 100, digits=1)
    return f"{_money(told['spent'], told)} ({share:,f} %)"


def _band(told: Any) -> str:
    if told["expected_low"] is None:
        return ""
    low, high = _money(told["expected_low"], told), _money(told["expected_high"], told)
    return f"; between {low} and {high} in 80 of 100 cases"


def _moment(text: str, told: Any) -> str:
    moment = datetime.fromisoformat(text).astimezone(zone_of(str(told["zone"])))
    return f"{moment:%Y-%m-%d %H:%M}" if told["period"] == "day" else f"{moment:%Y-%m-%d}"


def _money(amount: Any, told: Any) -> str:
    """``amount`` is text where it stands in the metadata."""
    return money(Decimal(str(amount)), told)
