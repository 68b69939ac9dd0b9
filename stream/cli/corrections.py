"""What every command does that writes corrections: a repair, a re-pricing, a rebuild. One of them at a time may."""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Final

from rich.text import Text

from stream.cli import common

if TYPE_CHECKING:
    from sinks.clickhouse.claims import Claim, Claimed
    from sinks.clickhouse.reader import Reader
    from sinks.clickhouse.writer import Writer
    from stream.runtime.settings import Settings

INTERRUPTED: Final = "interrupted: what was changed by then stands; give the same command again to do the rest"


@contextmanager
def correcting(settings: Settings, doing: str) -> Iterator[tuple[Reader, Writer, Claim]]:
    """The warehouse, and the right to write corrections there."""
    import time
    from uuid import uuid4

    from sinks.clickhouse.claims import claimed
    from sinks.clickhouse.reader import Reader
    from sinks.clickhouse.writer import Writer

    address = common.address(settings)
    with closing(Reader(address)) as reader, closing(Writer(address)) as writer:
        right = claimed(
            reader,
            writer,
            holder=holder(),
            doing=doing,
            new_id=lambda: str(uuid4()),
            pause=time.sleep,
            monotonic=time.monotonic,
            waiting=_waiting,
        )
        with right as claim:
            yield reader, writer, claim


def holder() -> str:
    """Who this process is, to a person who waits for it."""
    return f"{getpass.getuser()} ({socket.gethostname()}, process {os.getpid()})"


def _waiting(other: Claimed) -> None:
    common.errors.print(
        Text(
            f"costream: {other.doing} by {other.holder} was last heard of at {other.seen_at:%H:%M:%S} UTC; waiting for "
            "up to half a minute, in case it was killed"
        )
    )
