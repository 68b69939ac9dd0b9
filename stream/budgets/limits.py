"""Which new calls may be refused, and what of that is news: plain functions, with no Kafka, clock or network.

A limit begins where what a subject has spent reaches the share of its budget that ``refuse_at`` names. It ends with the
period, by the clock of whoever reads it. What ends it before is told: a correction, and rules that say otherwise. Of
what is not known (a day without an exchange rate, a sum that was not looked at) nothing is said, and what was said
stays.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from costream.alerts import RATIO_MAX
from costream.budgets import BudgetState, key_of
from stream.budgets.budget import COLUMNS, Budget, parts_of, subject_of
from stream.budgets.judge import amount_of, cut, is_over, span_of
from stream.budgets.periods import WHOLE_SESSION
from stream.budgets.spend import Account, PerUSD, Spend


@dataclass(frozen=True, slots=True)
class Reading:
    """What was found at one moment, by the rules in force. Its sums are whole; an account that is not among them was
    not looked at."""

    budgets: Sequence[Budget]
    revision: int
    sums: Mapping[Account, Spend]
    now: datetime


class News(NamedTuple):
    """A message for usage.budgets. Without a state nothing is to be known of its key any more."""

    key: bytes
    state: BudgetState | None


def news_of(reading: Reading, known: Mapping[bytes, BudgetState], *, per_usd: PerUSD) -> list[News]:
    """What has changed since ``known``, the states on the topic by their keys. It is nothing the second time."""
    running = {state.key: state for state in _running(reading, known.keys(), per_usd)}
    told = {key: state for key, state in running.items() if _is_news(state, known.get(key), reading.now)}
    refusing = _refusing(reading.budgets)
    for key, old in known.items():
        if old.holds(reading.now) and key not in running and not _is_of(old, refusing.get(old.budget)):
            told[key] = _withdrawn(old, reading)
    ended = set(_ended_sessions(reading))
    gone = {key for key, old in known.items() if _is_done(old, reading.now) or key in ended}
    return [*(News(key, told[key]) for key in sorted(told)), *(News(key, None) for key in sorted(gone - told.keys()))]


def accounts_of(states: Iterable[BudgetState], budgets: Iterable[Budget], now: datetime) -> set[Account]:
    """The sums that must be looked at to know whether these limits still hold."""
    refusing = _refusing(budgets)
    standing = [state for state in states if state.holds(now) and _is_of(state, refusing.get(state.budget))]
    return {_account(state, refusing[state.budget]) for state in standing}


def _refusing(budgets: Iterable[Budget]) -> dict[str, Budget]:
    return {budget.name: budget for budget in budgets if budget.limit is not None}


# --- what is found ---------------------------------------------------------------------------------------------------


def _running(reading: Reading, known: Container[bytes], per_usd: PerUSD) -> Iterator[BudgetState]:
    """Of the period that is running all that are limited or known, as far as it is known what they have spent."""
    for budget, limit, account, spend in _looked_at(reading):
        spent = spend.amount(budget.currency, per_usd) if _is_running(budget, account, spend, reading.now) else None
        if spent is not None and (spent >= limit or key_of(budget.name, _subject(account)) in known):
            yield _state(budget, limit, account, spent, reading)


def _is_running(budget: Budget, account: Account, spend: Spend, now: datetime) -> bool:
    span = span_of(budget, account)
    return not is_over(budget, account, spend, now) if span.end is None else span.start <= now < span.end


def _ended_sessions(reading: Reading) -> Iterator[bytes]:
    for budget, _, account, spend in _looked_at(reading):
        if budget.period == "session" and is_over(budget, account, spend, reading.now):
            yield key_of(budget.name, _subject(account))


def _looked_at(reading: Reading) -> Iterator[tuple[Budget, Decimal, Account, Spend]]:
    by_sum = dict[str, list[tuple[Budget, Decimal]]]()
    for budget in reading.budgets:
        if budget.limit is not None:
            by_sum.setdefault(budget.spending, []).append((budget, budget.limit))
    for account, spend in reading.sums.items():
        for budget, limit in by_sum.get(account.spending, ()):
            yield budget, limit, account, spend


def _state(budget: Budget, limit: Decimal, account: Account, spent: Fraction, reading: Reading) -> BudgetState:
    span = span_of(budget, account)
    return BudgetState(
        budget=budget.name,
        subject=_subject(account),
        only=_only(budget),
        period=budget.period,
        zone=budget.zone,
        period_start=span.start if span.end else None,
        period_end=span.end,
        limited=spent >= limit,
        spent=amount_of(spent),
        amount=budget.amount,
        limit=limit,
        currency=budget.currency,
        ratio=min(RATIO_MAX, cut(spent / Fraction(budget.amount), digits=4)),
        rules_revision=reading.revision,
        timestamp=reading.now,
    )


# --- what of it is news ----------------------------------------------------------------------------------------------


def _is_news(state: BudgetState, known: BudgetState | None, now: datetime) -> bool:
    """That a limit begins or ends, or has other terms. What more is spent under it is none."""
    if known is None or not known.holds(now):
        return state.limited
    return not state.limited or _terms(state) != _terms(known)


def _terms(state: BudgetState) -> tuple[object, ...]:
    return (state.period_start, state.period_end, state.amount, state.limit, state.currency, state.only, state.zone)


def _withdrawn(state: BudgetState, reading: Reading) -> BudgetState:
    """No rule refuses by it any more. What was spent stays as it was found last."""
    changed = {"limited": False, "rules_revision": reading.revision, "timestamp": reading.now}
    return BudgetState.model_validate(state.model_dump() | changed)


def _is_done(state: BudgetState, now: datetime) -> bool:
    """Whether nobody needs it any more. What was taken back of a session is, since it has no end."""
    return state.is_over(now) or (not state.limited and state.period_end is None)


def _is_of(state: BudgetState, budget: Budget | None) -> bool:
    """Whether the budget that refuses by this name still sums up the same."""
    if budget is None or (budget.period, budget.zone) != (state.period, state.zone):
        return False
    return state.subject.keys() == {COLUMNS[word] for word in budget.scope} and state.only == _only(budget)


# --- whose it is -----------------------------------------------------------------------------------------------------


def _account(state: BudgetState, budget: Budget) -> Account:
    subject = subject_of((word, state.subject[COLUMNS[word]]) for word in budget.scope)
    return Account(budget.spending, subject, state.period_start or WHOLE_SESSION)


def _subject(account: Account) -> dict[str, str]:
    """By fields of the event, which are what a client knows."""
    return {COLUMNS[word]: value for word, value in parts_of(account.subject).items()}


def _only(budget: Budget) -> dict[str, tuple[str, ...]]:
    return {COLUMNS[word]: values for word, values in budget.only.items()}
