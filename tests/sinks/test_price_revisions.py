"""Own prices as numbered revisions in the warehouse: whole, never changed, and the same for whoever asks."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import polars as pl
import pytest

from sinks.clickhouse import price_revisions as revisions
from sinks.clickhouse.price_revisions import Revision
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.writer import Writer


@pytest.fixture
def publish(reader: Reader, writer: Writer) -> Iterator[Any]:
    numbers = count()

    def publish(files: dict[str, str], *, before: Any = None, meanwhile: Any = lambda: None, **named: str) -> Revision:
        told = {"published_by": "ada", "note": "", "build": "t"} | named

        def new_id() -> str:
            if before is not None and (attempt := next(numbers)) == 0:
                before(attempt)
            return f"p-{next(numbers)}"

        return revisions.publish(reader, writer, files, new_id=new_id, pause=meanwhile, **told)

    yield publish


def test_before_anything_is_published_there_is_no_revision(reader: Reader) -> None:
    assert revisions.newest(reader) is None
    assert revisions.numbered(reader, 1) is None
    assert revisions.revisions(reader) == []


def test_a_revision_is_read_as_it_was_published_and_the_greatest_number_is_in_force(
    publish: Any, reader: Reader
) -> None:
    files = {"b.toml": "# later\n", "a.toml": "price = 'x\\'\n\t\u00fc'"}
    first = publish(files, note="the first \u2013 it's \\ ours", published_by="\u00c5sa")
    second = publish({})
    assert (first.number, second.number) == (1, 2)
    assert list(first.files.items()) == list(files.items()), "in their order: of two prices the later file's wins"
    assert (first.published_by, first.note, first.build) == ("\u00c5sa", "the first \u2013 it's \\ ours", "t")
    assert revisions.newest(reader) == second
    assert revisions.numbered(reader, 1) == first
    assert revisions.newest(reader, above=1) == second
    assert revisions.newest(reader, above=2) is None
    assert revisions.revisions(reader) == [second, first]
    assert first.published_at < second.published_at
    assert first.published_at.utcoffset() is not None


def test_of_two_publications_at_the_same_time_each_has_a_number_of_its_own(publish: Any, reader: Reader) -> None:
    """The other one publishes between this one's question for the number and its insert."""
    others: list[Revision] = []
    mine = publish({"mine": "1"}, before=lambda _: others.append(publish({"theirs": "1"})))
    assert [others[0].number, mine.number] == [1, 2]
    assert [one.files for one in revisions.revisions(reader)] == [{"mine": "1"}, {"theirs": "1"}]
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
    assert publish({"mine": "1"}, meanwhile=arrive).number == 2
    assert [one.publication for one in revisions.revisions(reader)][1] == "theirs"


def test_the_view_shows_no_text_of_a_file(publish: Any, reader: Reader) -> None:
    publish({"rates.toml": "a secret of ours"})
    (row,) = reader.frame("SELECT * FROM price_revisions").to_dicts()
    assert row["file_names"] == ["rates.toml"]
    assert "a secret of ours" not in repr(row)


def test_the_same_files_have_the_same_digest_and_others_or_another_order_have_not() -> None:
    files = {"a": "1", "b": "2"}
    assert revisions.digest_of(files) == revisions.digest_of(dict(files))
    others = [{}, {"a": "1"}, {"a": "2", "b": "1"}, {"b": "2", "a": "1"}, {"a": "1", "c": "2"}]
    assert len({revisions.digest_of(one) for one in [files, *others]}) == 6
