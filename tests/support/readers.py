"""What others read with: Java's and Node's clients, fetched once into `.cache`, in versions that `tests/readers` pins.

A test starts a program of `tests/readers` as anybody would write it, and judges what it prints. A machine without Java
and Maven, or without Node, skips these tests; CI fails.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import pytest

from stream.up.kafka import KafkaMissing, fetch_jars, find_java
from tests.support.kafka import ROOT

PROGRAMS: Final = ROOT / "tests" / "readers"
CACHE: Final = ROOT / ".cache" / "readers"
SECONDS_MAX: Final = 120.0

Found = TypeVar("Found")


class ReaderMissing(Exception):
    """Java, Maven, Node or a library of theirs is not here; the text says what to install."""


def run_java(program: str, *arguments: str) -> str:
    """What a program of `tests/readers` prints; Java compiles the one file as it starts it."""
    _here(lambda: _found("javac", packages="openjdk-17-jdk-headless"))
    java, jars = _here(find_java), _here(lambda: fetch_jars(CACHE, PROGRAMS / "pom.xml"))
    return _run([java, "-XX:+UseSerialGC", "-cp", f"{jars}/*", str(PROGRAMS / program), *arguments])


def run_node(program: str, *arguments: str) -> str:
    """What a program of `tests/readers` prints."""
    return _run(
        [_here(lambda: _found("node")), str(PROGRAMS / program), *arguments], NODE_PATH=str(_here(_fetch_modules))
    )


def table(printed: str) -> dict[str, str]:
    """Lines of ``name TAB value``."""
    return dict(line.split("\t", 1) for line in printed.splitlines())


def _run(command: list[str], **environment: str) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=SECONDS_MAX, env=os.environ | environment
    )
    assert done.returncode == 0, f"{command[-1]} ended with status {done.returncode}:\n{done.stdout}{done.stderr}"
    return done.stdout


def _here(find: Callable[[], Found]) -> Found:
    try:
        return find()
    except (KafkaMissing, ReaderMissing) as error:
        if os.environ.get("CI"):
            pytest.fail(f"CI must run these tests: {error}", pytrace=False)
        pytest.skip(str(error))  # a machine without Java or Node may still run the other tests; in CI it fails


def _found(program: str, *, packages: str = "nodejs npm") -> str:
    if (found := shutil.which(program)) is None:
        raise ReaderMissing(f"there is no `{program}` here (Debian: apt-get install {packages})")
    return found


def _fetch_modules() -> Path:
    """The folder of Node's packages, as the lock names them. The second of two processes waits for the first."""
    lock = (PROGRAMS / "package-lock.json").read_bytes()
    modules = CACHE / f"node-{hashlib.sha256(lock).hexdigest()[:12]}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if not modules.exists():
            _install(modules)
    return modules / "node_modules"


def _install(modules: Path) -> None:
    partial = modules.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    for name in ("package.json", "package-lock.json"):
        shutil.copy(PROGRAMS / name, partial)
    command = [_found("npm"), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(partial)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ReaderMissing(f"npm could not install {PROGRAMS}:\n{done.stdout[-4000:]}{done.stderr[-4000:]}")
    partial.rename(modules)
