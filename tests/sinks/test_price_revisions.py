"""Own prices as numbered revisions in the warehouse: whole, never changed, and the same for whoever asks."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from itertools import count
from typing import Any

import polars as pl
import pytest

from sinks.clickhouse.price_revisions import PRICES, tell_money
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.revisions import Revision, digest_of
from sinks.clickhouse.writer import Writer

MINE, THEIRS = {"mine": "price = []"}, {"theirs": "price = []"}


@pytest.fixture
def publish(reader: Reader, writer: Writer) -> Iterator[Any]:
    numbers = count()

    def publish(files: dict[str, str], *, before: Any = None, meanwhile: Any = lambda: None, **named: str) -> Revision:
        told = {"published_by": "ada", "note": "", "build": "t"} | named

        def new_id() -> str:
            if before is not None and (attempt := next(numbers)) == 0:
                before(attempt)
            return f"p-{next(numbers)}"

        return PRICES.publish(reader, writer, files, new_id=new_id, pause=meanwhile, **told)

    yield publish


def test_before_anything_is_published_there_is_no_revision(reader: Reader) -> None:
    assert PRICES.newest(reader) is None
    assert PRICES.numbered(reader, 1) is None
    assert PRICES.all(reader) == []


def test_a_revision_is_read_as_it_was_published_and_the_greatest_number_is_in_force(
    publish: Any, reader: Reader
) -> None:
    files = {"b.toml": "price = []  # later\n", "a.toml": "price = []\n\t# it's \\ \u00fc"}
    first = publish(files, note="the first \u2013 it's \\ ours", published_by="\u00c5sa")
    second = publish({})
    assert (first.number, second.number) == (1, 2)
    assert list(first.files.items()) == list(files.items()), "in their order: of two prices the later file's wins"
    assert (first.published_by, first.note, first.build) == ("\u00c5sa", "the first \u2013 it's \\ ours", "t")
    assert PRICES.newest(reader) == second
    assert PRICES.numbered(reader, 1) == first
    assert PRICES.newest(reader, above=1) == second
    assert PRICES.newest(reader, above=2) is None
    assert PRICES.all(reader) == [second, first]
    assert first.published_at < second.published_at
    assert first.published_at.utcoffset() is not None


def test_of_two_publications_at_the_same_time_each_has_a_number_of_its_own(publish: Any, reader: Reader) -> None:
    """The other one publishes between this one's question for the number and its insert."""
    others: list[Revision] = []
    mine = publish(MINE, before=lambda _: others.append(publish(THEIRS)))
    assert [others[0].number, mine.number] == [1, 2]
    assert [one.files for one in PRICES.all(reader)] == [MINE, THEIRS]
    stored = reader.frame("SELECT revision FROM price_revisions ORDER BY revision")["revision"].to_list()
    assert stored == [1, 2]


def test_an_insert_that_began_earlier_and_came_later_has_the_number(
    publish: Any, reader: Reader, writer: Writer
) -> None:
    def arrive() -> None:
        if not others:
            row = reader.frame("SELECT * FROM price_revisions_rows")
            early = row.with_columns(pl.col("published_at").dt.offset_by("-1s"), publication=pl.lit("theirs"))
            others.append(writer.insert("price_revisions", early))

    others: list[int] = []
    assert publish(MINE, meanwhile=arrive).number == 2
    assert [one.publication for one in PRICES.all(reader)][1] == "theirs"


def test_the_view_shows_no_text_of_a_file(publish: Any, reader: Reader) -> None:
    publish({"rates.toml": "price = []  # a secret of ours"})
    (row,) = reader.frame("SELECT * FROM price_revisions").to_dicts()
    assert row["file_names"] == ["rates.toml"]
    assert "a secret of ours" not in repr(row)


def test_the_same_files_have_the_same_digest_and_others_or_another_order_have_not() -> None:
    files = {"a": "1", "b": "2"}
    assert digest_of(files) == digest_of(dict(files))
    others = [{}, {"a": "1"}, {"a": "2", "b": "1"}, {"b": "2", "a": "1"}, {"a": "1", "c": "2"}]
    assert len({digest_of(one) for one in [files, *others]}) == 6


# --- what money is worth ---------------------------------------------------------------------------------------------


