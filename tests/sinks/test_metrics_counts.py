"""What the counters count: each call once, exactly, and never so many series that a metrics store dies of them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sinks.metrics import counts as counting
from sinks.metrics.counts import KEPT, MODELS_MAX, OTHER, TASK_TYPES_MAX, TOKENS_AT_MOST, Counts, counts_of, stored_text
from sinks.metrics.families import Gauges, families
from tests.support.properties import examples

TODAY = date(2026, 11, 30)
MORNING = datetime(2026, 11, 30, 6, tzinfo=UTC)
USUAL = {
    "provider": "openai",
    "model": "gpt-4o",
    "task_type": "chat",
    "user_id": "ann",
    "status": "ok",
    "at": 0,
    "cost_usd": Decimal("0.000000000001"),
    "tokens": 10,
}
KINDS = {
    **dict.fromkeys(("provider", "model", "task_type", "user_id", "status"), pl.String()),
    "first_at": pl.Datetime("ms", "UTC"),
    "calls": pl.Int64(),
    "priced_calls": pl.Int64(),
    "cost_usd": pl.Decimal(38, 12),
    "token_calls": pl.Int64(),
    "tokens": pl.Int64(),
    "at_most": pl.List(pl.Int64),
}


def calls(*given: Mapping[str, Any]) -> pl.DataFrame:
    """A row for each call, of which the test names what it is about. ``at`` is in seconds of the day."""
    whole = [USUAL | dict(call) for call in given]
    rows = [
        {name: call[name] for name in ("provider", "model", "task_type", "user_id", "status")}
        | {
            "first_at": MORNING + timedelta(seconds=call["at"]),
            "calls": 1,
            "priced_calls": int(call["cost_usd"] is not None),
            "cost_usd": call["cost_usd"] or Decimal(0),
            "token_calls": int(call["tokens"] is not None),
            "tokens": call["tokens"] or 0,
            "at_most": [int(call["tokens"] is not None and call["tokens"] <= edge) for edge in TOKENS_AT_MOST],
        }
        for call in whole
    ]
    return pl.DataFrame(rows, schema=KINDS)


def counted(*given: Mapping[str, Any], before: Counts | None = None, day: date = TODAY, users_max: int = 2) -> Counts:
    return (before or Counts()).plus(calls(*given), day=day, users_max=users_max)


def costs(counts: Counts) -> dict[str, Decimal]:
    """By user."""
    found: dict[str, Decimal] = defaultdict(Decimal)
    for labels, count in counts.cost_usd.items():
        found[labels[3]] += count.value
    return dict(found)


# --- each call once, exactly ------------------------------------------------------------------------------------------

CALLS = st.fixed_dictionaries(
    {
        "provider": st.sampled_from(["openai", "acme"]),
        "model": st.sampled_from(["a", "b"]),
        "task_type": st.sampled_from(["", "chat", "code"]),
        "user_id": st.sampled_from(["", "ann", "bob", "cyd", OTHER]),
        "status": st.sampled_from(["ok", "error"]),
        "at": st.integers(0, 5),
        "cost_usd": st.none() | st.decimals(0, 999_999, places=12),
        "tokens": st.none() | st.sampled_from([0, *TOKENS_AT_MOST, *(edge + 1 for edge in TOKENS_AT_MOST), 10**9]),
    }
)


@examples(100)
@given(parts=st.lists(st.lists(CALLS, max_size=8), max_size=5), users_max=st.integers(0, 3), data=st.data())
def test_the_counts_are_a_plain_recount_however_the_calls_come(
    parts: Sequence[Sequence[Mapping[str, Any]]], users_max: int, data: st.DataObject
) -> None:
    """In parts, kept as text in between as for another worker, and with users told apart or not."""
    counts = Counts()
    for part in parts:
        before = counts
        counts = counted(*part, before=counts, users_max=users_max)
        for series in ("cost_usd", "calls"):
            grown, told = getattr(counts, series), getattr(before, series)
            assert all(grown[labels].value >= count.value for labels, count in told.items())
        if data.draw(st.booleans()):
            counts = counts_of(stored_text(counts))
    every = [USUAL | dict(call) for part in parts for call in part]

    cost: dict[tuple[str, ...], Decimal] = defaultdict(Decimal)
    for call in every:
        if call["cost_usd"] is not None:
            cost[call["provider"], call["model"], call["task_type"]] += call["cost_usd"]
    found: dict[tuple[str, ...], Decimal] = defaultdict(Decimal)
    for labels, count in counts.cost_usd.items():
        found[labels[:3]] += count.value
    assert found == cost
    assert {labels[3] for labels in counts.cost_usd} <= {"", OTHER, *counts.users}
    assert len(counts.users) <= users_max

    assert {labels: count.value for labels, count in counts.calls.items()} == Counter(
        (call["provider"], call["model"], call["status"]) for call in every
    )
    known: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for call in every:
        if call["tokens"] is not None:
            known[call["provider"], call["model"]].append(call["tokens"])
    assert {labels: count.value for labels, count in counts.tokens.items()} == {
        labels: (tuple(sum(one <= edge for one in tokens) for edge in TOKENS_AT_MOST), len(tokens), sum(tokens))
        for labels, tokens in known.items()
    }


@pytest.mark.parametrize(("at", "edge"), list(enumerate(TOKENS_AT_MOST)))
def test_a_call_with_as_many_tokens_as_an_edge_is_in_its_bucket_and_with_one_more_is_not(at: int, edge: int) -> None:
    (on,) = counted({"tokens": edge}).tokens.values()
    (above,) = counted({"tokens": edge + 1}).tokens.values()
    assert on.value.at_most == (0,) * at + (1,) * (len(TOKENS_AT_MOST) - at)
    assert above.value.at_most == (0,) * (at + 1) + (1,) * (len(TOKENS_AT_MOST) - at - 1)


def test_what_is_not_known_is_no_zero_and_a_call_that_costs_nothing_is_one() -> None:
    unknown = counted({"cost_usd": None, "tokens": None})
    assert (unknown.cost_usd, unknown.tokens, len(unknown.calls)) == ({}, {}, 1)
    free = counted({"cost_usd": Decimal(0), "tokens": 0})
    assert costs(free) == {"ann": Decimal(0)}
    assert [count.value.calls for count in free.tokens.values()] == [1]


# --- how many series --------------------------------------------------------------------------------------------------


def test_the_first_users_of_a_day_have_a_series_and_the_others_share_one() -> None:
    morning = counted({"user_id": "cyd", "at": 2}, {"user_id": "bob", "at": 1}, {"user_id": "ann", "at": 3})
    assert (morning.users, set(costs(morning))) == (("bob", "cyd"), {"bob", "cyd", OTHER})
    noon = counted({"user_id": "ann"}, {"user_id": "bob"}, before=morning)
    assert noon.users == morning.users
    assert {user: int(cost.scaleb(12)) for user, cost in costs(noon).items()} == {"bob": 2, "cyd": 1, OTHER: 2}


def test_of_users_that_came_at_once_the_one_whose_name_is_first_comes_first() -> None:
    assert counted(*({"user_id": name} for name in ("cyd", "ann", "bob"))).users == ("ann", "bob")


def test_each_day_has_first_users_of_its_own_and_who_comes_back_goes_on() -> None:
    yesterday = counted({"user_id": "ann"}, {"user_id": "bob"})
    today = counted({"user_id": "cyd"}, before=yesterday, day=TODAY + timedelta(days=1))
    assert today.users == ("cyd",)
    assert set(costs(today)) == {"ann", "bob", "cyd"}
    again = counted({"user_id": "bob", "at": 1}, {"user_id": "ann", "at": 2}, before=today, day=today.day)
    assert again.users == ("cyd", "bob")
    assert {user: int(cost.scaleb(12)) for user, cost in costs(again).items()} == {
        "ann": 1,
        "bob": 2,
        "cyd": 1,
        OTHER: 1,
    }


def test_a_clock_that_goes_back_begins_no_day_anew() -> None:
    today = counted({"user_id": "ann"}, {"user_id": "bob"})
    assert counted({"user_id": "cyd"}, before=today, day=TODAY - timedelta(days=1)).users == ("ann", "bob")


def test_a_call_without_a_user_needs_no_place() -> None:
    assert counted({"user_id": ""}, {"user_id": OTHER}).users == ()


def test_a_series_without_a_call_for_a_week_is_forgotten_and_begins_at_nothing_again() -> None:
    old = counted({"model": "old"})
    kept = counted({"model": "new"}, before=old, day=TODAY + KEPT)
    assert {labels[1] for labels in kept.calls} == {"old", "new"}
    gone = counted({"model": "new"}, before=kept, day=TODAY + KEPT + timedelta(days=1))
    for series in (gone.calls, gone.cost_usd, gone.tokens):
        assert {labels[1] for labels in series} == {"new"}
    back = counted({"model": "old"}, before=gone, day=gone.day)
    assert back.calls["openai", "old", "ok"].value == 1


def test_a_hundred_thousand_users_are_no_more_series_than_may_be() -> None:
    """Every digit of theirs is counted."""
    numbers = pl.int_range(100_000)
    one_each = calls({})[[0] * 100_000].with_columns(
        user_id=pl.format("u-{}", numbers), first_at=pl.lit(MORNING) + pl.duration(seconds=numbers // 10)
    )
    counts = Counts().plus(one_each, day=TODAY, users_max=100)
    assert len(counts.cost_usd) == 101
    assert counts.users[:3] == ("u-0", "u-1", "u-2")
    assert sum(costs(counts).values()) == Decimal("0.000000100000")


def test_models_and_task_types_beyond_their_bounds_are_others() -> None:
    models = counted(*({"model": f"m-{number:03}", "at": number} for number in range(MODELS_MAX + 5)))
    assert models.calls[OTHER, OTHER, "ok"].value == 5
    assert len(models.calls) == len(models.tokens) == MODELS_MAX + 1
    again = counted({"model": "m-000"}, {"model": "m-204"}, before=models)
    assert again.calls[OTHER, OTHER, "ok"].value == 6
    tasks = counted(*({"task_type": f"t-{number:03}", "at": number} for number in range(TASK_TYPES_MAX + 5)))
    assert len({labels[2] for labels in tasks.cost_usd}) == TASK_TYPES_MAX + 1


def test_there_are_never_more_series_than_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """First users lose theirs, then all that is new does."""
    monkeypatch.setattr(counting, "SERIES_MAX", 5)
    monkeypatch.setattr(counting, "SERIES_OF_USERS_MAX", 2)
    users = counted(*({"user_id": f"u-{number}", "at": number} for number in range(4)), users_max=9)
    assert set(costs(users)) == {"u-0", "u-1", OTHER}
    all_told = counted(*({"user_id": "", "model": f"m-{number}"} for number in range(9)), before=users, users_max=9)
    assert set(all_told.cost_usd) > {(OTHER, OTHER, OTHER, "")}
    assert len(all_told.cost_usd) == 6
    again = counted(*({"model": f"m-{number}"} for number in range(9)), before=all_told, users_max=9)
    assert set(again.cost_usd) - set(all_told.cost_usd) == {(OTHER,) * 4}
    assert sum(costs(again).values()) == Decimal("0.000000000022")


def test_no_two_series_are_the_same_where_users_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prometheus would take nothing of such a page."""
    monkeypatch.setattr(counting, "SERIES_MAX", 3)
    monkeypatch.setattr(counting, "MODELS_MAX", 4)
    monkeypatch.setattr(counting, "TASK_TYPES_MAX", 1)
    calls_of_all = [{"model": f"m-{at}", "task_type": f"t-{at}", "user_id": f"u-{at}", "at": at} for at in range(8)]
    counts = counted(*calls_of_all, before=counted(*calls_of_all).without_users(), users_max=0)
    samples = families(counts, Gauges(), by_user=False)[0].samples
    assert len({tuple(sample.labels.items()) for sample in samples}) == len([*samples]) == 3


def test_where_users_are_not_told_apart_any_more_nothing_is_lost() -> None:
    merged = counted({"user_id": "ann"}, {"user_id": "bob"}, {"user_id": ""}, {"user_id": "cyd"}).without_users()
    assert (merged.users, costs(merged)) == ((), {"": Decimal("0.000000000004")})
    assert costs(counted({"user_id": "dee"}, before=merged, users_max=0)) == {"": Decimal("0.000000000005")}


# --- what is kept -----------------------------------------------------------------------------------------------------


def test_a_text_that_is_none_of_ours_is_refused() -> None:
    for text in ("{}", '{"day": "2026-11-30", "users": [1], "cost_usd": [], "calls": [], "tokens": []}'):
        with pytest.raises(msgspec.ValidationError):
            counts_of(text)
