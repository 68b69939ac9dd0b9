"""The rules of the contract in plain words: what a person reads of an event that breaks one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError

from costream.events import PRINTABLE, UNIT

# By the kind of pydantic's error, with what it tells of the rule.
_RULES: Final[Mapping[str, str]] = {
    "missing": "it is required",
    "extra_forbidden": "no event has such a field",
    "string_type": "it must be text",
    "string_too_short": "it must not be empty",
    "string_too_long": "it must have at most {max_length} characters",
    **dict.fromkeys(("int_type", "int_from_float", "int_parsing", "int_parsing_size"), "it must be a whole number"),
    "greater_than_equal": "it must be at least {ge}",
    "less_than_equal": "it must be at most {le}",
    "literal_error": "it must be {expected}",
    **dict.fromkeys(("dict_type", "model_type", "model_attributes_type"), "it must be an object"),
    "too_long": "it must have at most {max_length} entries",
    "value_error": "{error}",
    "json_invalid": "it is not JSON: {error}",
}
_PATTERNS: Final[Mapping[str, str]] = {
    PRINTABLE: "control characters are not allowed in it",
    UNIT: "a unit is a lower-case letter and then at most 63 lower-case letters, digits or _",
}


def rule_of(fault: Mapping[str, Any]) -> str:
    """The rule that one of pydantic's errors is about; its own words where there are none of ours."""
    context = fault.get("ctx") or {}
    own = str(fault["msg"])
    if fault["type"] == "string_pattern_mismatch":
        return _PATTERNS.get(context["pattern"], own)
    rule = _RULES.get(fault["type"])
    return own if rule is None else rule.format_map(context)


def first_fault(error: ValidationError) -> str:
    """The first of its faults, with the field. It has no value in it: that may be a secret, or large."""
    fault = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, fault['loc'])) or 'value'}: {rule_of(fault)}"


def is_unknown(fault: Mapping[str, Any]) -> bool:
    """Whether it is the field that is wrong, whatever its value."""
    return str(fault["type"]) == "extra_forbidden"


def speaks_for_itself(fault: Mapping[str, Any]) -> bool:
    """Whether a value says nothing more: what is missing has none."""
    return str(fault["type"]) == "missing"
