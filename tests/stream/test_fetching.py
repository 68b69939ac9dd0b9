"""What the consumer's thread makes of Kafka's words: where a log ends, and what of it is withheld."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from stream.consume.fetching import _end, _withheld


def told_by_broker(*, lso: int | None, highwater: int | None) -> SimpleNamespace:
    return SimpleNamespace(lso=lso, highwater=highwater)


@pytest.mark.parametrize(
    ("lso", "highwater", "end", "withheld"),
    [
        (7, 10, 7, 3),  # behind a transaction that is still open
        (10, 10, 10, 0),
        (0, 10, 0, 10),  # the transaction was the first in the log
        (-1, 10, 10, 0),  # a broker that knows no transactions
        (None, 10, 10, 0),
        (None, None, None, 0),  # nothing was fetched yet
        (12, 10, 12, 0),  # the two answers are of different moments
    ],
)
def test_a_log_ends_before_the_first_open_transaction_and_the_rest_is_withheld(
    lso: int | None, highwater: int | None, end: int | None, withheld: int
) -> None:
    state = told_by_broker(lso=lso, highwater=highwater)
    assert (_end(state), _withheld(state)) == (end, withheld)
