"""The book of patches is whole: no other file of stream/ reaches what Faust, mode or aiokafka keep to themselves."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread

from stream.consume import faust_patches
from tests.stream import test_faust_patches

STREAM = Path(faust_patches.__file__).parents[1]
BOOK = Path(faust_patches.__file__)
OTHERS = sorted(path for path in STREAM.rglob("*.py") if path != BOOK)
IDS = [str(path.relative_to(STREAM)) for path in OTHERS]
LIBRARIES = {"faust", "mode", "aiokafka"}
# What their documentation hands out; whatever else is imported from them stands in the book.
DOCUMENTED = {
    *("aiokafka.errors", "aiokafka.structs"),
    *("faust", "faust.contrib.asgi", "faust.transport.drivers.aiokafka", "faust.types", "faust.types.tuples"),
    "mode.utils.locks",
}
DOCUMENTED_IN_SPITE_OF_THEIR_NAMES = ("os._exit", "KafkaError._")


def reached_by_import(source: str) -> set[str]:
    """What is imported from the libraries beyond what they document, each in full."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name not in DOCUMENTED}
        elif isinstance(node, ast.ImportFrom) and node.module not in DOCUMENTED:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names if alias.name.startswith("_")}
    return {name for name in found if name.split(".")[0] in LIBRARIES}


def reached_by_attribute(source: str) -> set[str]:
    """Private attributes of objects of others: neither of ``self``, nor such as this very file gives to a class."""
    nodes = list(ast.walk(ast.parse(source)))
    own = {each.attr for each in nodes if isinstance(each, ast.Attribute) and is_own(each.value)} - NAMES_IN_BOOK
    found = [
        each for each in nodes if isinstance(each, ast.Attribute) and is_private(each.attr) and each.attr not in own
    ]
    written = {ast.unparse(each) for each in found if not is_own(each.value)} | {
        ast.unparse(each)
        for each in nodes
        if isinstance(each, ast.Call) and ast.unparse(each.func) in {"getattr", "setattr", "hasattr", "delattr"}
        if not is_own(each.args[0])
        and any(isinstance(arg, ast.Constant) and is_private(str(arg.value)) for arg in each.args)
    }
    return {each for each in written if not each.startswith(DOCUMENTED_IN_SPITE_OF_THEIR_NAMES)}


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def is_own(owner: ast.expr) -> bool:
    return isinstance(owner, ast.Name) and owner.id in {"self", "cls"}


NAMES_IN_BOOK = {
    each.attr
    for each in ast.walk(ast.parse(BOOK.read_text()))
    if isinstance(each, ast.Attribute) and is_private(each.attr)
}


@pytest.mark.parametrize("path", OTHERS, ids=IDS)
def test_nothing_else_imports_what_these_libraries_do_not_document(path: Path) -> None:
    assert not reached_by_import(path.read_text())


@pytest.mark.parametrize("path", OTHERS, ids=IDS)
def test_nothing_else_reaches_a_private_attribute_of_somebody_elses_object(path: Path) -> None:
    assert not reached_by_attribute(path.read_text())


def heirs() -> Iterator[type]:
    """Every class of stream/ that is made of one of the libraries', those in the book left out."""
    for path in OTHERS:
        source = path.read_text()
        if any(library in source for library in LIBRARIES) or BOOK.stem in source:
            yield from _heirs_in(
                importlib.import_module(".".join(path.relative_to(STREAM.parent).with_suffix("").parts))
            )


def _heirs_in(module: ModuleType) -> Iterator[type]:
    for each in vars(module).values():
        if inspect.isclass(each) and each.__module__ == module.__name__ and any(map(is_theirs, each.__mro__)):
            yield each


def is_theirs(owner: type) -> bool:
    return owner.__module__.split(".")[0] in LIBRARIES


def private_names_of(*owners: type) -> set[str]:
    """The private methods of these classes, and the private attributes that their own code has."""
    found: set[str] = set()
    for owner in owners:
        tree = ast.parse(textwrap.dedent(inspect.getsource(owner)))
        found |= {each.attr for each in ast.walk(tree) if isinstance(each, ast.Attribute) and is_own(each.value)}
        found |= {each.name for each in ast.walk(tree) if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)}
    return set(filter(is_private, found))


HEIRS = list(heirs())


@pytest.mark.parametrize("heir", HEIRS, ids=lambda heir: heir.__name__)
def test_a_class_made_of_theirs_uses_and_replaces_none_of_their_private_names(heir: type) -> None:
    theirs = private_names_of(*(owner for owner in heir.__mro__ if is_theirs(owner)))
    assert not private_names_of(heir) & theirs


def test_what_reaches_a_seam_is_seen_however_it_is_written() -> None:
    source = "import aiokafka.consumer\nfrom faust.streams import x\nfrom faust import _y, App\nimport faust, os"
    assert reached_by_import(source) == {"aiokafka.consumer", "faust.streams.x", "faust._y"}
    source = "self._mine\nself.consumer._theirs\nsuper()._theirs()\nos._exit(1)\nx.__dict__\nsetattr(x, '_y', 1)"
    assert reached_by_attribute(source) == {"self.consumer._theirs", "super()._theirs", "setattr(x, '_y', 1)"}
    assert {"_fetch_records", "_consumer"} < private_names_of(AIOKafkaConsumerThread)
    assert {heir.__name__ for heir in HEIRS} >= {"ChunkConsumer", "ChunkConsumerThread", "StatelessApp"}


# --- what the book says of each seam ---------------------------------------------------------------------------------

SEAMS = [
    each
    for name, each in vars(faust_patches).items()
    if not name.startswith("_") and each is not faust_patches.require_pinned_versions
    if (inspect.isclass(each) or inspect.isfunction(each)) and each.__module__ == faust_patches.__name__
]


@pytest.mark.parametrize("seam", SEAMS, ids=lambda seam: seam.__name__)
def test_each_seam_says_what_it_reaches_in_which_version_and_why_and_names_its_guard(seam: object) -> None:
    said = inspect.getdoc(seam) or ""
    reaches = re.search(r"^Reaches: (\S+) ([0-9.]+), ", said, re.MULTILINE)
    assert reaches and faust_patches.PINNED[reaches[1]] == reaches[2]
    assert re.search(r"^Why: \S", said, re.MULTILINE)
    guard = re.search(r"^Guard: (test_\w+)$", said, re.MULTILINE)
    assert guard and callable(getattr(test_faust_patches, guard[1]))


def test_the_book_has_all_of_the_seams() -> None:
    assert len(SEAMS) >= 18
