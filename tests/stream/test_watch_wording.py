"""The words of an alert about 60 minutes, as a person reads them."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from costream.alerts import Driver, Status
from stream.watch.reasons.words import causes
from stream.watch.wording import message, title

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
FACTS: dict[str, Any] = {
    "status": "open",
    "window": NOON,
    "so_far": False,
    "cost_usd": Decimal("1234.5"),
    "level_usd": Decimal(3),
    "expected_usd": Decimal(1),
    "ratio": Decimal("1234.5"),
    "basis": "the average of the last 168 hours",
    "unpriced_calls": 0,
}
SPENT = "The hour 12:00-13:00 UTC on 2026-03-02 cost 1,234.50 USD"
COMPARED = "1,234.5x the usual 1.00 USD (the average of the last 168 hours)"
UNKNOWN = {"expected_usd": None, "ratio": None}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, f"{SPENT}, {COMPARED}. Alert level: 3.00 USD."),
        ({"status": "updated"}, f"{SPENT}, {COMPARED}. Alert level: 3.00 USD."),
        ({"so_far": True}, f"{SPENT} so far, {COMPARED}. Alert level: 3.00 USD."),
        ({"status": "cleared"}, f"{SPENT}, {COMPARED}. That is below 3.00 USD, where the alert clears."),
        ({"status": "cleared"} | UNKNOWN, f"{SPENT}, with no usual cost to compare to."),
        ({"status": "retracted"}, f"After a correction no alert was due. {SPENT}, {COMPARED}. Alert level: 3.00 USD."),
        (UNKNOWN, f"{SPENT}, with no usual cost to compare to. Alert level: 3.00 USD."),
        (
            {"expected_usd": Decimal(0), "ratio": None, "basis": "the median of the last 30 hours"},
            f"{SPENT}, where 0.00 USD is usual (the median of the last 30 hours). Alert level: 3.00 USD.",
        ),
        (
            {"unpriced_calls": 1},
            f"{SPENT}, {COMPARED}. Alert level: 3.00 USD. 1 call unpriced: the true cost is higher.",
        ),
        (
            {"unpriced_calls": 1_200},
            f"{SPENT}, {COMPARED}. Alert level: 3.00 USD. 1,200 calls unpriced: the true cost is higher.",
        ),
    ],
)
def test_the_facts_of_a_window(changes: dict[str, Any], said: str) -> None:
    assert message(**FACTS | changes) == said


def test_sixty_minutes_that_are_no_clock_hour_are_called_so() -> None:
    said = message(**FACTS | {"window": NOON.replace(minute=59)})
    assert said.startswith("The 60 minutes 12:59-13:59 UTC on 2026-03-02 cost 1,234.50 USD, ")


@pytest.mark.parametrize(
    ("scope", "ratio", "status", "said"),
    [
        ("system", Decimal("4.25"), "open", "Hourly cost is 4.2x the usual"),
        ("system", Decimal("1234.5"), "updated", "Hourly cost is 1,234.5x the usual"),
        ("system", None, "open", "Hourly cost is far above the usual"),
        ("feature=chat", None, "cleared", "Hourly cost of chat is usual again"),
        ("feature=", Decimal(9), "retracted", "Hourly cost of calls without a feature was corrected: no spike"),
    ],
)
def test_the_subject_of_an_alert(scope: str, ratio: Decimal | None, status: Status, said: str) -> None:
    assert title(scope=scope, ratio=ratio, status=status) == said


def test_every_cause_is_named_and_those_who_spent_most_stand_behind() -> None:
    assert causes(()) == (
        "Likely causes: [ ] more calls than usual; [ ] dearer model chosen; [ ] unusually large requests."
    )
    found = (
        Driver(kind="top_user", name="u", text="user u: 3.00 USD", unit="usd", after=Decimal(3)),
        Driver(kind="top_feature", name="f", text="feature f: 9.00 USD", unit="usd", after=Decimal(9)),
        Driver(kind="tokens_per_call", text="15 tokens a call", unit="tokens", after=Decimal(15)),
        Driver(kind="model_mix", name="m", text="m took 50 %", unit="share", after=Decimal("0.5")),
    )
    assert causes(found) == (
        "Likely causes: [ ] more calls than usual; [x] dearer model chosen: m took 50 %; "
        "[x] unusually large requests: 15 tokens a call. Top spenders: feature f: 9.00 USD; user u: 3.00 USD."
    )
