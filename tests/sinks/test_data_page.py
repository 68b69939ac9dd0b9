"""docs/data.md: every question in it, run on a handful of calls whose answers were worked out by hand."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import pytest

from sinks.clickhouse import catalogue
from sinks.clickhouse.connect import ClickHouseAddress
from sinks.clickhouse.price_revisions import PRICES
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.spans import OTHERS, SPAN
from sinks.clickhouse.writer import Writer
from tests.support.warehouse import Embedded
from tests.support.warehouse_rows import store_calls

CENT: Final = 10**10  # in 1e-12 USD


def cents(number: int) -> Decimal:
    return Decimal(number).scaleb(-2)


def call(name: str, at: str, feature: str, user: str, cost: int | None, **more: Any) -> dict[str, Any]:
    """The page says 2026; the engine drops what its own clock calls expired, so these are of 2099. Both years have the
    same weekdays, and clocks change on the same dates."""
    told = "no price known for model 'mystery' of provider 'openai'"
    why = {"cost_reason": "unknown_model", "cost_detail": told}
    unknown = {"cost_status": "unpriced", "model": "mystery"} | why
    return (
        {
            "request_id": name,
            "occurred_at": datetime.fromisoformat(f"2099-{at}+00:00"),
            "feature": feature,
            "user_id": user,
            "cost_pico": None if cost is None else cost * CENT,
            "source_offset": ord(name),
        }
        | (unknown if cost is None else {})
        | more
    )


CALLS: Final = [
    call("a", "10-31T10:00:00", "search", "ann", 1, session_id="s-1"),
    call("b", "10-31T18:15:00", "search", "ann", 2),  # in India it is still 31 October
    call("c", "10-31T18:45:00", "chat", "bob", 3),  # there it is 1 November
    call("d", "11-01T03:59:59", "chat", "bob", None),  # in New York it is still 31 October
    call("e", "11-01T04:00:00", "chat", "bob", 5),  # there 1 November begins
    call("f", "11-01T18:29:59", "search", "ann", 7, status="error"),  # the last second of 1 November in India
    call("g", "11-02T04:59:59", "search", "carol", 11),  # the last second of the 25 hours in New York
    call("h", "11-01T23:00:00", "search", "ann", 13, session_id="s-1", cost_status="partial"),
]

DAYS: Final = (date(2099, 10, 31), date(2099, 11, 1))
ANSWERS: Final[dict[str, list[list[tuple[Any, ...]]]]] = {
    "What did each feature cost, day by day?": [
        [
            (DAYS[0], "chat", 1, cents(3), 0),
            (DAYS[0], "search", 2, cents(3), 0),
            (DAYS[1], "chat", 2, cents(5), 1),
            (DAYS[1], "search", 2, cents(20), 0),
        ]
    ],
    "Which user spent how much, in which feature?": [
        [("ann", "search", 4, cents(23), 0), ("bob", "chat", 3, cents(8), 1)]
    ],
    "Who spends most?": [[("ann", 4, cents(23), 0), ("bob", 3, cents(8), 1)]],
    "What does a call cost, usually and at worst?": [
        [("chat", cents(3), cents(5), cents(5), 2, 1), ("search", cents(2), cents(13), cents(13), 4, 0)]
    ],
    "What has no price, and why?": [
        [("openai", "mystery", "unknown_model", "no price known for model 'mystery' of provider 'openai'", 1, 110)]
    ],
    "What did one day cost, where the day is not a day of UTC?": [
        [(DAYS[1], 4, cents(15), 1)],
        [(DAYS[1], 4, cents(36), 0)],
    ],
    "What did each feature cost in won?": [
        [("chat", 3, cents(8), Decimal(109), "KRW"), ("search", 2, cents(3), Decimal(39), "KRW")]
    ],
    "What does each feature earn?": [
        [
            ("chat", Decimal(0), cents(8), cents(-8), None, None),
            ("search", cents(15), cents(23), cents(-8), Decimal("-53.333333333333"), 1),
        ]
    ],
    "Which model fails how often?": [
        [("openai", "gpt-4o-mini", 6, 1, Decimal("0.166666")), ("openai", "mystery", 1, 0, Decimal(0))]
    ],
    "What did one session cost?": [[(2, cents(14), 0, CALLS[0]["occurred_at"], CALLS[7]["occurred_at"])]],
}
MONEY: Final = """
[[exchange_rate]]
currency = "KRW"
per_usd = "1300"
source = "a bank"

[[exchange_rate]]
currency = "KRW"
per_usd = "1400"
valid_from = 2099-11-01
source = "a bank"

[[credit_price]]
price = "0.05"
source = "our price list"

