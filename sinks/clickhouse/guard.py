"""Which statements the embedded endpoint refuses: those that would leave the warehouse for files, network or programs.

The embedded engine runs with the rights of its process and has no users or grants, and ``readonly=1`` is not enough:
the function ``file()`` and the names of database ``default`` still read any file (both tried). So each statement is
judged before it runs, in the engine's own canonical spelling, without comments, odd quoting or a second statement.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

STATEMENTS: Final = re.compile(
    r"""(SELECT|WITH|\(|FROM|VALUES|SHOW|DESCRIBE|DESC|EXISTS|EXPLAIN|CHECK|INSERT|DELETE|UPDATE|ALTER|DROP|TRUNCATE|RENAME
    |EXCHANGE|OPTIMIZE|USE|SET|SYSTEM\ (STOP|START)\ (TTL\ )?MERGES
    |CREATE\ (OR\ REPLACE\ )?(TEMPORARY\ |MATERIALIZED\ )?(TABLE|VIEW|DATABASE))\b|\(""",
    re.IGNORECASE | re.VERBOSE,
)


def names(text: str) -> frozenset[str]:
    """The words of a text, as a set."""
    return frozenset(text.split())


# Table functions that make rows from nothing or from our own tables; any other reaches outside or evaluates text.
TABLE_FUNCTIONS: Final = names("""
    format generaterandom generate_series generateseries input null numbers numbers_mt values view viewexplain
    zeros zeros_mt""")
SCALAR_REFUSED: Final = names("disk file source")  # disk(...) of a table, source(...) of a dictionary

ENGINES: Final = names("""
    AggregatingMergeTree Atomic CoalescingMergeTree CollapsingMergeTree Join Log MaterializedView Memory MergeTree Null
    ReplacingMergeTree Set StripeLog SummingMergeTree TinyLog VersionedCollapsingMergeTree View""")

# Settings that name files or change how text is parsed, after we have judged it.
SETTINGS_REFUSED: Final = re.compile(r"\b(format_schema\w*|format_template\w*|dialect|profile|storage_policy|disk)\b")

_STRINGS: Final = re.compile(r"'(?:[^'\\]|\\.)*'", re.DOTALL)
_QUOTED: Final = re.compile(r"`(?:[^`\\]|\\.)*`", re.DOTALL)
_CALLS: Final = re.compile(r"\b(\w+)\(")
_ENGINE: Final = re.compile(r"\bENGINE = (\w+)")
_SETTING: Final = re.compile(r"\b(\w+) = ")


class Refused(Exception):
    """The statement is outside what this endpoint does; the message says which part."""


def check(canonical: str, *, table_functions: frozenset[str]) -> None:
    """Refuse ``canonical``, one statement as ``formatQuerySingleLine`` spells it, if it can leave the warehouse.

    ``table_functions`` are all names the engine knows, in lower case: a new one is refused until it is listed here.
    """
    bare = _QUOTED.sub("``", _STRINGS.sub("''", canonical))
    if not STATEMENTS.match(bare):
        raise Refused(f"{' '.join(bare.split()[:2])} is not among the statements it runs")
    _check_calls(bare, table_functions)
    for engine in _ENGINE.findall(bare):
        if engine not in ENGINES:
            raise Refused(f"ENGINE = {engine} is not one of its table engines")
    for clause in ("INTO OUTFILE", "INFILE", "DICTIONARY"):
        if re.search(rf"\b{clause}\b", bare):
            raise Refused(f"{clause} reaches outside the warehouse")
    if re.search(r"\bdefault\.|\bUSE default\b", bare):
        raise Refused("the names of database 'default' are files of this machine; use a database of your own")
    if re.search(r"\{\w+:\s*Identifier\}", bare):
        raise Refused("a parameter of type Identifier could name anything")
    check_settings(dict.fromkeys(_SETTING.findall(bare), ""))


def _check_calls(bare: str, table_functions: frozenset[str]) -> None:
    for name in _CALLS.findall(bare):
        reaches_out = name.lower() in table_functions - TABLE_FUNCTIONS or name.lower() in SCALAR_REFUSED
        if reaches_out or re.match(r"ai[A-Z]", name):
            raise Refused(f"{name}() reaches outside the warehouse")


def check_settings(settings: Mapping[str, str]) -> None:
    """Refuse the settings that would undo the check of the text."""
    for name in settings:
        if SETTINGS_REFUSED.fullmatch(name):
            raise Refused(f"the setting {name} is not available here")
