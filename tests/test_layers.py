"""The folders are the data path, and imports run the same way: producers, stream, sinks, and never back."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = {"costream": ROOT / "producers" / "src" / "costream", "stream": ROOT / "stream", "sinks": ROOT / "sinks"}
MAY_IMPORT = {"costream": set[str](), "sinks": {"costream"}, "stream": {"costream", "sinks"}}
SOURCES = [(layer, path) for layer, folder in FOLDERS.items() for path in sorted(folder.rglob("*.py"))]


def imported(source: str) -> Iterator[str]:
    """The top-level package of every import, those inside functions and those by name included."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute, so that a reader sees which layer they reach into"
            yield (node.module or "").split(".")[0]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            yield from (arg.value.split(".")[0] for arg in node.args if isinstance(arg, ast.Constant))


@pytest.mark.parametrize(("layer", "path"), SOURCES, ids=[str(path.relative_to(ROOT)) for _, path in SOURCES])
def test_a_module_imports_only_the_layers_below_it(layer: str, path: Path) -> None:
    layers = set(imported(path.read_text())) & {*FOLDERS, "tests", "benchmarks"}
    assert layers - {layer} <= MAY_IMPORT[layer]


def private_to_others(layer: str, source: str) -> set[str]:
    """What a module takes from behind the doors of another layer."""
    named = [name.split(".") for name in modules_in(source)]
    return {".".join(parts) for parts in named if parts[0] in set(FOLDERS) - {layer} and _is_private(parts)}


def _is_private(parts: list[str]) -> bool:
    return any(part.startswith("_") for part in parts) or parts[:2] == ["costream", "delivery"]


@pytest.mark.parametrize(("layer", "path"), SOURCES, ids=[str(path.relative_to(ROOT)) for _, path in SOURCES])
def test_a_module_takes_nothing_private_from_another_layer(layer: str, path: Path) -> None:
    assert private_to_others(layer, path.read_text()) == set()


def test_what_is_private_is_seen() -> None:
    source = (
        "from costream.delivery.voice import say\nfrom costream import _hidden, producer\nfrom stream._own import it"
    )
    assert private_to_others("stream", source) == {"costream.delivery.voice.say", "costream._hidden"}


def test_every_layer_has_modules_to_look_at() -> None:
    assert {layer for layer, _ in SOURCES} == set(FOLDERS)


def test_an_import_is_seen_wherever_it_stands() -> None:
    source = "import a.b\nfrom c.d import e\ndef f():\n    from g import h\n    importlib.import_module('i.j')"
    assert set(imported(source)) == {"a", "c", "g", "i"}


# --- the rooms of the stream ---

STREAM = FOLDERS["stream"]
ROOMS = sorted(path.parent.name for path in STREAM.glob("*/__init__.py"))
PURE = {"budgets", "decode", "dedup", "pricing", "rollup", "rulebook"}
WORDS = "sinks.clickhouse.vocabulary"  # of tables and frames, which everybody shares
# What reaches outside of a function's arguments, or waits.
IMPURE = {
    *("aiohttp", "aiokafka", "asyncio", "clickhouse_connect", "concurrent", "confluent_kafka", "faust", "http", "mode"),
    *(
        "multiprocessing",
        "os",
        "prometheus_client",
        "random",
        "requests",
        "signal",
        "socket",
        "structlog",
        "subprocess",
    ),
    *("sys", "tempfile", "threading", "time", "urllib"),
}
PURE_PART = "urllib.parse"


def rooms_in(source: str) -> set[str]:
    """The rooms of the stream that a module imports from."""
    return {name.split(".")[1] for name in modules_in(source) if name.startswith("stream.")} & set(ROOMS)


def modules_in(source: str) -> Iterator[str]:
    """Every module that is imported, in full."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def sources_of(room: str) -> Iterator[str]:
    return (path.read_text() for path in sorted((STREAM / room).rglob("*.py")))


def test_there_is_no_circle_among_rooms() -> None:
    imports = {room: set[str]().union(*map(rooms_in, sources_of(room))) - {room} for room in ROOMS}
    assert not circle_in(imports)


def circle_in(imports: dict[str, set[str]]) -> dict[str, set[str]]:
    """What is left once every room whose imports are all gone is taken out, again and again."""
    left = dict(imports)
    while free := [room for room, needed in left.items() if not needed & left.keys()]:
        for room in free:
            del left[room]
    return left


@pytest.mark.parametrize("room", sorted(PURE))
def test_a_pure_room_reaches_nothing_outside(room: str) -> None:
    for source in sources_of(room):
        modules = {name for name in modules_in(source) if not name.startswith(PURE_PART)}
        assert not {name.split(".")[0] for name in modules} & IMPURE
        assert {name.rpartition(".")[0] for name in modules if name.startswith("sinks")} <= {WORDS}
        assert rooms_in(source) <= PURE


def test_the_words_that_all_share_import_nothing() -> None:
    source = Path(*WORDS.split(".")).with_suffix(".py")
    assert set(modules_in((ROOT / source).read_text())) == {"__future__.annotations", "typing.Final"}


SAYING = sorted(path for top in ("stream", "sinks") for path in FOLDERS[top].rglob("__init__.py"))


@pytest.mark.parametrize("path", SAYING, ids=[path.parent.relative_to(ROOT).as_posix() for path in SAYING])
def test_a_room_says_what_it_is_for(path: Path) -> None:
    said = ast.get_docstring(ast.parse(path.read_text()))
    assert said, "it says in two or three sentences what belongs there and what does not"


def test_a_circle_is_seen_and_what_only_leads_to_one_is_not_taken_for_it() -> None:
    assert not circle_in({"a": {"b", "c"}, "b": {"c"}, "c": set()})
    assert circle_in({"a": {"b"}, "b": {"c"}, "c": {"b"}}).keys() >= {"b", "c"}
    assert rooms_in("from stream.decode import frame\nimport stream.runtime.settings\nfrom stream import audit") == {
        *("audit", "decode", "runtime")
    }
