"""When a budget is worth an alert, and what becomes of it: both sides of every threshold."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from costream.alerts import Alert, Level, fault_of
from costream.pricing import PICO
from stream.budgets.budget import Budget, Step
from stream.budgets.judge import judged
from stream.budgets.periods import WHOLE_SESSION, span_at
from stream.budgets.spend import Account, Spend
from stream.budgets.words import worded

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)
SHARES = (("0.80", Level.WARNING), ("0.90", Level.WARNING), ("0.95", Level.CRITICAL), ("1.00", Level.EMERGENCY))


def budget(amount: str = "100", **changed: Any) -> Budget:
    steps = tuple(Step(Decimal(amount) * Decimal(share), level, Decimal(share)) for share, level in SHARES)
    usual: dict[str, Any] = {
        "name": "daily_budget",
        "kind": "budget",
        "scope": (),
        "only": {},
        "period": "day",
        "zone": "UTC",
        "amount": Decimal(amount),
        "currency": "USD",
        "steps": steps,
        "metric_name": "daily_cost",
    }
    return Budget(**usual | changed)


def limit(amount: str, **changed: Any) -> Budget:
    step = Step(Decimal(amount), Level.CRITICAL)
    return budget(amount, **{"name": "limit", "kind": "limit", "steps": (step,)} | changed)


def no_rate(_currency: str, _day: date) -> Decimal | None:
    return None


def of_usd(text: str, *, unpriced: int = 0) -> Spend:
    return Spend(calls=3 + unpriced, unpriced_calls=unpriced, pico_usd={NOON.date(): int(Decimal(text) * PICO)})


def look(
    rule: Budget,
    spend: Spend,
    known: Alert | None = None,
    *,
    now: datetime = NOON,
    subject: str = "",
    per_usd: Any = no_rate,
) -> Alert | None:
    account = Account(rule.spending, subject, span_at(NOON, rule.period, rule.zone).start)
    found = judged(rule, account, spend, known, now=now, per_usd=per_usd)
    if found:
        assert fault_of(found) == ""
        assert Alert.from_json(worded(found).to_json()) == worded(found)
    return found


def follow(rule: Budget, amounts: Iterable[str], **how: Any) -> list[tuple[str, str, str, int]]:
    """Status, level, threshold and revision of each message of a day that goes on like this."""
    known, said = None, []
    for amount in amounts:
        news = look(rule, of_usd(amount), known, **how)
        if news:
            known = news
            said.append((news.status, news.level.value, f"{news.threshold_value:f}", news.revision))
    return said


@pytest.mark.parametrize(
    ("spent", "level", "threshold"),
    [
        ("79.999999999999", None, None),
        ("80", "warning", "80"),
        ("89.99", "warning", "80"),
        ("90", "warning", "90"),
        ("95", "critical", "95"),
        ("99.999999999999", "critical", "95"),
        ("100", "emergency", "100"),
        ("1000000", "emergency", "100"),
        ("0", None, None),
        ("-5", None, None),
    ],
)
def test_a_share_of_a_budget_is_told_where_it_is_reached_and_the_highest_alone(
    spent: str, level: str | None, threshold: str | None
) -> None:
    alert = look(budget(), of_usd(spent))
    if level is None:
        assert alert is None
    else:
        assert alert
        assert (alert.status, alert.level.value, f"{alert.threshold_value:f}") == ("open", level, threshold)


def test_a_limit_is_told_above_it() -> None:
    assert look(limit("500000"), of_usd("500000")) is None
    alert = look(limit("500000"), of_usd("500000.000000000001"))
    assert alert
    assert (alert.level, alert.threshold_value) == (Level.CRITICAL, Decimal(500_000))
    assert alert.current_value == Decimal("500000.000000000001")


def test_each_step_is_told_once_and_a_higher_one_at_once_at_the_same_level_too() -> None:
    assert follow(budget(), ["79", "80", "81", "89.9", "90", "90", "95", "99", "100", "250"]) == [
        ("open", "warning", "80", 1),
        ("updated", "warning", "90", 2),
        ("updated", "critical", "95", 3),
        ("updated", "emergency", "100", 4),
    ]
    assert follow(budget(), ["10", "99"]) == [("open", "critical", "95", 1)]


def test_what_a_correction_takes_back_is_told_and_what_comes_again_keeps_its_alert() -> None:
    assert follow(budget(), ["96", "85", "70", "70", "95"]) == [
        ("open", "critical", "95", 1),
        ("updated", "warning", "80", 2),
        ("retracted", "warning", "80", 3),
        ("open", "critical", "95", 4),
    ]


def test_another_amount_of_the_budget_is_another_share_of_it() -> None:
    opened = look(budget("100"), of_usd("85"))
    more = look(budget("90"), of_usd("85"), opened)
    assert more
    assert (more.status, more.threshold_value, more.alert_id) == ("updated", Decimal(81), opened and opened.alert_id)
    less = look(budget("1000"), of_usd("85"), more)
    assert less
    assert (less.status, less.threshold_value) == ("retracted", Decimal(81))


LATE = timedelta(minutes=5)
AFTER = datetime(2026, 12, 1, tzinfo=UTC) + LATE


def test_a_period_that_is_over_clears_its_alert_and_raises_none() -> None:
    opened = look(budget(), of_usd("85"))
    assert look(budget(), of_usd("85"), opened, now=AFTER - timedelta(seconds=1)) is None
    cleared = look(budget(), of_usd("99"), opened, now=AFTER)
    assert cleared
    # What was told is what is cleared; a step that was crossed too late to be told is in the figures alone.
    assert (cleared.status, cleared.level, cleared.threshold_value) == ("cleared", Level.WARNING, Decimal(80))
    assert cleared.current_value == 99
    assert (cleared.metadata["elapsed"], cleared.metadata["projected_value"]) == ("1", "99")
    assert (
        worded(cleared).message
        == "2026-11-30 (UTC) cost 99.00 USD: 99.0 % of 100.00 USD. Threshold reached: 80.00 USD."
    )
    assert look(budget(), of_usd("500"), cleared, now=AFTER + timedelta(days=40)) is None
    assert look(budget(), of_usd("500"), None, now=AFTER) is None


def test_right_after_its_end_a_period_still_takes_what_was_spent_in_it() -> None:
    late = look(budget(), of_usd("85"), now=AFTER - timedelta(seconds=1))
    assert late
    assert late.status == "open"


@pytest.mark.parametrize(("corrected", "status", "threshold"), [("50", "retracted", 95), ("81", "cleared", 80)])
def test_what_is_taken_back_after_the_end_is_told(corrected: str, status: str, threshold: int) -> None:
    opened = look(budget(), of_usd("96"))
    cleared = look(budget(), of_usd("96"), opened, now=AFTER)
    news = look(budget(), of_usd(corrected), cleared, now=AFTER + timedelta(days=3))
    assert news
    assert (news.status, news.threshold_value, news.revision) == (status, Decimal(threshold), 3)
    assert look(budget(), of_usd(corrected), news, now=AFTER + timedelta(days=4)) is None


def test_judged_twice_nothing_is_said_the_second_time() -> None:
    for spent in ("80", "93", "100"):
        alert = look(budget(), of_usd(spent))
        assert look(budget(), of_usd(spent), alert) is None


# --- sessions --------------------------------------------------------------------------------------------------------


def test_a_session_is_told_by_its_id_and_is_over_after_a_day_without_a_call() -> None:
    rule = budget("1.00", name="session_budget", scope=("session",), period="session")
    spend, subject = of_usd("1.00"), "session=s-1"
    opened = look(rule, spend, subject=subject)
    assert opened
    assert (opened.scope, opened.level) == ("budget=session_budget,session=s-1", Level.EMERGENCY)
    assert opened.metadata["first_window"] == WHOLE_SESSION.isoformat()
    assert opened.window_start == datetime(2026, 11, 30, tzinfo=UTC)
    assert opened.metadata["projected_value"] is None
    assert (
        worded(opened).message == "In all, session s-1 cost 1.00 USD: 100.0 % of 1.00 USD. Threshold reached: 1.00 USD."
    )
    end = datetime(2026, 12, 2, tzinfo=UTC)
    assert look(rule, spend, opened, now=end - timedelta(seconds=1), subject=subject) is None
    cleared = look(rule, spend, opened, now=end, subject=subject)
    assert cleared
    assert cleared.status == "cleared"
    assert cleared.window_end == end


def test_a_session_that_goes_on_tells_a_higher_step_alone() -> None:
    rule = budget("1.00", scope=("session",), period="session")
    opened = look(rule, of_usd("0.80"), subject="session=s")
    cleared = look(rule, of_usd("0.80"), opened, now=NOON + timedelta(days=3), subject="session=s")
    again = datetime(2026, 12, 9, tzinfo=UTC)
    some = of_usd("0.80").plus(again.date(), calls=1, unpriced_calls=0, pico_usd=1)
    assert look(rule, some, cleared, now=again, subject="session=s") is None
    more = some.plus(again.date(), calls=1, unpriced_calls=0, pico_usd=PICO // 10)
    updated = look(rule, more, cleared, now=again, subject="session=s")
    assert updated
    assert (updated.status, updated.threshold_value) == ("updated", Decimal("0.9"))


# --- figures and words -----------------------------------------------------------------------------------------------


def said(rule: Budget, spend: Spend, *, now: datetime = NOON, **how: Any) -> Alert:
    alert = look(rule, spend, now=now, **how)
    assert alert
    return worded(alert)


def test_a_day_tells_its_cost_the_budget_the_share_and_what_it_would_come_to() -> None:
    alert = said(budget(), of_usd("82.405", unpriced=3), now=datetime(2026, 11, 30, 18, tzinfo=UTC))
    assert alert.title == "daily_budget: 82.4 % of 100.00 USD spent"
    assert alert.message == (
        "2026-11-30 (UTC) cost 82.40 USD: 82.4 % of 100.00 USD. Threshold reached: 80.00 USD. "
        "Projected for the whole day: 109.87 USD. 3 calls unpriced: the true cost is higher."
    )
    assert (alert.metric_name, alert.ratio, alert.unpriced_calls) == ("daily_cost", Decimal("0.824"), 3)
    assert alert.metadata["unit"] == "USD"
    assert (alert.window_start, alert.window_end) == (NOON.replace(hour=0), NOON.replace(hour=0) + timedelta(days=1))


def test_an_alert_has_all_that_its_words_are_made_of() -> None:
    rule = budget("10", name="user_daily_budget", scope=("user",), zone="Asia/Seoul", metric_name="user_daily_cost")
    alert = said(rule, of_usd("9.80", unpriced=1), subject="user=ann", now=datetime(2026, 11, 30, 12, tzinfo=UTC))
    assert alert.metadata == {
        "first_window": "2026-11-29T15:00:00+00:00",
        "unit": "USD",
        "budget": "user_daily_budget",
        "kind": "budget",
        "subject": {"user": "ann"},
        "period": "day",
        "zone": "Asia/Seoul",
        "amount": "10",
        "calls": 4,
        "elapsed": "0.875",
        "projected_value": "11.2",
    }
    assert (alert.rule, alert.scope, alert.expected_value) == ("budget", "budget=user_daily_budget,user=ann", None)


def test_600_at_the_end_of_day_10_of_30_comes_to_1800() -> None:
    rule = budget("700", period="month", name="monthly_budget", metric_name="monthly_cost")
    end_of_day_10 = datetime(2026, 11, 11, tzinfo=UTC)
    alert = said(rule, of_usd("600"), now=end_of_day_10)
    assert alert.metadata["projected_value"] == "1800"
    assert alert.message == (
        "November 2026 (UTC) cost 600.00 USD: 85.7 % of 700.00 USD. Threshold reached: 560.00 USD. "
        "10.0 of 30 days have passed. Projected for the whole month: 1,800.00 USD."
    )


def test_of_a_twentieth_of_a_period_and_less_nothing_is_projected() -> None:
    start = NOON.replace(hour=0)
    early = said(budget(), of_usd("80"), now=start + timedelta(minutes=71))
    assert early.metadata["projected_value"] is None
    assert "Projected" not in early.message
    assert said(budget(), of_usd("80"), now=start + timedelta(minutes=72)).metadata["projected_value"] == "1600"


def test_a_user_is_named_in_a_field_and_cannot_break_the_line() -> None:
    rule = budget("10", name="user_daily_budget", scope=("user",))
    alert = said(rule, of_usd("9.80"), subject="user=ann\nfor free")
    assert alert.user_id == "ann\nfor free"
    assert alert.title == "user_daily_budget of user ann\\u{a}for free: 98.0 % of 10.00 USD spent"
    assert "2026-11-30 (UTC) user ann\\u{a}for free cost 9.80 USD" in alert.message


def test_what_is_short_of_a_step_is_never_shown_as_if_it_had_reached_it() -> None:
    alert = said(budget(), of_usd("99.999"))
    assert alert.title == "daily_budget: 99.9 % of 100.00 USD spent"
    assert " cost 99.999 USD: " in alert.message
    assert " cost 99.999999999999 USD: " in said(budget(), of_usd("99.999999999999")).message
    assert said(limit("5"), of_usd("5.0026")).title == "limit: 5.003 USD, above 5.00 USD"
    assert said(limit("5"), of_usd("5.000000000001")).title == "limit: 5.000000000001 USD, above 5.00 USD"
    assert " cost 100.00 USD: " in said(budget(), of_usd("100")).message
    huge = Spend(calls=1, pico_usd={NOON.date(): 10**37 - 1})
    assert " cost 10,000,000,000,000,000,000,000,000.00 USD: " in said(budget(), huge).message


@pytest.mark.parametrize(
    ("period", "zone", "words"),
    [
        ("hour", "Asia/Kolkata", "The hour 17:00-18:00 of 2026-11-30 (Asia/Kolkata) cost 500,001.00 USD"),
        ("day", "Asia/Seoul", "2026-11-30 (Asia/Seoul) cost 500,001.00 USD"),
        ("month", "Pacific/Auckland", "December 2026 (Pacific/Auckland) cost 500,001.00 USD"),
    ],
)
def test_a_limit_tells_the_period_by_its_own_clocks(period: Any, zone: str, words: str) -> None:
    alert = said(limit("500000", period=period, zone=zone), of_usd("500001"))
    assert alert.title == "limit: 500,001.00 USD, above 500,000.00 USD"
    assert alert.message.startswith(words)
    assert "That is above the limit of 500,000.00 USD." in alert.message


def test_what_ended_and_what_was_corrected_is_said_so() -> None:
    opened = look(budget(), of_usd("96"))
    over = look(budget(), of_usd("97"), opened, now=AFTER)
    assert over
    assert worded(over).title == "daily_budget: the day is over, at 97.00 USD of 100.00 USD"
    corrected = look(budget(), of_usd("7"), opened)
    assert corrected
    assert worded(corrected).title == "daily_budget: corrected to 7.00 USD, no alert was due"
    assert "After a correction that is below 95.00 USD, which was told before." in worded(corrected).message
    nothing = look(budget(), of_usd("0"), opened)
    assert nothing
    assert worded(nothing).message.startswith("2026-11-30 (UTC) cost 0.00 USD: 0.0 % of 100.00 USD. After a correction")


# --- currencies ------------------------------------------------------------------------------------------------------


def test_a_budget_in_another_currency_compares_by_the_rate_of_each_day() -> None:
    rates = {date(2026, 11, 29): Decimal(1_000), NOON.date(): Decimal(2_000)}
    rule = replace(budget("15000", currency="KRW", period="month"), metric_name="monthly_cost")
    spend = Spend(calls=2, pico_usd={date(2026, 11, 29): 2 * PICO, NOON.date(): 5 * PICO})
    alert = look(rule, spend, per_usd=lambda _, day: rates[day])
    assert alert
    assert (alert.current_value, alert.threshold_value, alert.metadata["unit"]) == (12_000, 12_000, "KRW")


def test_without_the_rate_of_a_day_nothing_is_said_and_nothing_is_taken_back() -> None:
    rule = budget("100", currency="KRW")
    opened = look(rule, of_usd("1"), per_usd=lambda *_: Decimal(99))
    assert opened
    assert look(rule, of_usd("1")) is None
    assert look(rule, of_usd("1"), opened) is None
