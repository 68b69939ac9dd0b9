"""What the parts of a file of rules share: names and levels."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from costream.alerts import Level
from costream.events import matches

NAME_MAX: Final = 64
NAME: Final = rf"^[a-z][a-z0-9_]{{0,{NAME_MAX - 1}}}$"
LEVELS: Final = tuple(level.value for level in Level)


def _name(value: str) -> str:
    if not matches(NAME, value):
        raise ValueError(f"'{value}' is no name: a small letter, then small letters, digits and _, {NAME_MAX} at most")
    return value


Name = Annotated[str, AfterValidator(_name), Field(json_schema_extra={"pattern": NAME})]


def level_of(value: Any) -> Level:
    if value not in LEVELS:
        raise ValueError(f"{value!r} is no level: one of {', '.join(LEVELS)}")
    return Level(value)


LevelName = Annotated[Level, BeforeValidator(level_of), WithJsonSchema({"type": "string", "enum": [*LEVELS]})]
