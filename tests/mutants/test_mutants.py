"""The tool that samples mutants, on modules so small that every mutant of them is known."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import psutil
import pytest

from tests.mutants.__main__ import ROOT, as_json, counts, drawn, report, sampled
from tests.mutants.places import Mutant, mutants_of
from tests.mutants.targets import TARGETS
from tests.mutants.trials import Ended, NoBaseline, trials

MODULE = """
    def fee(calls: int) -> int:
        return 5 * calls if calls > 3 else 0
"""
LISTS = [("test_some.py",), ("test_none.py",)]


def changed(source: str, operator: str | None = None) -> set[str]:
    """A module after each of its mutants, without the parentheses that they come in."""
    text = dedent(source).encode()
    found = [each for each in mutants_of("module.py", text) if operator in {None, each.operator}]
    assert all(each.changes(text) for each in found)
    return {each.applied(text).decode().strip() for each in found}


@pytest.mark.parametrize(
    ("before", "operator", "after"),
    [
        ("x = a < b", "Lt to LtE", {"x = (a <= b)"}),
        ("x = a == b", "Eq to NotEq", {"x = (a != b)"}),
        ("x = a in b", "In to NotIn", {"x = (a not in b)"}),
        ("x = a + b", "Add to Sub", {"x = (a - b)"}),
        ("x += a", "Add to Sub", {"x -= a"}),
        ("x = a * b", "Mult to FloorDiv", {"x = (a // b)"}),
        ("x = a and b", "And to Or", {"x = (a or b)"}),
        ("x = a & b", "BitAnd to BitOr", {"x = (a | b)"}),
        ("x = not a", "Not dropped", {"x = (a)"}),
        ("x = -a", "USub dropped", {"x = (a)"}),
        ("x = 7", "constant", {"x = (8)"}),
        ("x = True", "constant", {"x = (False)"}),
        ("x = '0.05'", "constant", {"x = ('0.06')"}),
        ("x = 'a'", "text", {"x = ('mutant')"}),
        ("x = f'{a} b'", "text", {"x = (f'{a}mutant')"}),
        ("def f(a=1): return a", "constant", {"def f(a=(2)): return a"}),
        ("def f(a): return a", "return of None", {"def f(a): return None"}),
        ("f(a)\nx[0] = 1", "statement removed", {"pass\nx[0] = 1", "f(a)\npass"}),
        ("if a:\n    b()", "always", {"if (True):\n    b()"}),
        ("if a:\n    b()", "never", {"if (False):\n    b()"}),
        ("x = [a for a in b if a]", "never", {"x = [a for a in b if (False)]"}),
        ("x = a[b:c]", "slice off by one", {"x = a[(b + 1):c]", "x = a[b:(c + 1)]"}),
        ("x = sorted(a)", "call dropped", {"x = (a)"}),
        ("x = a.strip().lower()", "call dropped", {"x = (a.strip())", "x = (a).lower()"}),
        ("x = (1, 2)", "element removed", {"x = ((1,))", "x = ((2,))"}),
        ("x = {1}", "element removed", {"x = ({*()})"}),
        ("x = {'a': 1, 'b': 2}", "element removed", {"x = ({'a': 1})", "x = ({'b': 2})"}),
    ],
)
def test_a_change_is_this_one_and_the_module_means_something_else_then(
    before: str, operator: str, after: set[str]
) -> None:
    assert changed(before, operator) == after


@pytest.mark.parametrize(
    "source",
    [
        "'''What a module is for.'''",
        "def f(a: 'int | str' = x) -> dict[str, 'b']:\n    '''What it does.'''",
        "amount: 'Decimal'",
        "Either = A | None",
        "name = Field(description='For people.', title='A name')",
        "log.warning('a text', count=1)",
        "assert a > 1, 'a bug'",
        "@dataclass(frozen=True)\nclass A:\n    pass",
        "__all__ = ['a', 'b']",
        "from a import b",
        "T = TypeVar('T', bound='A')",
        "if TYPE_CHECKING:\n    x = 1",
    ],
)
def test_what_only_declares_or_is_for_people_is_never_drawn(source: str) -> None:
    assert changed(source) == set()


def test_a_change_hits_its_own_place_behind_letters_of_several_bytes_and_on_a_later_line() -> None:
    assert changed("x = 'é' if a else b(\n    '→', 7)", "constant") == {"x = 'é' if a else b(\n    '→', (8))"}


def test_a_name_that_has_no_other_value_is_not_left_without_one() -> None:
    assert changed("def f(a):\n    b = a\n    a = b\n    g(a)", "statement removed") == {
        "def f(a):\n    b = a\n    pass\n    g(a)",
        "def f(a):\n    b = a\n    a = b\n    pass",
    }


def test_the_same_seed_draws_the_same_and_another_one_others() -> None:
    path = "stream/watch/series.py"
    first = drawn(ROOT, [path], seed=1, count=8)
    assert len({*first}) == 8
    assert drawn(ROOT, [path], seed=1, count=8) == first
    assert drawn(ROOT, [path], seed=2, count=8) != first


@pytest.mark.slow
def test_a_draw_can_be_confined_to_a_line() -> None:
    path = "stream/watch/series.py"
    line = drawn(ROOT, [path], seed=1, count=1)[0].line
    found = drawn(ROOT, TARGETS, seed=1, count=100, at=[f"{path}:{line}"])
    assert {(mutant.path, mutant.line) for mutant in found} == {(path, line)}


def test_every_module_of_a_pure_room_is_a_target_and_every_list_names_tests_that_exist() -> None:
    rooms = ("producers/src/costream/pricing", "stream/decode", "stream/dedup", "stream/pricing", "stream/rollup")
    modules = [path for room in (*rooms, "stream/watch/rules", "sinks/answers") for path in (ROOT / room).glob("*.py")]
    assert {path.relative_to(ROOT).as_posix() for path in modules} <= TARGETS.keys()
    named = {name for lists in TARGETS.values() for tests in lists for name in tests}
    assert not [name for name in {*TARGETS, *named} if not (ROOT / name).exists()]


# --- trying them ---


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A module with two lists of tests: neither looks at the bound itself."""
    root = tmp_path / "root"
    root.mkdir()
    (root / "charges.py").write_text(dedent(MODULE))
    (root / "test_some.py").write_text("from charges import fee\ndef test_some(): assert fee(9) == 45\n")
    (root / "test_none.py").write_text("from charges import fee\ndef test_none(): assert fee(1) == 0\n")
    return root


