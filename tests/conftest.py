"""What every test may use; each part says in the header of a run which real thing it stands on."""

import logging
from collections.abc import Iterator

import pytest
import structlog

pytest_plugins = ["tests.support.kafka", "tests.support.warehouse"]


@pytest.fixture(autouse=True)
def logs_of_its_own() -> Iterator[None]:
    """A command run in this process routes the logs to its own standard error, which closes with it."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers[:], root.level = handlers, level
