"""How a worker's process ends: with which status, and at once where going on would acknowledge what is not stored."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, Final, NoReturn

import structlog

from sinks.errors import WarehouseError
from stream.runtime.errors import StreamError

EXIT_OK: Final = 0
EXIT_BUG: Final = 70  # EX_SOFTWARE: an error nobody expected; the offsets replay after the restart
EXIT_TEMPORARY: Final = 75  # EX_TEMPFAIL: start me again
EXIT_REFUSED: Final = 78  # EX_CONFIG: Kafka or the warehouse says no, and goes on saying it until a person acts
WHEN_REFUSED: Final = "the process ends; nothing was acknowledged: mend it and start again, all replays"

log = structlog.get_logger(__name__)

Task = Callable[..., Coroutine[Any, Any, None]]


def guarded(run: Task, *, end_process: Callable[[int], NoReturn] = os._exit) -> Task:
    """An error that escaped would make Faust acknowledge what was not stored. So it ends the process instead."""

    @wraps(run)  # Faust looks at the signature to know what a task or agent takes
    async def guarded_run(*args: Any) -> None:
        try:
            await run(*args)
        except asyncio.CancelledError:
            raise
        except (WarehouseError, StreamError) as error:
            log.error("refused for good", task=run.__name__, reason=str(error), next=WHEN_REFUSED)
            end_process(EXIT_REFUSED)
        except BaseException:
            log.exception("bug", task=run.__name__, next="the process ends; nothing was acknowledged, all replays")
            end_process(EXIT_BUG)

    return guarded_run
