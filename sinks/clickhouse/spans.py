"""What is said where a view that takes a span, a user or an amount was asked without it: a sentence of ours."""

from __future__ import annotations

import re
from typing import Final

from sinks.errors import code_of

SPAN: Final = "(from = '2026-11-01', to = '2026-12-01', zone = 'UTC', currency = 'USD')"
OTHERS: Final = {
    "user_cost_summary": "(user_id = 'u-7', period_hours = 24)",
    "check_cost_threshold": "(threshold = 500)",
    "check_cost_threshold_between": f"(threshold = 500000, {SPAN[1:].replace('USD', 'KRW')}",
}

_VIEW: Final = re.compile(rf"\b(\w+_between|{'|'.join(OTHERS)})\b\s*(\()?")
_WITHOUT_COLUMNS: Final = frozenset({47, 51, 90})  # without its parameters a view has no columns
_MISSING, _ZONE, _TIME, _THROWN = 456, 36, 41, 395


def explained(statement: str, message: str) -> str:
    """``message`` of the engine about ``statement``, in words that say what to write; any other as it is.

    The code and its name stay where they are: drivers go by them.
    """
    found = _VIEW.search(statement)
    code = code_of(message)
    if found is None or code is None:
        return message
    view, called = found[1], found[2] is not None
    example = f"{view}{OTHERS.get(view, SPAN)}"
    if (code in _WITHOUT_COLUMNS and not called) or code == _MISSING:
        return _said(message, f"{view} takes parameters, and one is missing: write {example}")
    if code == _ZONE and "time zone" in message:
        return _said(message, f"the zone is not in the list of time zones; write one such as 'Asia/Kolkata': {example}")
    if code == _TIME:
        return _said(message, f"`from` or `to` is not a time; write days or times, as in {example}")
    if code == _THROWN:
        return _said(message, message.partition("DB::Exception: ")[2].partition(": while executing")[0])
    return message


def _said(message: str, sentence: str) -> str:
    """The same code and name around other words."""
    before = message.partition("DB::Exception: ")[0]
    name = re.findall(r"\(([A-Z_]{3,})\)", message)
    return f"{before}DB::Exception: {sentence}." + (f" ({name[-1]})" if name else "")
