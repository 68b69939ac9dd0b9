"""The rows of a rollup in memory: each is found by all 128 bits of its key."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from stream.rollup import rows as pieces
from stream.rollup.rows import HashSet, RowStore

SCHEMA = pl.Schema({"high": pl.UInt64, "low": pl.UInt64, "calls": pl.Int64})


def keyed(*keys: tuple[int, int]) -> pl.DataFrame:
    return pl.DataFrame(keys, schema={"high": pl.UInt64, "low": pl.UInt64}, orient="row")


def calls_of(store: RowStore, *keys: tuple[int, int]) -> dict[int, int]:
    """What was found, by which key it answers."""
    return dict(store.find(keyed(*keys)).rows.select("at", "calls").iter_rows())


@pytest.fixture
def store() -> RowStore:
    """Three keys share the first 64 bits, and one neighbour on each side has others."""
    store = RowStore(SCHEMA)
    keys = keyed((4, 1), (5, 1), (5, 2), (5, 3), (6, 1))
    store.put(keys.with_columns(calls=pl.Series([40, 10, 20, 30, 60])), 1)
    return store


def test_keys_that_share_their_first_64_bits_are_told_apart_by_the_others(store: RowStore) -> None:
    assert calls_of(store, (5, 3), (5, 1), (5, 2), (6, 1), (4, 1)) == {0: 30, 1: 10, 2: 20, 3: 60, 4: 40}


def test_a_key_that_shares_only_half_of_its_bits_with_another_is_not_found(store: RowStore) -> None:
    assert calls_of(store, (5, 4), (6, 2), (7, 1), (3, 1)) == {}


def test_a_row_that_is_forgotten_does_not_hide_the_next_of_the_same_first_64_bits(store: RowStore) -> None:
    store.find(keyed((5, 1))).forget()
    assert calls_of(store, (5, 1), (5, 2), (5, 3)) == {1: 20, 2: 30}
    assert len(store) == 4


def test_of_the_rows_that_are_kept_at_most_a_quarter_is_forgotten_ones() -> None:
    store = RowStore(SCHEMA)
    many = keyed(*((at, at) for at in range(1_000))).with_columns(calls=pl.lit(1, pl.Int64))
    store.put(many, 0)
    for batch in range(1, 30):
        some = many[batch * 30 : batch * 30 + 30]
        store.find(some).forget()
        store.put(some, batch)
        assert len(store) == 1_000
        assert sum(len(piece.live) for piece in store._pieces) <= 1_000 / 0.75


def test_a_piece_is_written_anew_only_when_more_than_a_quarter_of_it_is_forgotten() -> None:
    """A batch costs what it touches, and not what lies beside that."""
    store = RowStore(SCHEMA)
    four = keyed((1, 1), (2, 1), (3, 1), (4, 1)).with_columns(calls=pl.lit(1, pl.Int64))
    store.put(four, 1)
    (piece,) = store._pieces
    for number, is_kept in ((0, True), (1, False)):
        store.find(four[number : number + 1]).forget()
        store.put(four[number : number + 1], 2)
        assert (store._pieces[0] is piece) is is_kept
    assert len(store._pieces[0].live) == 2
    assert calls_of(store, (1, 1), (2, 1), (3, 1), (4, 1)) == {0: 1, 1: 1, 2: 1, 3: 1}


@pytest.mark.parametrize(("rows", "is_packed"), [(2, False), (3, True)])
def test_a_piece_is_packed_from_so_many_rows_on_that_it_saves_something(
    monkeypatch: pytest.MonkeyPatch, rows: int, *, is_packed: bool
) -> None:
    """As a batch left it, and when it is written anew without what was forgotten."""
    monkeypatch.setattr(pieces, "PACKED_MIN", 3)
    store = RowStore(SCHEMA)
    many = keyed(*((at, at) for at in range(rows + 2))).with_columns(calls=pl.lit(7, pl.Int64))
    store.put(many[:rows], 1)
    assert isinstance(store._pieces[0].rows, pieces._Packed) is is_packed
    store = RowStore(SCHEMA)
    store.put(many, 1)
    store.find(many[:2]).forget()
    store.put(many[:1], 2)
    assert isinstance(store._pieces[0].rows, pieces._Packed) is is_packed
    assert len(store._pieces[0].live) == rows


def test_rows_that_were_read_back_are_the_first_to_go(store: RowStore) -> None:
    store.put(keyed((7, 1)).with_columns(calls=pl.lit(70)), 2)
    store.put(keyed((8, 1), (9, 1)).with_columns(calls=pl.lit(80)), 0, oldest=True)
    gone = [store.take_oldest(1, stored=1) for _ in range(8)]
    assert [None if rows is None else rows["high"].item() for rows in gone] == [8, 9, 4, 5, 5, 5, 6, None]
    assert len(store) == 1, "what is not stored stays"
    assert store.take_oldest(5, stored=2) is not None
    assert len(store) == 0


@pytest.mark.parametrize("count", [1, 3])
def test_a_look_up_searches_few_pieces_however_many_hashes_were_let_go_one_by_one(count: int) -> None:
    hashes = HashSet()
    for at in range(1_000):
        hashes.add(np.arange(at * count, (at + 1) * count, dtype=np.uint64))
    assert len(hashes) == 1_000 * count
    assert len(hashes._pieces) <= 12
    assert hashes.has(np.arange(1_000 * count + 5, dtype=np.uint64)).tolist() == [True] * 1_000 * count + [False] * 5


def test_a_set_that_takes_every_hash_for_one_of_its_own_keeps_none() -> None:
    hashes = HashSet()
    hashes.add(np.array([1, 2], dtype=np.uint64))
    hashes.forget()
    hashes.add(np.array([3], dtype=np.uint64))
    assert (len(hashes), bool(hashes), hashes.has(np.array([9], dtype=np.uint64)).tolist()) == (0, True, [True])