[[feature_credits]]
feature = "search"
credits = "1"
"""
OF_TODAY: Final = ("How does yesterday compare with the day before?", "What have we spent this month so far?")


def questions() -> dict[str, list[str]]:
    """The SQL under each heading of the page."""
    twelve = catalogue.PAGE.read_text().partition("## Twelve questions")[2].partition(catalogue.MARK)[0]
    parts = re.split(r"^### (.+)$", twelve, flags=re.MULTILINE)[1:]
    blocks = (re.findall(r"```sql\n(.*?)```", text, re.DOTALL) for text in parts[1::2])
    return dict(zip(parts[::2], blocks, strict=True))


def test_there_are_twelve_and_each_has_an_answer() -> None:
    assert len(questions()) == 12
    assert set(questions()) == {*ANSWERS, *OF_TODAY}
    assert {title: len(blocks) for title, blocks in questions().items()} == {
        title: len(ANSWERS.get(title, [None])) for title in questions()
    }


@pytest.fixture(scope="module")
def asked(clickhouse_embedded: Embedded) -> Iterator[Reader]:
    address = clickhouse_embedded.fresh()
    with closing(Writer(address)) as writer, closing(Reader(address)) as reader:
        store_calls(writer, CALLS)
        told = {"published_by": "ann", "note": "", "build": "t"}
        PRICES.publish(reader, writer, {"money": MONEY}, new_id=lambda: "p", pause=lambda: None, **told)
        yield reader


@pytest.mark.parametrize("title", ANSWERS)
def test_its_answer_is_what_was_worked_out_by_hand(asked: Reader, title: str) -> None:
    found = [asked.frame(sql.replace("'2026-", "'2099-")).rows() for sql in questions()[title]]
    assert found == ANSWERS[title]


def test_what_is_asked_of_today_is_of_today(address: ClickHouseAddress) -> None:
    compared, month = (questions()[title][0] for title in OF_TODAY)
    with closing(Writer(address)) as writer, closing(Reader(address)) as reader:
        today = datetime.now(UTC).date()
        noon = datetime.combine(today, datetime.min.time(), tzinfo=UTC)
        ages = {"today": 0, "yesterday": 1, "unpriced": 1, "before": 2, "older": 3, "oldest": 40}
        calls = [
            {
                "request_id": name,
                "occurred_at": noon - timedelta(days=age),
                "user_id": "u",
                "cost_pico": None if name == "unpriced" else (number + 1) * CENT,
                "cost_status": "unpriced" if name == "unpriced" else "priced",
                "source_offset": number,
            }
            for number, (name, age) in enumerate(ages.items())
        ]
        store_calls(writer, calls)
        of_days = reader.frame(compared).rows()
        of_month = reader.frame(month).rows()
    if datetime.now(UTC).date() != today:
        pytest.fail("midnight passed between storing and asking: run it again")
    assert of_days == [(cents(2), cents(4), cents(-2), 1)]
    inside = [each for each in calls if each["occurred_at"].date().replace(day=1) == today.replace(day=1)]
    unpriced = sum(each["cost_pico"] is None for each in inside)
    assert of_month == [(len(inside), Decimal(sum(each["cost_pico"] or 0 for each in inside)).scaleb(-12), unpriced)]


# --- the catalogue ---------------------------------------------------------------------------------------------------


def test_the_page_names_every_view_and_column_that_the_engine_has(address: ClickHouseAddress) -> None:
    with closing(Reader(address)) as reader:
        columns = reader.frame(
            "SELECT table, name, type, comment FROM system.columns WHERE database = currentDatabase() AND table IN "
            "(SELECT name FROM system.tables WHERE database = currentDatabase() AND engine = 'View') ORDER BY ALL"
        ).rows()
        views = dict(
            reader.frame(
                "SELECT name, comment FROM system.tables WHERE database = currentDatabase() AND engine = 'View'"
            ).iter_rows()
        )
    told = {view.name: view for view in catalogue.views()}
    assert {name: view.comment for name, view in told.items()} == views
    plain = [view for view in told.values() if any(row[0] == view.name for row in columns)]
    assert len(plain) > 25
    assert sorted((v.name, c.name, c.type, c.comment) for v in plain for c in v.columns) == columns
    assert all(c.comment for view in told.values() for c in view.columns)
    with_parameters = set(told) - {view.name for view in plain}
    assert with_parameters == {name for name in told if name.endswith("_between")} | OTHERS.keys()


def test_a_view_with_parameters_has_the_columns_that_it_says(asked: Reader) -> None:
    """As the sentence says that is told where one is missing."""
    asked_for = [view for view in catalogue.views() if view.name.endswith("_between") or view.name in OTHERS]
    for view in asked_for:
        example = OTHERS.get(view.name, SPAN).replace("2026", "2099")
        assert asked.frame(f"SELECT * FROM {view.name}{example}").columns == [each.name for each in view.columns]


def test_the_page_is_current() -> None:
    current = catalogue.PAGE.read_text()
    assert catalogue.page(current) == current, "`make schemas` writes it"
