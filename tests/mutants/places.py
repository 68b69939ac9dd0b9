"""The mutants of a module: where its tree may be changed, and what that is in its text.

Left alone are words for people alone, and what only declares: docstrings, descriptions of fields, logs, annotations,
decorators, ``__all__``, the names of type variables. So is an ``assert``: it speaks of bugs, which no input reaches.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from types import CodeType
from typing import Any, Final

from tests.mutants.operators import Slot, changes, slots

SHOWN_CHARS_MAX: Final = 140

LOGS: Final = {"log", "_log", "logger", "_logger", "logging", "warnings"}
DECLARING: Final = {"TypeVar", "ParamSpec", "NewType", "cast", "assert_never"}
FOR_PEOPLE: Final = {"description", "title", "examples"}  # of a pydantic Field
FIELDS_LEFT_ALONE: Final = {
    "annotation",
    "returns",
    "decorator_list",
    "bases",
    "targets",
    "target",
    "ctx",
    "type",
    "cls",
}


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change of the file ``path``: its bytes from ``start`` to ``end`` become ``text``. People are shown ``before``
    and ``after``."""

    path: str
    line: int
    operator: str
    before: str
    after: str
    start: int
    end: int
    text: str

    def applied(self, source: bytes) -> bytes:
        return source[: self.start] + self.text.encode() + source[self.end :]

    def changes(self, source: bytes) -> bool:
        """Whether the module compiles, and to other code than before."""
        try:
            return _meaning(compile(self.applied(source), self.path, "exec")) != _meaning(
                compile(source, self.path, "exec")
            )
        except SyntaxError:
            return False


def _meaning(code: CodeType) -> tuple[Any, ...]:
    """What code does, on whatever lines it stands."""
    constants = tuple(_meaning(each) if isinstance(each, CodeType) else repr(each) for each in code.co_consts)
    names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    return (code.co_name, code.co_code, code.co_exceptiontable, constants, names)


def mutants_of(path: str, source: bytes) -> list[Mutant]:
    """Every mutant of a module, in the order of its text. A few may change nothing: ask ``Mutant.changes``."""
    found = {(each.start, each.end, each.text): each for each in _Module(path, source).mutants()}
    return [found[place] for place in sorted(found)]


class _Module:
    def __init__(self, path: str, source: bytes) -> None:
        self._path, self._source, self._tree = path, source, ast.parse(source)
        self._lines = [0, *(match.end() for match in re.finditer(b"\n", source))]
        imports = (node for node in ast.walk(self._tree) if isinstance(node, ast.Import))
        self._modules = {(alias.asname or alias.name).split(".")[0] for node in imports for alias in node.names}

    def mutants(self) -> Iterator[Mutant]:
        bound = set[str]()
        for slot in slots(self._tree):
            yield from self._below(slot, anchor=self._tree, bound=bound)

    def _below(self, slot: Slot, *, anchor: Any, bound: set[str]) -> Iterator[Mutant]:
        """``anchor`` is the innermost node around this one that has a place of its own in the text. ``bound`` are the
        names that earlier statements of this function have given a value."""
        node = slot.node
        if _is_left_alone(slot):
            return
        inside_a_text = isinstance(anchor, ast.JoinedStr)  # whose parts have no sure place
        if isinstance(node, (ast.expr, ast.stmt)) and not inside_a_text and not isinstance(node, ast.Slice):
            anchor = node
        for operator, other in changes(slot, modules=self._modules, bound=bound):
            yield self._mutant(operator, slot, other, anchor)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            inner = {each.arg for each in ast.walk(node.args) if isinstance(each, ast.arg)}
        elif isinstance(node, ast.ClassDef):
            inner = set()
        else:
            inner = bound
        for each in slots(node):
            yield from self._below(each, anchor=anchor, bound=inner)
        if isinstance(node, ast.stmt):
            bound.update(
                each.id for each in ast.walk(node) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)
            )

    def _mutant(self, operator: str, slot: Slot, other: ast.AST, anchor: Any) -> Mutant:
        old = ast.unparse(anchor)
        if slot.node is anchor:
            new = ast.unparse(other)
        else:
            with slot.holding(other):
                new = ast.unparse(anchor)
        start = self._lines[anchor.lineno - 1] + anchor.col_offset
        end = self._lines[anchor.end_lineno - 1] + anchor.end_col_offset
        before, after = self._shown(start, end, old, new)
        text = f"({new})" if isinstance(anchor, ast.expr) else new
        return Mutant(self._path, anchor.lineno, operator, before, after, start, end, text)

    def _shown(self, start: int, end: int, old: str, new: str) -> tuple[str, str]:
        """What is changed, with the rest of its lines, cut down around the first difference."""
        head = self._source[self._source.rfind(b"\n", 0, start) + 1 : start].decode().lstrip()
        tail = self._source[end:].split(b"\n", 1)[0].decode()
        lines = [f"{head}{' '.join(text.split())}{tail}" for text in (old, new)]
        same = next((at for at, (one, other) in enumerate(zip(*lines, strict=False)) if one != other), 0)
        begin = max(0, same - SHOWN_CHARS_MAX // 3)
        cut = [("…" if begin else "") + line[begin : begin + SHOWN_CHARS_MAX] for line in lines]
        return cut[0], cut[1]


def _is_left_alone(slot: Slot) -> bool:
    return slot.field in FIELDS_LEFT_ALONE or _only_declares(slot.node) or _is_for_people(slot)


def _only_declares(node: ast.AST) -> bool:
    match node:
        case ast.Import() | ast.ImportFrom() | ast.Assert():
            return True
        case ast.Assign(targets=[ast.Name(id="__all__")]) | ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return True
        case ast.Call(func=ast.Name(id=name)) | ast.Expr(value=ast.Call(func=ast.Name(id=name))):
            return name in DECLARING
        case _:
            return False


def _is_for_people(slot: Slot) -> bool:
    match slot.node, slot.parent:
        case ast.Expr(value=ast.Constant()), _:
            return True
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id=name)))), _:
            return name in LOGS
        case ast.keyword(arg=name), ast.Call(func=ast.Name(id="Field")):
            return name in FOR_PEOPLE
        case _:
            return False