def mutants_in(tree: Path, *operators: str) -> list[Mutant]:
    every = drawn(tree, ["charges.py"], seed=1, count=100)
    return sorted((each for each in every if each.operator in operators), key=lambda each: each.operator)


@pytest.mark.slow
def test_a_mutant_is_lost_where_no_list_of_tests_notices_it(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mutants = mutants_in(tree, "Gt to GtE", "always", "return of None")
    results = sampled(tree, mutants, {"charges.py": LISTS}, jobs=2)
    assert {tried.mutant.operator: (tried.outcome, tried.noticed_by) for tried in results} == {
        "Gt to GtE": ("lost", ""),
        "always": ("caught", "test_none.py::test_none"),
        "return of None": ("caught", "test_some.py::test_some"),
    }
    assert counts(results) == {"count": 3, "caught": 2, "no_end": 0, "lost": 1, "lost_percent": 33.3}
    assert "charges.py:3: Gt to GtE\n  - return 5 * calls if calls > 3 else 0\n" in report(7, results)
    assert "return 5 * calls if calls >= 3 else 0" in capsys.readouterr().err
    assert '"lost_percent": 33.3' in as_json(7, results)
    assert (tree / "charges.py").read_text() == dedent(MODULE)


@pytest.mark.slow  # it waits for what never ends
def test_a_mutant_that_never_ends_is_caught_and_what_it_started_is_ended(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.mutants.trials.SECONDS_MAX", (30.0, 30.0))
    test = f"""
        import subprocess, sys
        from charges import fee
        def test_some():
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
            open({str(tmp_path / "child")!r}, "w").write(str(child.pid))
            while fee(9) != 45: pass
            child.kill()
            child.wait()
    """
    (tree / "test_some.py").write_text(dedent(test))
    (tried,) = trials(tree, mutants_in(tree, "never"), lambda _: LISTS, jobs=1)
    assert tried.outcome == "caught: no end"
    child = int((tmp_path / "child").read_text())
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE


def test_a_log_that_is_shown_is_not_taken_for_the_test_that_failed() -> None:
    shown = "ERROR    some.server:server.py:455 it went wrong\nFAILED test_some.py::test_some - assert 1 == 2\n"
    assert Ended(1, shown).noticed_by == "test_some.py::test_some"
    assert Ended(0, "1 passed").noticed_by == ""


def test_tests_that_fail_without_a_mutant_catch_none(tree: Path) -> None:
    (tree / "test_some.py").write_text("def test_some(): assert False\n")
    with pytest.raises(NoBaseline, match="assert False"):
        [*trials(tree, mutants_in(tree, "always"), lambda _: LISTS, jobs=1)]


@pytest.mark.slow
def test_a_run_that_is_ended_ends_its_tests_and_leaves_no_copy(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    (tree / "test_some.py").write_text(
        "import time\nfrom charges import fee\ndef test_some(): fee(1) and time.sleep(600)\n"
    )
    ended = trials(tree, mutants_in(tree, "Gt to GtE", "always"), lambda _: LISTS, jobs=1)
    assert next(ended).outcome == "lost"
    assert [*(tmp_path / "temporary").iterdir()]
    ended.close()  # as Ctrl-C does, while the second one sleeps
    assert not [*(tmp_path / "temporary").iterdir()]
