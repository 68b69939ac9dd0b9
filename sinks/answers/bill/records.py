"""A file as records: CSV with a line of names, JSON as an API answers it, or a JSON object a line.

A field of an object within a record is named by both names with an underscore between them: ``amount.value`` and
``amount_value`` are one column.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any, Final, NoReturn

from sinks.answers.bill.lines import BillRefused

# Far above any bill, and small enough for every sum to be exact.
AMOUNT_MAX: Final = Decimal(10) ** 15
AMOUNT_PLACES_MAX: Final = 60
COUNT_MAX: Final = 10**18
NUMBER_CHARS_MAX: Final = 100
YEARS: Final = (2015, 2100)
SHOWN_CHARS_MAX: Final = 60
SHOWN_COLUMNS_MAX: Final = 30
WHOLE_WITHIN: Final = Decimal("0.001")  # counts that are kept as floats come with their noise
DEPTH_MAX: Final = 3  # of objects in a record; no format has more than two
DELIMITERS: Final = (",", ";", "\t")


@dataclass(frozen=True, slots=True)
class Record:
    """One line of a file, by the names of its columns. What is not there, or empty, is None."""

    file: str
    number: int
    values: Mapping[str, Any]

    def refuse(self, column: str, why: str) -> NoReturn:
        value = self.values.get(column)
        raise BillRefused(f"{self.file}, record {self.number}: {column} {_shown(value)} {why}; nothing was compared")

    def text(self, column: str) -> str:
        """Empty where there is none."""
        value = self.values.get(column)
        if value is None:
            return ""
        if not isinstance(value, str):
            self.refuse(column, "is not a text")
        return value.strip()

    def amount(self, column: str) -> Decimal | None:
        value = self._number(column)
        if value is None:
            return None
        if not value.is_finite() or abs(value) > AMOUNT_MAX or places_of(value) > AMOUNT_PLACES_MAX:
            self.refuse(column, f"is no amount from {-AMOUNT_MAX:,f} to {AMOUNT_MAX:,f}")
        return value

    def count(self, column: str) -> int | None:
        value = self._number(column)
        if value is None:
            return None
        if not value.is_finite() or not 0 <= value <= COUNT_MAX:
            self.refuse(column, f"is no count from 0 to {COUNT_MAX:,}")
        whole = round(value)
        if abs(value - whole) > WHOLE_WITHIN:
            self.refuse(column, "is no whole number")
        return whole

    def moment(self, column: str) -> datetime | None:
        """In UTC. A text without a zone is taken to be UTC: only columns that are documented so are asked for."""
        value = self.values.get(column)
        if value is None or value == "":
            return None
        moment = _moment(value)
        if moment is None or not YEARS[0] <= moment.year < YEARS[1]:
            self.refuse(column, f"is no time of the years {YEARS[0]} to {YEARS[1] - 1}, such as 2026-11-01T00:00:00Z")
        return moment

    def day(self, start: str, end: str = "") -> date:
        """The day of UTC that the record is of: it begins in it, and does not reach beyond it."""
        begun, ended = self.moment(start), self.moment(end) if end else None
        if begun is None:
            self.refuse(start, "is no time: which day the record is of is not said")
        after = datetime(begun.year, begun.month, begun.day, tzinfo=UTC) + timedelta(days=1)
        if ended is not None and ended > after:
            if ended - begun > timedelta(days=1):
                self.refuse(end, f"is more than a day after {start}: export it by day")
            self.refuse(end, f"is on the day after {start}: its days are not those of UTC. Export it in UTC")
        return begun.date()

    def _number(self, column: str) -> Decimal | None:
        value = self.values.get(column)
        if value is None or isinstance(value, bool):
            return None if value is None else self.refuse(column, "is not a number")
        if isinstance(value, str):
            if not value.strip():
                return None
            value = decimal_or_none(value)
        if isinstance(value, int):
            value = Decimal(value) if abs(value) <= AMOUNT_MAX**2 else None
        if not isinstance(value, Decimal):
            self.refuse(column, "is not a number")
        return value


@dataclass(frozen=True, slots=True)
class Table:
    columns: Sequence[str]
    records: Sequence[Record]
    notes: tuple[str, ...] = ()


def table_of(file: str, data: bytes) -> Table:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BillRefused(f"{file} is no text in UTF-8: export it as CSV or JSON; nothing was compared") from None
    if not text.strip():
        raise BillRefused(f"{file} is empty; nothing was compared")
    if text.lstrip()[0] in "{[":
        records, more = list[Record](), False
        for page in _pages(file, text):
            records += _of_page(file, page, len(records))
            more = isinstance(page, dict) and page.get("has_more") is True
        columns = list(dict.fromkeys(name for record in records for name in record.values))
        notes = (f"{file} says has_more at its end: it is whole only with the pages after it",) if more else ()
    else:
        columns, records = _of_csv(file, text)
        notes = ()
    if not records:
        raise BillRefused(f"{file} has no record; nothing was compared")
    return Table(columns, records, notes)


# --- CSV -------------------------------------------------------------------------------------------------------------


def _of_csv(file: str, text: str) -> tuple[list[str], list[Record]]:
    head = text.lstrip().partition("\n")[0]
    delimiter = max(DELIMITERS, key=head.count)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        filled = [row for row in rows if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise BillRefused(f"{file} cannot be read as CSV: {error}; nothing was compared") from error
    names = [_name(cell) for cell in filled[0]] if filled else []
    records = []
    for number, row in enumerate(filled[1:], start=1):
        if len(row) > len(names):
            told = f"record {number} has {len(row)} fields, and the first line names {len(names)}"
            raise BillRefused(f"{file}: {told}; nothing was compared")
        records.append(Record(file, number, dict(zip(names, row, strict=False))))
    return names, records


@lru_cache(maxsize=1_024)  # each record has the names of the one before it
def _name(text: str) -> str:
    return re.sub(r"[.\s]+", "_", text.strip().lower())


# --- JSON ------------------------------------------------------------------------------------------------------------


def _pages(file: str, text: str) -> Iterator[Any]:
    """The one value of the file, or that of each line."""
    try:
        yield _value(text)
    except json.JSONDecodeError as error:
        lines = [line for line in text.splitlines() if line.strip()]
        if error.msg != "Extra data" or len(lines) < 2:
            raise BillRefused(f"{file} cannot be read as JSON: {error}; nothing was compared") from error
        for number, line in enumerate(lines, start=1):
            try:
                yield _value(line)
            except (ValueError, RecursionError) as fault:
                told = f"line {number} cannot be read as JSON: {fault}"
                raise BillRefused(f"{file}: {told}; nothing was compared") from fault
    except (ValueError, RecursionError) as error:
        raise BillRefused(f"{file} cannot be read as JSON: {error}; nothing was compared") from error


def _value(text: str) -> Any:
    return json.loads(text, parse_float=decimal_of, parse_constant=_no_number)


def decimal_of(text: str) -> Decimal:
    """What is too long to be a number of a bill is none: who asks for it refuses it."""
    value = decimal_or_none(text)
    return Decimal("NaN") if value is None else value


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number")


def _of_page(file: str, page: Any, before: int) -> Iterator[Record]:
    """A page is an object with ``data``, or a list; a bucket of it an object with ``results``. What stands in the
    bucket beside them is a part of each of its records. A bucket without results is a record too: of a day on which
    there was nothing. ``before`` is the number of records before it."""
    for entry in _entries(page):
        if not isinstance(entry, dict):
            raise BillRefused(f"{file} has {_shown(entry)} where a record is expected; nothing was compared")
        results = entry.pop("results", None)
        for result in results if isinstance(results, list) and results else [{}]:
            if not isinstance(result, dict):
                raise BillRefused(f"{file} has {_shown(result)} where a result is expected; nothing was compared")
            before += 1
            yield Record(file, before, dict(_flat(entry | result)))


def _entries(page: Any) -> Iterator[Any]:
    for one in page if isinstance(page, list) else [page]:
        if isinstance(one, dict) and isinstance(one.get("data"), list):
            yield from one["data"]
        else:
            yield one


def _flat(values: Mapping[str, Any], before: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict) and depth < DEPTH_MAX:
            yield from _flat(value, f"{before}{_name(name)}_", depth + 1)
        else:
            yield before + _name(name), value


# --- values ----------------------------------------------------------------------------------------------------------


def decimal_or_none(text: str) -> Decimal | None:
    """None where it is no number, or longer than any."""
    if len(text) > NUMBER_CHARS_MAX:
        return None
    try:
        return Decimal(text.strip()) if text.isascii() and "_" not in text else None
    except InvalidOperation:
        return None


def _moment(value: Any) -> datetime | None:
    if isinstance(value, str) and not value.strip().isdecimal():
        return _moment_of_text(value.strip())
    seconds = decimal_or_none(value) if isinstance(value, str) else value
    if isinstance(seconds, bool) or not isinstance(seconds, int | Decimal):
        return None
    if not Decimal(seconds).is_finite() or not 0 <= seconds < 10**11:
        return None
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=int(seconds))


@lru_cache(maxsize=1_024)  # most records are of the hour of the one before
def _moment_of_text(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(re.sub(r" ?UTC$", "+00:00", text))
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def _shown(value: Any) -> str:
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= SHOWN_CHARS_MAX else f"{text[:SHOWN_CHARS_MAX]}..."


def places_of(value: Decimal) -> int:
    """How many decimals it is written with."""
    exponent = value.as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def columns_told(columns: Sequence[str]) -> str:
    """As many as a person reads."""
    shown = [_shown(name).strip("'") for name in columns[:SHOWN_COLUMNS_MAX]]
    more = len(columns) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")
