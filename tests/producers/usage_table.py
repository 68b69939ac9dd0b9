"""The table of docs/event.md that says how a provider's response becomes an event: read, and run.

The page is the only place where the rows stand. A row's right side is a small language, explained above the table:
paths, sums, "or", counts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "event.md"
HEADER: Final = "| API and provider | field of the event | from the response |"
AMOUNTS: Final = ("reported_cost_usd", "revenue_usd")


@dataclass(frozen=True)
class Api:
    """What the table says of one API. Without providers, it is about all of them."""

    name: str
    providers: tuple[str, ...]
    rows: dict[str, str] = field(default_factory=dict)  # field of the event -> where it is in the response


def apis() -> list[Api]:
    """The table's parts, in its order."""
    lines = iter(PAGE.read_text(encoding="utf-8").splitlines())
    assert any(line == HEADER for line in lines), f"{PAGE.name} has no table with the header {HEADER}"
    next(lines)  # the rule below the header
    found: list[Api] = []
    for line in lines:
        if not line.startswith("|"):
            break
        api, field_name, source = (cell.strip() for cell in line.strip("|").split("|"))
        if api:
            found.append(Api(_name(api), tuple(re.findall(r"`([^`]+)`", api))))
        rows, name = found[-1].rows, _code(field_name)
        assert name not in rows, f"{found[-1].name} says twice what {name} is"
        rows[name] = _code(source)
    return found


def _name(cell: str) -> str:
    """All of the cell but the providers at its end: the name of one API of a provider."""
    return cell.partition("`")[0].replace("*", "").strip().rstrip(",:")


def _code(cell: str) -> str:
    assert re.fullmatch(r"`[^`]+`", cell), f"{cell} should be one piece of code"
    return cell.strip("`")


def event_fields(rows: Mapping[str, str], response: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of the event that these rows make of a response; what is absent there is absent here."""
    fields: dict[str, Any] = {}
    for name, source in rows.items():
        value = value_of(source, response)
        if value is None:
            continue
        kind, _, unit = name.partition(".")
        if unit:
            if value:
                fields.setdefault(kind, {})[unit] = _plain(value)
        elif kind in AMOUNTS:
            fields[kind] = _plain(round(Decimal(value), 12))
        else:
            fields[kind] = value if isinstance(value, str) else _whole(name, value)
    return fields


def _whole(name: str, value: Any) -> int:
    assert value == int(value), f"{name} = {value} is no whole number"
    return int(value)


def _plain(value: Any) -> str:
    text = f"{Decimal(value):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


# --- the language of the right side -----------------------------------------------------------------------------------


def value_of(source: str, response: Mapping[str, Any]) -> Any:
    """What ``source`` says of a response: a number or a text, or None if all of it is absent."""
    terms = [value for term in source.split(" + ") if (value := _first_given(term, response)) is not None]
    return None if not terms else terms[0] if len(terms) == 1 else sum(terms)


def _first_given(term: str, response: Mapping[str, Any]) -> Any:
    return next((value for each in term.split(" or ") if (value := _quotient(each, response)) is not None), None)


def _quotient(source: str, response: Mapping[str, Any]) -> Any:
    path, _, divisor = source.partition(" / ")
    value = _atom(path, response)
    return value / Decimal(divisor) if divisor and value is not None else value


def _atom(source: str, response: Mapping[str, Any]) -> Any:
    if source.startswith('"'):
        return source.strip('"')
    if called := re.fullmatch(r"(\w+)\((.+)\)", source):
        found = list(_found(called[2], response))
        return _CALLED[called[1]](found) if found else None
    found = [value for value in _found(source, response) if value is not None]
    return None if not found else found[0] if len(found) == 1 else sum(found)


_CALLED: Final[Mapping[str, Callable[[list[Any]], int]]] = {
    "count": len,
    "distinct": lambda texts: len({text for text in texts if text}),
    "characters": lambda texts: sum(map(len, texts)),
}
_STEP: Final = re.compile(r"([\w-]+)(?:\[(\w+)=([^\]]+)\])?\.?")


def _found(path: str, response: Mapping[str, Any]) -> Iterator[Any]:
    """All that stands at the end of a path; each list on the way stands for its entries."""
    here: Sequence[Any] = [response]
    at = 0
    while at < len(path):
        step = _STEP.match(path, at)
        assert step, f"{path!r} is no path from its {at}. character on"
        name, key, wanted = step.groups()
        inside = [each[name] for each in here if isinstance(each, Mapping) and each.get(name) is not None]
        here = [entry for each in inside for entry in (each if isinstance(each, list) else [each])]
        if key:
            here = [entry for entry in here if entry.get(key) == wanted]
        at = step.end()
    yield from here
