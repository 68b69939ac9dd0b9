"""Which format a file has, by its columns, and what it says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from sinks.answers.bill import anthropic, google, openai
from sinks.answers.bill.formats import Format, Unusable
from sinks.answers.bill.lines import BillRefused, Export
from sinks.answers.bill.records import columns_told, places_of, table_of

FILE_BYTES_MAX: Final = 64 * 2**20  # a month of a large account, by hour and project, is a tenth of it

Known = tuple[Sequence[Format], Sequence[Unusable]]
_PROVIDERS: Final[Mapping[str, Known]] = {
    "openai": (openai.FORMATS, ()),
    "anthropic": (anthropic.FORMATS, ()),
    "google": (google.FORMATS, google.UNUSABLE),
}
PROVIDERS: Final = tuple(_PROVIDERS)


def export_of(file: str, data: bytes, *, provider: str) -> Export:
    """What the file ``file`` says. Raises ``BillRefused``, and nothing else, where it cannot be read or compared."""
    if len(data) > FILE_BYTES_MAX:
        told = f"is larger than {FILE_BYTES_MAX // 2**20} MiB: export fewer days, or by day"
        raise BillRefused(f"{file} {told}; nothing was compared")
    table = table_of(file, data)
    known = _known(file, table.columns, provider)
    days = [known.day(record) for record in table.records]
    found = (known.line(record, day) for record, day in zip(table.records, days, strict=True))
    lines = [line for line in found if line is not None]
    if not lines:
        raise BillRefused(f"{file} has no line of {provider}'s models; nothing was compared")
    places = max((places_of(line.amount) for line in lines if line.amount is not None), default=0)
    return Export(file, known.name, known.kinds, tuple(lines), min(days), max(days), places, table.notes)


def _known(file: str, columns: Sequence[str], provider: str) -> Format:
    formats, unusables = _PROVIDERS[provider]
    for known in formats:
        if not known.lacks(columns):
            return known
    for unusable in unusables:
        if all(name in columns for name in unusable.marks):
            raise BillRefused(f"{file} is {unusable.name}: {unusable.why}; nothing was compared")
    for other, (others, _) in _PROVIDERS.items():
        if other != provider and any(not known.lacks(columns) for known in others):
            raise BillRefused(f"{file} is an export of {other}: give --provider {other}; nothing was compared")
    found = f"It has {columns_told(columns)}"
    for known in formats:
        if known.mark in columns:
            names = known.lacks(columns)
            lacking = f"the column{'s' if len(names) > 1 else ''} {', '.join(names)} of the {known.name}"
            raise BillRefused(f"{file} lacks {lacking}. {found}. Export it with all columns; nothing was compared")
    marks = "; ".join(f"{known.name}: {known.mark}" for known in formats)
    raise BillRefused(f"{file} is no export of {provider} that is known ({marks}). {found}; nothing was compared")
