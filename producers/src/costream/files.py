"""What a person writes in a TOML file, read strictly: every fault is told at once, with its file, entry and field."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, WithJsonSchema

from costream.events import matches


class FileRefused(ValueError):
    """A file with faults in it; nothing of it is used. ``faults`` has a line for each."""

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(faults))


class Strict(BaseModel):
    """An entry, or a part of one: no field that is not known, no value of another kind."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


AMOUNT: Final = r"^(0|[1-9][0-9]{0,11})(\.[0-9]{1,12})?$"


def decimal_text(value: Any) -> Decimal:
    """An amount as people write it: text, since a number of TOML has lost digits."""
    if not isinstance(value, str) or not matches(AMOUNT, value):
        raise ValueError(f'{value!r} is not decimal text such as "0.15", with at most 12 digits after the point')
    return Decimal(value)


def above_zero(value: Decimal) -> Decimal:
    if not value:
        raise ValueError("it must be above 0")
    return value


def described(description: str) -> WithJsonSchema:
    """Of an amount, for the published schema."""
    return WithJsonSchema({"type": "string", "pattern": AMOUNT, "description": description})


@dataclass(frozen=True, slots=True)
class Entries:
    """How the entries of one table of a file are told of: ``entry 2 (openai/gpt-4o)``."""

    noun: str
    name: Callable[[Mapping[str, Any]], str] = lambda _: ""
    unsaid: frozenset[str] = frozenset()  # parts of the place of a fault that are names of ours


ModelT = TypeVar("ModelT", bound=Strict)


def read(text: str, *, file: str, model: type[ModelT], tables: Mapping[str, Entries]) -> ModelT:
    """A TOML file, as it says it. Raises ``FileRefused`` with every fault: file, entry, field and rule."""
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise FileRefused([f"{file}: no TOML: {error}"]) from None
    try:
        return model.model_validate(_as_tuples(content))
    except ValidationError as error:
        raise FileRefused(sorted({_told(fault, content, file, tables) for fault in error.errors()})) from None


def place_of(entries: Entries, at: int, entry: Any) -> str:
    """An entry as faults name it; the first is 1."""
    name = entries.name(entry) if isinstance(entry, dict) else ""
    return f"{entries.noun} {at + 1}" + (f" ({name})" if name else "")


def _as_tuples(value: Any) -> Any:
    """TOML has lists only, and a strict model takes none for a tuple."""
    if isinstance(value, list):
        return tuple(_as_tuples(one) for one in value)
    return {name: _as_tuples(one) for name, one in value.items()} if isinstance(value, dict) else value


_RULES: Final = {
    "missing": "it is required",
    "extra_forbidden": "there is no such field",
    "too_short": "it must not be empty",
    "string_too_short": "it must not be empty",
    "string_type": "it must be text",
    "int_type": "it must be a whole number",
    "bool_type": "it must be true or false",
    "datetime_type": "it must be a date, or a time with a zone, without quotes",
    "tuple_type": "it must be a list",
    "dict_type": "it must be a table",
    "model_type": "it must be a table",
}


def _told(fault: Any, content: Mapping[str, Any], file: str, tables: Mapping[str, Entries]) -> str:
    rule = _RULES.get(fault["type"]) or fault["msg"].removeprefix("Value error, ")
    match fault["type"]:
        case "literal_error":
            rule = f"it must be {fault['ctx']['expected']}"
        case "greater_than_equal":
            rule = f"it must be at least {fault['ctx']['ge']}"
        case "less_than_equal":
            rule = f"it must be at most {fault['ctx']['le']}"
    match list(fault["loc"]):
        case [str(table), int(at), *field] if table in tables:
            entries = tables[table]
            place = ".".join(str(part) for part in field if part not in entries.unsaid)
            return f"{file}: {place_of(entries, at, content[table][at])}: {place + ': ' if place else ''}{rule}"
        case [str(outer), str(inner), int(at), *field] if (table := f"{outer}.{inner}") in tables:
            place = ".".join(str(part) for part in field)
            place = f"{place}: " if place else ""
            return f"{file}: {place_of(tables[table], at, content[outer][inner][at])}: {place}{rule}"
        case []:
            return f"{file}: {rule}"
        case field:
            return f"{file}: {'.'.join(map(str, field))}: {rule}"
