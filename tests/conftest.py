"""What every test may use; each part says in the header of a run which real thing it stands on."""

import gc
import logging
from collections.abc import Iterator

import hypothesis
import pytest
import structlog

pytest_plugins = [
    *("tests.support.shared", "tests.support.kafka", "tests.support.secure_kafka"),
    *("tests.support.databases", "tests.support.warehouse", "tests.support.small_disk"),
]

# A property is tried on enough examples to find what is common at once, and on all of them in `make test-slow`.
# A number that a test states is that of all of them: see tests/support/properties.py.
hypothesis.settings.register_profile("dev", deadline=None, max_examples=25, print_blob=True)
hypothesis.settings.register_profile("ci", deadline=None, max_examples=100, print_blob=True)
hypothesis.settings.load_profile("dev")


def pytest_collectstart() -> None:
    gc.disable()  # what is collected stays until the end: to look through it for garbage takes time and finds none


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True)
def logs_of_its_own() -> Iterator[None]:
    """A command run in this process routes the logs to its own standard error, which closes with it."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers[:], root.level = handlers, level
