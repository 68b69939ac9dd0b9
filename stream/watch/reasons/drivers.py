"""Why an hour cost more than usual: the reasons that its figures support, and no others. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Final

from costream.alerts import Driver, plain
from stream.watch.reasons.evidence import Change, Evidence, Part, Spender
from stream.watch.rounding import six_digits, to_decimal

CALLS_MORE: Final = Fraction(3, 2)  # half as many again: below that, calls vary by themselves
TOKENS_MORE: Final = Fraction(3, 2)
MIX_DEARER: Final = Fraction(5, 4)  # the same work at usual prices, a quarter dearer because of the models chosen
EXCESS_SHARE: Final = Fraction(1, 3)  # who brought a third of the excess is worth naming


def drivers(evidence: Evidence) -> tuple[Driver, ...]:
    """The reasons, the three of the message first. Without usual hours there is nothing to compare with: none."""
    if evidence.usual_hours == 0:
        return ()
    return tuple(_drivers(evidence))


def _drivers(evidence: Evidence) -> Iterator[Driver]:
    yield from _more_calls(evidence)
    yield from _dearer_models(evidence)
    yield from _larger_requests(evidence)
    yield from _top_feature(evidence)
    yield from _top_user(evidence)


def _more_calls(evidence: Evidence) -> Iterator[Driver]:
    before, after = Fraction(evidence.usual.calls, evidence.usual_hours), evidence.now.calls
    if before > 0 and after >= before * CALLS_MORE:
        text = f"{after:,} calls against {_number(before)} in a usual hour ({_times(after / before)})"
        yield Driver(kind="calls", text=text, unit="calls", before=six_digits(before), after=Decimal(after))


def _larger_requests(evidence: Evidence) -> Iterator[Driver]:
    now, usual = evidence.now, evidence.usual
    if now.calls <= 0 or usual.calls <= 0 or usual.tokens <= 0:
        return
    before, after = Fraction(usual.tokens, usual.calls), Fraction(now.tokens, now.calls)
    if after >= before * TOKENS_MORE:
        text = f"{_number(after)} tokens a call against {_number(before)} usually ({_times(after / before)})"
        yield Driver(
            kind="tokens_per_call", text=text, unit="tokens", before=six_digits(before), after=six_digits(after)
        )


def _dearer_models(evidence: Evidence) -> Iterator[Driver]:
    """The hour's mix of models at usual prices, against the usual mix; named is the one whose larger share adds most.

    Compared by token, so that larger requests are not mistaken for dearer models; by call where nothing has tokens.
    """
    by_token = evidence.now.tokens > 0 and evidence.usual.tokens > 0
    units_now = {name: _units(change.now, by_token) for name, change in evidence.models.items()}
    units_usual = {name: _units(change.usual, by_token) for name, change in evidence.models.items()}
    total_now, total_usual = sum(units_now.values()), sum(units_usual.values())
    counted = [name for name in sorted(evidence.models) if units_now[name] > 0 or units_usual[name] > 0]
    spent = sum((Fraction(evidence.models[name].usual.cost_usd) for name in counted), Fraction(0))
    if total_now <= 0 or total_usual <= 0 or spent <= 0:
        return
    average = spent / total_usual
    prices = {name: _price(evidence.models[name], by_token) for name in counted}
    share_now = {name: Fraction(units_now[name], total_now) for name in counted}
    share_usual = {name: Fraction(units_usual[name], total_usual) for name in counted}
    if sum(share_now[name] * prices[name] for name in counted) < average * MIX_DEARER:
        return
    grown = [name for name in counted if share_now[name] > share_usual[name]]  # there is one: the mix has changed
    top = max(grown, key=lambda name: (share_now[name] - share_usual[name]) * (prices[name] - average))
    text = (
        f"{plain(top)} took {_percent(share_now[top])} of the {'tokens' if by_token else 'calls'} against "
        f"{_percent(share_usual[top])} usually, at {_times(prices[top] / average)} the average price"
    )
    before, after = six_digits(share_usual[top]), six_digits(share_now[top])
    yield Driver(kind="model_mix", name=top, text=text, unit="share", before=before, after=after)


def _units(part: Part, by_token: bool) -> int:
    return max(0, part.tokens if by_token else part.calls)


def _price(change: Change, by_token: bool) -> Fraction:
    """USD per token or call: the usual one, so that a price change is no change of mix; the hour's for a new model."""
    part = change.usual if _units(change.usual, by_token) > 0 else change.now
    return Fraction(part.cost_usd) / _units(part, by_token)


def _top_feature(evidence: Evidence) -> Iterator[Driver]:
    grown = {name: evidence.grown_usd(change) for name, change in evidence.features.items()}
    if not grown:
        return
    top = max(sorted(grown), key=lambda name: grown[name])
    share = _excess_share(grown[top], evidence)
    if share >= EXCESS_SHARE:
        after = evidence.features[top].now.cost_usd
        before = Fraction(after) - grown[top]
        text = f"{_feature(top)}: {_usd(after)} against {_usd(before)} usually, {_percent(share)} of the excess"
        yield Driver(kind="top_feature", name=top, text=text, unit="usd", before=six_digits(before), after=after)


def _feature(name: str) -> str:
    return f"feature {plain(name)}" if name else "calls without a feature"


def _top_user(evidence: Evidence) -> Iterator[Driver]:
    """By share of the excess; where a user's usual cost is not known, by share of the whole hour."""
    if not evidence.users:
        return
    top = max(evidence.users, key=lambda user: (_grown(user), user.user_id))
    cost = Fraction(evidence.now.cost_usd)
    if top.usual_usd is None:
        share = Fraction(top.cost_usd) / cost if cost > 0 else Fraction(0)
        text = f"user {plain(top.user_id)}: {_usd(top.cost_usd)}, {_percent(share)} of the hour"
    else:
        share = _excess_share(_grown(top), evidence)
        amounts = f"{_usd(top.cost_usd)} against {_usd(top.usual_usd)} usually"
        text = f"user {plain(top.user_id)}: {amounts}, {_percent(share)} of the excess"
    if share >= EXCESS_SHARE:
        yield Driver(kind="top_user", name=top.user_id, text=text, unit="usd", before=top.usual_usd, after=top.cost_usd)


def _grown(user: Spender) -> Fraction:
    return Fraction(user.cost_usd) - Fraction(user.usual_usd or 0)


def _excess_share(grown: Fraction, evidence: Evidence) -> Fraction:
    excess = evidence.excess_usd
    return grown / excess if excess > 0 else Fraction(0)


def _usd(value: Decimal | Fraction) -> str:
    return f"{to_decimal(Fraction(value)):,.2f} USD"


def _number(value: Fraction) -> str:
    return f"{to_decimal(value):,.1f}".removesuffix(".0")


def _times(value: Fraction) -> str:
    return f"{to_decimal(value):,.1f}x"


def _percent(value: Fraction) -> str:
    return f"{to_decimal(value * 100):.0f} %"
