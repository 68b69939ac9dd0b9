"""A stage of work with a thread of its own, so that the loop goes on meanwhile and no stage runs twice at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Stage:
    """Runs blocking calls one after the other, in the order in which they were asked for."""

    def __init__(self, name: str) -> None:
        self._thread = ThreadPoolExecutor(1, name)

    async def run(self, work: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, partial(work, *args, **named))

    def close(self) -> None:
        """Return when the call that runs has ended; those that wait are dropped."""
        self._thread.shutdown(cancel_futures=True)
