"""A price as text: all that an answer hangs on, so that a cost can be worked out again without the table it came from.

    {"price_version": "genai-prices/0.2.3@base+own/5d41402abc4b", "price_source": "override", "doubts": [], ...,
     "brackets": [{"above_input_tokens": null, "usd": {"input_tokens": "0.00000015", "output_tokens": "0.0000006"}}]}

The price of one of a unit is decimal text in USD; what has no end in decimals is a fraction, such as ``1/3000000``.
``price_id`` names the content: another price is another id.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Any, Final

from costream.pricing.rates import CALLER, PICO, Bracket, ChargedAs, Exact, Linear
from costream.pricing.reasons import Note, Reason

ID_DIGITS: Final = 16  # hexadecimal, of a SHA-256: two of a million prices share one once in 37 million times


@lru_cache(maxsize=32_768)  # as many as a price book keeps
def price_id(price: Linear) -> str:
    """Empty for a price that an event alone names: its text is in the event."""
    if price.version == CALLER:
        return ""
    return _id_of(_plain(price))


def text_id(text: str) -> str:
    """The id of the price that a text tells, by what stands there, whichever build wrote it. Empty where the text is no
    object of JSON."""
    try:
        said = json.loads(text)
    except ValueError:
        return ""
    return _id_of(_without_entries(said)) if isinstance(said, dict) else ""


def is_read_whole(text: str) -> bool:
    """Whether this build reads the text of a price, and all of it: it would write the same."""
    try:
        again = price_text(price_of(text))
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        return False
    return bool(_without_entries(json.loads(again)) == _without_entries(json.loads(text)))


def price_text(price: Linear, entries: Sequence[Mapping[str, Any]] = ()) -> str:
    """JSON text of a price. ``entries`` are those of files that it is made of, as they stand there."""
    return json.dumps({**_plain(price), "entries": list(entries)}, ensure_ascii=False)


def price_of(text: str) -> Linear:
    """The price that ``price_text`` wrote. Raises TypeError, ValueError and others of their kind where it did not."""
    said = json.loads(text)
    return Linear(
        version=_text(said["price_version"]),
        source=_text(said["price_source"]),
        brackets=tuple(_bracket(one) for one in said["brackets"]),
        audio_seconds_min=_count(said["audio_seconds_min"]),
        caveats=tuple(Note(Reason(one["reason"]), _text(one["detail"])) for one in said["doubts"]),
        same={unit: ChargedAs(_text(rule["total"]), _text(rule["by"])) for unit, rule in said["charged_as"].items()},
        unsure=frozenset(map(_text, said["unsure"])),
    )


def exact_usd(pico: Exact) -> str:
    """An exact amount of 1e-12 USD in USD: decimal text where it has an end, else a fraction."""
    usd = Fraction(pico) / PICO
    rest, twos, fives = usd.denominator, 0, 0
    while rest % 2 == 0:
        rest, twos = rest // 2, twos + 1
    while rest % 5 == 0:
        rest, fives = rest // 5, fives + 1
    if rest > 1:
        return str(usd)
    digits = max(twos, fives)
    whole = usd.numerator * 10**digits // usd.denominator
    if not digits:
        return str(whole)
    text = f"{abs(whole):0{digits + 1}d}"
    return f"{'-' * (whole < 0)}{text[:-digits]}.{text[-digits:]}"


def _id_of(plain: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:ID_DIGITS]


def _without_entries(said: Mapping[str, Any]) -> dict[str, Any]:
    """An id is of the price: the same price may stand in another file."""
    return {name: value for name, value in said.items() if name != "entries"}


def _plain(price: Linear) -> dict[str, Any]:
    assert not price.callers, "what a caller names is no part of a price that is kept"
    return {
        "price_version": price.version,
        "price_source": price.source,
        "brackets": [
            {
                "above_input_tokens": None if bracket.above < 0 else bracket.above,
                "usd": {unit: exact_usd(rate) for unit, rate in bracket.prices().items()},
            }
            for bracket in price.brackets
        ],
        "audio_seconds_min": price.audio_seconds_min,
        "doubts": [{"reason": note.reason, "detail": note.detail} for note in price.caveats],
        "charged_as": {unit: {"total": rule.total, "by": rule.by} for unit, rule in price.same.items()},
        "unsure": sorted(price.unsure),
    }


def _bracket(said: Mapping[str, Any]) -> Bracket:
    above = said["above_input_tokens"]
    usd = {unit: Fraction(_text(usd)) * PICO for unit, usd in said["usd"].items()}
    return Bracket.of(-1 if above is None else _count(above), usd)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise TypeError(f"{value!r} is no count")
    return value
