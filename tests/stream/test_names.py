"""The names by which events are stored: those of the book, each pair asked for once, and a repeat under its call's."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from costream.pricing import PriceBook
from stream.pricing import StoredNames, named, names
from tests.support.price_tables import AS_SENT, BUILDS
from tests.support.properties import examples
from tests.support.records import NOW

PAIR = st.tuples(st.sampled_from(["openai", "OpenAI", "google-gla"]), st.sampled_from(["gpt-4o-mini", "GPT-4o-mini"]))


def sent(pairs: Sequence[tuple[str, str]]) -> pl.DataFrame:
    frame = pl.DataFrame(pairs, schema={"provider": pl.String, "model": pl.String}, orient="row")
    ids = [f"r-{n}" for n in range(len(pairs))]
    return frame.with_columns(pl.Series("request_id", ids, pl.String), occurred_at=pl.lit(NOW))


@examples(100)
@given(st.lists(PAIR, max_size=20), st.sampled_from([AS_SENT, *BUILDS]))
def test_a_row_has_the_names_of_the_book_and_what_was_sent_where_that_is_another(
    pairs: list[tuple[str, str]], book: PriceBook
) -> None:
    frame = named(sent(pairs), book)
    assert frame["request_id"].to_list() == [f"r-{n}" for n in range(len(pairs))]
    assert frame.select("provider", "model").rows() == [book.canonical(*pair) for pair in pairs]
    whole = [
        (provider_sent or provider, model_sent or model)
        for provider, model, provider_sent, model_sent in frame.select(*names.NAMES, *names.SENT).iter_rows()
    ]
    assert whole == pairs
    for name, other in zip(names.NAMES, names.SENT, strict=True):
        assert frame.filter(pl.col(name) == pl.col(other)).is_empty()


def test_a_batch_asks_for_each_pair_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = list[tuple[str, ...]]()
    monkeypatch.setattr(PriceBook, "canonical", lambda _book, *pair: asked.append(pair) or pair)
    named(sent([("openai", "a"), ("openai", "b"), ("openai", "a")] * 100), PriceBook.bundled())
    assert sorted(asked) == [("openai", "a"), ("openai", "b")]


class Rows:
    """Stored rows by id, with the names that they have; and which ids were asked for."""

    def __init__(self, stored: pl.DataFrame) -> None:
        self.stored, self.asked = stored, list[str]()

    def find(self, request_ids: Sequence[str], hours: Sequence[datetime]) -> pl.DataFrame:
        assert len(hours) == len(request_ids)
        self.asked += request_ids
        return self.stored.filter(pl.col("request_id").is_in(list(request_ids)))


def stored_by(book: PriceBook, frame: pl.DataFrame) -> pl.DataFrame:
    kept = named(frame, book).select(provider_stored="provider", model_stored="model")
    return frame.hstack(kept)


def names_by(book: PriceBook, rows: Rows) -> StoredNames:
    known = StoredNames(find_stored=rows.find)
    known.go_by(book)
    return known


def test_repeats_of_what_another_build_stored_are_counted_under_its_names_and_only_these_are_asked_for() -> None:
    frame = sent([("openai", "gpt-4o-mini"), ("google-gla", "gpt-4o-mini"), ("OpenAI", "x"), ("google-gla", "x")])
    rows = Rows(stored_by(BUILDS[1], frame[:3]))
    known = names_by(BUILDS[0], rows)
    known.note(rows.stored)
    told = known.of_repeats(frame)
    assert told.select("provider", "model").rows() == [
        ("openai", "gpt-4o-mini"),
        ("gcp", "gpt-4o-mini"),
        ("openai", "x"),
        ("google", "x"),  # a pair of which nothing is stored: its call is in this very batch
    ]
    assert rows.asked == ["r-1", "r-2"]
    known.forget()
    known.go_by(BUILDS[0])
    assert known.of_repeats(frame)["provider"].to_list() == ["openai", "google", "OpenAI", "google"]


def test_a_repeat_of_a_call_in_the_same_batch_has_the_names_of_this_build() -> None:
    frame = sent([("google-gla", "x")])
    known = names_by(BUILDS[0], Rows(stored_by(BUILDS[1], frame).clear()))
    known.note(stored_by(BUILDS[1], frame))
    assert known.of_repeats(frame)["provider"].to_list() == ["google"]


@pytest.mark.parametrize("is_stored", [False, True])
def test_a_repeat_of_a_call_that_was_named_by_an_earlier_book_of_this_worker_has_its_names(is_stored: bool) -> None:
    """Own prices may be published while a worker runs, and an entry for one spelling alone changes a name."""
    calls = sent([("google-gla", "x"), ("openai", "GPT-4o-mini"), ("openai", "x")])
    rows = Rows(stored_by(BUILDS[0], calls[:0]))
    known = names_by(BUILDS[0], rows)
    known.keep(known.of_calls(calls), flush=1)
    if is_stored:
        rows.stored = stored_by(BUILDS[0], calls)
        known.settle(1)
    known.go_by(BUILDS[1])
    told = known.of_repeats(calls)
    assert told.select("provider", "model").rows() == [("google", "x"), ("openai", "gpt-4o-mini"), ("openai", "x")]
    assert rows.asked == ["r-0", "r-1"]


def test_beyond_the_pairs_that_are_remembered_every_repeat_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "PAIRS_MAX", 2)
    frame = sent([("google-gla", f"m-{n}") for n in range(3)])
    rows = Rows(stored_by(BUILDS[1], frame))
    known = names_by(BUILDS[0], rows)
    known.note(rows.stored[:2])
    known.of_repeats(frame[2:])
    assert rows.asked == []
    known.note(rows.stored)
    assert known.of_repeats(frame)["provider"].to_list() == ["gcp"] * 3
    assert known.of_repeats(sent([("openai", "x")]))["provider"].to_list() == ["openai"]
    assert len(rows.asked) == 4


def test_beyond_the_pairs_that_are_remembered_another_book_makes_every_repeat_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(names, "PAIRS_MAX", 2)
    frame = sent([("google-gla", f"m-{n}") for n in range(3)])
    rows = Rows(stored_by(BUILDS[0], frame))
    known = names_by(BUILDS[0], rows)
    known.of_calls(frame)
    known.of_repeats(frame)
    assert rows.asked == []
    known.go_by(BUILDS[1])
    assert known.of_repeats(frame)["provider"].to_list() == ["google"] * 3


@pytest.mark.parametrize("book", [AS_SENT, *BUILDS])
def test_no_repeat_is_asked_for_where_this_build_has_named_all_that_is_stored(book: PriceBook) -> None:
    frame = sent([("openai", "gpt-4o-mini"), ("google-gla", "GPT-4o-mini"), ("OpenAI", "x")])
    rows = Rows(stored_by(book, frame))
    known = names_by(book, rows)
    known.note(rows.stored)
    known.go_by(book)
    known.of_repeats(frame)
    assert rows.asked == []
