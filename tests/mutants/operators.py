"""What one node of a module's tree may become: small changes, of which each asks whether any test notices.

Nothing here knows of text or of files: ``places.py`` walks a module, asks here, and writes the change into its text.
"""

from __future__ import annotations

import ast
import contextlib
import copy
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Final

Change = tuple[str, ast.AST]  # what is done, and what takes the node's place

_BOTH_WAYS: Final = (
    *((ast.Lt, ast.LtE), (ast.Gt, ast.GtE), (ast.Eq, ast.NotEq), (ast.Is, ast.IsNot), (ast.In, ast.NotIn)),
    *((ast.Add, ast.Sub), (ast.Mult, ast.FloorDiv), (ast.And, ast.Or), (ast.BitAnd, ast.BitOr)),
)
SWAPS: Final[dict[type[ast.AST], type[ast.AST]]] = {
    **dict(_BOTH_WAYS),
    **{other: one for one, other in _BOTH_WAYS},
    ast.Div: ast.Mult,
    ast.Mod: ast.Mult,
}
# Without these calls a program only crashes, or it says the same: a column of polars may be named by its text.
CALLS_THAT_STAY: Final = {"len", "range", "enumerate", "super", "type", "iter", "next", "col", "lit"}


@dataclass(frozen=True, slots=True)
class Slot:
    """Where a node hangs: a field of its parent, and its number where that is a list."""

    parent: Any
    field: str
    index: int | None

    @property
    def node(self) -> Any:
        held = getattr(self.parent, self.field)
        return held if self.index is None else held[self.index]

    @contextlib.contextmanager
    def holding(self, other: ast.AST) -> Iterator[None]:
        """Another node hangs here for a while."""
        node = self.node
        self._put(other)
        try:
            yield
        finally:
            self._put(node)

    def _put(self, node: ast.AST) -> None:
        if self.index is None:
            setattr(self.parent, self.field, node)
        else:
            getattr(self.parent, self.field)[self.index] = node


def slots(node: ast.AST) -> Iterator[Slot]:
    for name, value in ast.iter_fields(node):
        if isinstance(value, list):
            yield from (Slot(node, name, index) for index, each in enumerate(value) if isinstance(each, ast.AST))
        elif isinstance(value, ast.AST):
            yield Slot(node, name, None)


def changes(slot: Slot, *, modules: Collection[str], bound: Collection[str]) -> Iterator[Change]:
    """``modules`` are the names that stand for an imported module; ``bound`` are those that have had a value before."""
    node = slot.node
    match node:
        case ast.stmt():
            yield from _of_a_statement(node, bound)
        case ast.operator() | ast.cmpop() | ast.boolop() if type(node) in SWAPS and not _joins_types(slot.parent):
            yield f"{type(node).__name__} to {SWAPS[type(node)].__name__}", SWAPS[type(node)]()
        case ast.UnaryOp(op=ast.Not() | ast.Invert() | ast.USub()):
            yield f"{type(node.op).__name__} dropped", node.operand
        case ast.Constant():
            yield from _of_a_constant(node.value)
        case ast.Call() if not isinstance(slot.parent, ast.Expr):
            yield from _without_the_call(node, modules)
        case ast.Tuple() | ast.List() | ast.Set() | ast.Dict() if _is_a_table(slot):
            yield from _with_one_element_less(node)
    if isinstance(node, ast.expr) and not isinstance(node, ast.Constant):
        yield from _of_its_place(slot)


def _of_a_statement(node: ast.stmt, bound: Collection[str]) -> Iterator[Change]:
    match node:
        case ast.Return(value=None):
            yield "return removed", ast.Pass()
        case ast.Return(value=ast.Constant(value=None)):
            return
        case ast.Return():
            yield "return of None", ast.Return(ast.Constant(None))
        case ast.Expr(value=ast.Constant()):
            return
        case ast.Expr() | ast.AugAssign() | ast.Delete() | ast.Raise() | ast.Continue() | ast.Break():
            yield "statement removed", ast.Pass()
        case ast.Assign(targets=targets) if all(_has_been(target, bound) for target in targets):
            yield "statement removed", ast.Pass()


