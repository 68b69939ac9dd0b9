"""What the consumer's thread makes of Kafka's words: a refusal by the ACL that is missing, ends, what is withheld."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from aiokafka.errors import GroupAuthorizationFailedError, KafkaConnectionError, TopicAuthorizationFailedError

from stream.fetching import _end, _withheld, refusal


def told_by_broker(*, lso: int | None, highwater: int | None) -> SimpleNamespace:
    return SimpleNamespace(lso=lso, highwater=highwater)


def test_a_refused_group_is_told_by_the_acl_that_would_allow_it() -> None:
    told = refusal(GroupAuthorizationFailedError("g"), group="costream")
    assert isinstance(told, PermissionError)
    assert "grant `Read on group costream`" in str(told)


@pytest.mark.parametrize(
    ("named", "told"),
    [(("usage.events",), "usage.events"), ((["a", "b"],), "a, b"), (({"a"},), "a"), ((), "")],
    ids=["one", "several", "a set", "none"],
)
def test_refused_topics_are_told_by_name_in_whatever_form_the_client_gives_them(
    named: tuple[object, ...], told: str
) -> None:
    error = refusal(TopicAuthorizationFailedError(*named))
    assert isinstance(error, PermissionError)
    assert f"grant `Read on topic {told}`" in str(error)


def test_what_is_no_refusal_stays_what_it_is() -> None:
    error = KafkaConnectionError("away")
    assert refusal(error) is error


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