MONEY = """
[[exchange_rate]]
currency = "KRW"
per_usd = "1400.5"
valid_from = 2026-11-01
source = "the bank"

[[exchange_rate]]
currency = "EUR"
per_usd = "0.9"
source = "ours, in place of the one that is shipped"

[[credit_price]]
price = "10"
currency = "KRW"
valid_from = 2026-11-01
source = "the price list"

[[feature_credits]]
feature = "chat"
credits = "2.5"
valid_from = 2026-11-02
valid_to = 2026-12-01
"""
BEGINNING = date(1970, 1, 1)
SHIPPED = "shipped with costream, without a date"


def rates(reader: Reader) -> list[tuple[Any, ...]]:
    return reader.frame("SELECT * FROM exchange_rates ORDER BY currency, first_day").rows()


def test_rates_that_are_shipped_are_in_the_warehouse_before_anything_is_published(reader: Reader) -> None:
    assert rates(reader) == [
        ("CNY", BEGINNING, Decimal("7.24"), SHIPPED, 0),
        ("EUR", BEGINNING, Decimal("0.92"), SHIPPED, 0),
        ("GBP", BEGINNING, Decimal("0.79"), SHIPPED, 0),
        ("JPY", BEGINNING, Decimal("149.5"), SHIPPED, 0),
        ("USD", BEGINNING, Decimal(1), "one USD is one USD", 0),
    ]
    assert reader.frame("SELECT * FROM credit_prices").is_empty()
    assert reader.frame("SELECT * FROM feature_credits").is_empty()


def test_money_of_the_revision_in_force_can_be_joined(publish: Any, reader: Reader) -> None:
    publish({"money": MONEY})
    assert rates(reader)[1:4] == [
        ("EUR", BEGINNING, Decimal("0.9"), "ours, in place of the one that is shipped", 1),
        ("GBP", BEGINNING, Decimal("0.79"), SHIPPED, 0),
        ("JPY", BEGINNING, Decimal("149.5"), SHIPPED, 0),
    ]
    assert rates(reader)[4] == ("KRW", date(2026, 11, 1), Decimal("1400.5"), "the bank", 1)
    (price,) = reader.frame("SELECT * FROM credit_prices").rows()
    assert price == (date(2026, 11, 1), Decimal(10), "KRW", Decimal("1400.5"), Decimal("0.007140307033"))
    assert reader.frame("SELECT * FROM feature_credits").rows() == [
        ("chat", date(2026, 11, 2), Decimal("2.5")),
        ("chat", date(2026, 12, 1), None),
    ]
    publish({})
    assert [currency for currency, *_ in rates(reader)] == ["CNY", "EUR", "GBP", "JPY", "USD"]
    assert reader.frame("SELECT * FROM credit_prices").is_empty()


def test_a_credit_has_a_price_in_usd_from_where_its_currency_has_a_rate_and_another_with_each_rate(
    publish: Any, reader: Reader
) -> None:
    later = MONEY.replace(
        'valid_from = 2026-11-01\nsource = "the price', 'valid_from = 2026-10-01\nsource = "the price'
    )
    publish({"money": later + MONEY.partition("[[exch")[1] + MONEY.split("[[exch")[1].replace("11-01", "12-01")})
    found = reader.frame("SELECT first_day, per_usd FROM credit_prices").rows()
    assert found == [
        (date(2026, 10, 1), None),
        (date(2026, 11, 1), Decimal("1400.5")),
        (date(2026, 12, 1), Decimal("1400.5")),
    ]


def test_a_revision_of_a_release_that_told_no_money_is_told_by_migrate_up(
    publish: Any, reader: Reader, writer: Writer
) -> None:
    first = publish({"money": MONEY}, note="before")
    row = reader.frame("SELECT * FROM price_revisions_rows").with_columns(money_told=pl.lit(0, pl.UInt8))
    columns = [name for name in row.columns if name not in ("exchange_rates", "credit_prices", "feature_credits")]
    writer.insert("price_revisions", row.select(columns))
    assert "KRW" not in [currency for currency, *_ in rates(reader)]
    assert tell_money(reader, writer) == [1]
    assert "KRW" in [currency for currency, *_ in rates(reader)]
    assert PRICES.newest(reader) == first
    assert tell_money(reader, writer) == []
