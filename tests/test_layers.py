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


def test_every_layer_has_modules_to_look_at() -> None:
    assert {layer for layer, _ in SOURCES} == set(FOLDERS)


def test_an_import_is_seen_wherever_it_stands() -> None:
    source = "import a.b\nfrom c.d import e\ndef f():\n    from g import h\n    importlib.import_module('i.j')"
    assert set(imported(source)) == {"a", "c", "g", "i"}
