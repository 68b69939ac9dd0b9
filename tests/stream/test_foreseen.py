"""How an alert of a forecast lives, and what it says: on forecasts that were made up."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from costream.alerts import Alert, Level
from sinks.answers.forecast import Forecast
from stream.budgets.budget import Budget, subject_of
from stream.notify.acts import rule_name
from stream.watch.foreseen import CLEAR, alert_id, judged, over
from stream.watch.foreseen_words import worded
from tests.sinks.test_forecast import Costs, hours, told
from tests.stream.test_budget_spend import DAILY

MONTH = replace(DAILY, name="monthly_budget", period="month", metric_name="monthly_cost", amount=Decimal(2_000))
MONTH = replace(MONTH, forecast=Level.WARNING, zone="UTC")
START, END = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)


def spent(costs: Costs, *, first: date = date(2026, 11, 1)) -> tuple[Forecast, datetime]:
    """So much on each day; and the midnight after them."""
    now = datetime(first.year, first.month, first.day, tzinfo=UTC) + timedelta(days=len(costs))
    return told(hours(first, costs), now=now), now


def said(costs: Costs, known: Alert | None = None, budget: Budget = MONTH) -> Alert | None:
    found, now = spent(costs)
    return judged(budget, "", found, known, now=now)


def test_half_of_a_budget_spent_on_the_fifth_day_is_told() -> None:
    """Requirement B-20."""
    alert = said([250] * 4)
    assert alert is not None
    assert (alert.rule, alert.status, alert.level, alert.revision) == ("budget_forecast", "open", Level.WARNING, 1)
    assert (alert.current_value, alert.threshold_value, alert.ratio) == (7_500, 2_000, Decimal("3.75"))
    assert (alert.metric_name, alert.scope) == ("monthly_cost_forecast", "budget=monthly_budget")
    assert (alert.window_start, alert.window_end) == (START, END)
    assert alert.alert_id == alert_id(MONTH, "", START)
    assert alert.metadata["spent"] == "1000"
    assert alert.metadata["reached_at"] == "2026-11-09T00:00:00+00:00"
    assert (alert.metadata["method"], alert.metadata["whole_days"]) == ("elapsed", 3)
    assert Alert.from_json(alert.to_json()) == alert
    words = worded(alert)
    assert words.title == "monthly_budget: 7,500.00 USD expected by the end of the month, of 2,000.00 USD"
    assert words.message == (
        "November 2026 (UTC) cost 1,000.00 USD (50.0 %) so far, of 2,000.00 USD. Expected for the whole month: "
        "7,500.00 USD. The budget would be used up about 2026-11-09. There are less than 14 whole days to learn from "
        "(3): what was spent so far is divided by the share of the month that is over."
    )


def test_what_is_exactly_the_budget_is_told_and_less_is_not() -> None:
    assert said(["66.66"] * 10) is None
    assert said(["66.666666666667"] * 10) is not None


def test_what_is_used_up_already_is_for_the_rule_of_budgets() -> None:
    assert said([500] * 4) is None
    assert said([499] * 4) is not None


def test_in_the_first_twentieth_of_the_period_nothing_is_told() -> None:
    assert said([1_999]) is None


def test_an_alert_stands_until_clearly_less_is_expected() -> None:
    known = said([100] * 5)
    assert known is not None
    assert said([100] * 6, known) is None, "it is known"
    at = MONTH.amount * CLEAR / 30
    assert said([at] * 10, known) is None, "noise around the amount says nothing"
    clear = said([Decimal("63.3")] * 10, known)
    assert clear is not None
    assert (clear.status, clear.revision, clear.metadata["because"]) == ("cleared", 2, "lower")
    assert worded(clear).title == "monthly_budget: 1,899.00 USD expected now, of 2,000.00 USD"
    assert "would be used up" not in worded(clear).message
    assert said([Decimal("66.6")] * 10, clear) is None
    again = said([100] * 11, clear)
    assert again is not None
    assert (again.status, again.revision, again.alert_id) == ("open", 3, known.alert_id)


def test_an_alert_ends_when_it_has_come_true() -> None:
    known = said([100] * 5)
    reached = said([100] * 20, known)
    assert reached is not None
    assert (reached.status, reached.metadata["because"]) == ("cleared", "reached")
    title = "monthly_budget: used up, as was expected: 2,000.00 USD of 2,000.00 USD"
    assert worded(reached).title == title
    assert said([100] * 21, reached) is None


def test_a_level_that_was_told_stays_that_of_its_end() -> None:
    known = said([100] * 5)
    dearer = replace(MONTH, forecast=Level.CRITICAL)
    ended = said([1] * 20, known, dearer)
    assert ended is not None
    assert ended.level is Level.WARNING
    again = said([200] * 5, ended, dearer)
    assert again is not None
    assert again.level is Level.CRITICAL


def test_where_the_moment_is_not_known_none_is_told() -> None:
    """As where what is expected is the amount by its last digit alone."""
    alert = said([100] * 5)
    assert alert is not None
    unknown = alert.model_copy(update={"metadata": {**alert.metadata, "reached_at": None}})
    assert "would be used up" not in worded(unknown).message


def test_when_the_period_is_over_the_last_figures_stay() -> None:
    known = said([100] * 5)
    assert known is not None
    ended = over(known, now=END)
    assert (ended.status, ended.revision, ended.current_value) == ("cleared", 2, known.current_value)
    assert (ended.timestamp, ended.metadata["because"]) == (END, "over")
    assert worded(ended).title == "monthly_budget: the month is over; 3,000.00 USD of 2,000.00 USD was expected last"


def test_a_forecast_of_weeks_tells_its_band_and_how_it_was_told() -> None:
    found, now = spent([*[40, 60] * 20], first=date(2026, 10, 10))  # until the 19th of November: 18 days of 50
    alert = judged(replace(MONTH, amount=Decimal(1_400)), "", found, None, now=now)
    assert alert is not None
    low, high = alert.metadata["expected_low"], alert.metadata["expected_high"]
    assert Decimal(str(low)) < alert.current_value < Decimal(str(high))
    message = worded(alert).message
    assert "in 80 of 100 cases. The budget would be used up about 2026-11-2" in message
    assert message.endswith(
        "Told from 39 whole days: the last two weeks, their trend, and what each weekday usually is."
    )


def test_of_a_day_the_hour_is_told_and_moments_are_those_of_the_zone() -> None:
    day = replace(MONTH, name="daily", period="day", zone="Asia/Seoul", amount=Decimal(10))
    found = told(hours(date(2026, 11, 18), [6], at=0), now=datetime(2026, 11, 18, 6, tzinfo=UTC))
    alert = judged(day, "", found, None, now=datetime(2026, 11, 18, 6, tzinfo=UTC))
    assert alert is not None
    assert "2026-11-18 (Asia/Seoul) cost 6.00 USD (60.0 %) so far" in worded(alert).message
    assert "used up about 2026-11-18 19:00." in worded(alert).message


def test_a_name_from_an_event_can_neither_break_a_line_nor_another_subject() -> None:
    name = "search\n\u202eteam, feature=x"
    subject = subject_of([("feature", name)])
    found, now = spent([250] * 4)
    alert = judged(replace(MONTH, scope=("feature",)), subject, found, None, now=now)
    assert alert is not None
    assert alert.metadata["subject"] == {"feature": name}
    assert alert.scope.count(",") == 1
    for text in (worded(alert).title, worded(alert).message):
        assert text.isprintable()
        assert "feature search\\u{a}\\u{202e}team, feature=x" in text


def test_calls_without_a_price_are_told() -> None:
    alert = said([250, 250, 250, 250, None, None])
    assert alert is not None
    assert alert.unpriced_calls == 2
    assert worded(alert).message.endswith("2 calls unpriced: the true cost is higher.")
    one = said([250, 250, 250, 250, None])
    assert one is not None
    assert worded(one).message.endswith("1 call unpriced: the true cost is higher.")


def test_an_amount_that_no_alert_can_carry_is_told_to_nobody() -> None:
    enormous = replace(MONTH, amount=Decimal("9.9e25"))
    assert said(["1e25"] * 8, budget=enormous) is None
    assert said(["3.3e24"] * 10, budget=enormous) is not None


def test_channels_and_silences_know_it_by_its_budget() -> None:
    alert = said([250] * 4)
    assert alert is not None
    assert rule_name(alert) == "monthly_budget"