def _has_been(target: ast.expr, bound: Collection[str]) -> bool:
    """Whether there is a value without this assignment: else its removal is noticed wherever it is run."""
    match target:
        case ast.Name():
            return target.id in bound
        case ast.Tuple() | ast.List():
            return all(_has_been(each, bound) for each in target.elts)
        case _:
            return True


def _of_a_constant(value: Any) -> Iterator[Change]:
    match value:
        case bool():
            yield "constant", ast.Constant(not value)
        case int() | float():
            yield "constant", ast.Constant(value + 1)
        case str() if re.fullmatch(r"[0-9]+(\.[0-9]+)?", value):
            yield "constant", ast.Constant(value[:-1] + str((int(value[-1]) + 1) % 10))
        case str():
            yield "text", ast.Constant("mutant")
        case bytes():
            yield "text", ast.Constant(b"mutant")


def _without_the_call(node: ast.Call, modules: Collection[str]) -> Iterator[Change]:
    """``value.method(...)`` becomes ``value``, and ``function(value)`` becomes ``value``."""
    match node:
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)) if name in CALLS_THAT_STAY:
            return
        case ast.Call(func=ast.Attribute(value=receiver)) if _is_a_value(receiver, modules):
            yield "call dropped", receiver
        case ast.Call(args=[only], keywords=[]) if not isinstance(only, ast.Starred):
            yield "call dropped", only


def _is_a_value(receiver: ast.expr, modules: Collection[str]) -> bool:
    """Neither a module nor a class nor the object whose method we are in."""
    match receiver:
        case ast.Name(id=name):
            return name not in {*modules, "self", "cls"} and not name[:1].isupper()
        case ast.Attribute(value=ast.Name(id=name)):
            return name not in modules
        case _:
            return True


def _is_a_table(slot: Slot) -> bool:
    """Whether it has a use with one element less. What is unpacked, returned or a key has a fixed number of them."""
    match slot.node, slot.parent:
        case ast.Dict() | ast.Set(), _:
            return True
        case ast.List(ctx=ast.Load()), _:
            return True
        case ast.Tuple(ctx=ast.Load(), elts=elements), parent if all(map(_is_a_name_or_value, elements)):
            return not isinstance(parent, (ast.Subscript, ast.Return)) and not _is_unpacked(parent)
        case _:
            return False


def _is_a_name_or_value(node: ast.expr) -> bool:
    return isinstance(node, (ast.Constant, ast.Name, ast.Attribute, ast.Starred))


def _is_unpacked(parent: Any) -> bool:
    return isinstance(parent, ast.Assign) and isinstance(parent.targets[0], ast.Tuple)


def _with_one_element_less(node: ast.Tuple | ast.List | ast.Set | ast.Dict) -> Iterator[Change]:
    elements = node.values if isinstance(node, ast.Dict) else node.elts
    for index in range(len(elements)):
        less = copy.copy(node)
        for name in ("keys", "values", "elts"):
            if hasattr(less, name):
                setattr(less, name, [each for at, each in enumerate(getattr(node, name)) if at != index])
        yield "element removed", less


def _joins_types(node: Any) -> bool:
    """``A | None`` is a type."""
    return (
        isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr) and any(map(_is_a_type, (node.left, node.right)))
    )


def _is_a_type(node: ast.expr) -> bool:
    match node:
        case ast.Constant(value=None):
            return True
        case ast.Name():
            return node.id in {"str", "int", "bytes", "float", "dict", "list", "tuple"} or node.id[:1].isupper()
        case ast.Subscript() | ast.BinOp(op=ast.BitOr()):
            return _is_a_type(node.value if isinstance(node, ast.Subscript) else node.right)
        case _:
            return False


def _of_its_place(slot: Slot) -> Iterator[Change]:
    match slot.parent, slot.field:
        case (ast.If() | ast.IfExp(), "test") | (ast.comprehension(), "ifs") | (ast.match_case(), "guard"):
            yield "always", ast.Constant(True)
            yield "never", ast.Constant(False)
        case ast.While(), "test":
            yield "never", ast.Constant(False)
        case ast.Slice(), "lower" | "upper" if not isinstance(slot.node, ast.UnaryOp):
            yield "slice off by one", ast.BinOp(slot.node, ast.Add(), ast.Constant(1))
