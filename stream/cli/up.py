"""costream up: the local stack that stays."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from stream.cli import common

if TYPE_CHECKING:
    from stream.up.stack import Stack

Port = Annotated[int, typer.Option(min=1, max=65_535)]
DEMO_SPAN: Final = timedelta(days=7)
DEMO_WAIT_MAX: Final = timedelta(minutes=3)  # it takes seconds; then it goes on by itself


def up(
    data_dir: Annotated[Path, typer.Option(help="Where everything is kept; created where missing.")] = Path(
        "costream-data"
    ),
    kafka: Annotated[
        Literal["jvm", "embedded"] | None,
        typer.Option(help="jvm: Apache Kafka, keeps all. embedded: in memory. Default: jvm where there is Java."),
    ] = None,
    kafka_port: Port = 9092,
    clickhouse_port: Port = 8123,
    health_port: Annotated[
        int | None, typer.Option(min=1, max=65_535, help="Of the first worker; by itself 9108, or a free one.")
    ] = None,
    page_port: Annotated[
        int | None, typer.Option(min=1, max=65_535, help="Of the page; by itself 8000, or a free one.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, max=12, help="Worker processes.")] = 1,
    demo: Annotated[
        bool, typer.Option("--demo", help="Play the demo into it: 28,185 real requests, once a folder.")
    ] = False,
) -> None:
    """Run the whole system on this machine until Ctrl-C: Kafka, the embedded ClickHouse, workers, and the page that
    shows what is spent. For development.

    All data is in --data-dir, and the next start goes on with it. What ends by itself is started again. Settings
    of the worker (COSTREAM_...) are taken from the environment. --demo plays what `costream demo` plays and leaves
    the stack running. A folder gets it once: a second time publishes only what is not stored yet, and says so.

    Examples: costream up --data-dir ./costream-data · costream up --demo
    """
    settings = common.settings()
    common.configure_logs("WARNING")
    from stream.up.stack import Stack, Wanted, default_broker, usual_or_free

    wishes = _Wishes()
    _note_signals(wishes)
    started = time.monotonic()
    wanted = Wanted(
        folder=data_dir.resolve(),
        broker=kafka or default_broker(),
        kafka_port=kafka_port,
        clickhouse_port=clickhouse_port,
        health_port=health_port,
        page_port=page_port or usual_or_free(settings.serve_port),
        workers=workers,
    )
    with common.explained():
        with Stack(wanted, settings=settings, environment=os.environ, tell=_tell) as stack:
            wishes.is_running = True
            _tell_what_next(stack, time.monotonic() - started)
            if demo and not wishes.to_end:
                _play_demo(stack, wishes)
            stack.watch(until=lambda: wishes.to_end)
            _tell("ending: workers store what they hold, then the engine, then Kafka")
        _tell(f"ended; what is kept is in {wanted.folder}")


@dataclass(slots=True)
class _Wishes:
    """What signals have asked for. No ``threading.Event``: a signal interrupts the thread that waits for it, perhaps
    while that holds the lock which setting it takes, and then both wait for ever."""

    to_end: bool = False
    is_running: bool = False


def _note_signals(wishes: _Wishes) -> None:
    """The first signal ends the stack in order, and one while it starts breaks that off; another one ends it at once:
    nothing that was acknowledged is lost, and the parts are told by the kernel (on Linux)."""

    def on_signal(number: int, _frame: object) -> None:
        if wishes.to_end:
            os._exit(128 + number)
        wishes.to_end = True
        if not wishes.is_running:
            raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)


def _tell(line: str) -> None:
    typer.echo(line)


def _tell_what_next(stack: Stack, seconds: float) -> None:
    _tell(f"\nready in {seconds:.0f} s. Ctrl-C ends it, and the next `costream up` goes on with the same data.")
    for name, value in stack.exports.items():
        _tell(f"  export {name}={value}")
    _tell("  publish   costream.record(provider=..., model=..., input_tokens=..., output_tokens=...) in any service")
    _tell('  ask       costream query "SELECT * FROM feature_cost_summary"')
    _tell(f"  look      {stack.page_url} in a browser, or `costream status --watch`")
    _tell("  alerts    costream alerts tail\n")


def _play_demo(stack: Stack, wishes: _Wishes) -> None:
    from stream.demo.run import play_into

    span = min(DEMO_SPAN, stack.settings.retention - timedelta(days=1))  # all of it is to be kept
    play_into(
        stack,
        span=span,
        now=datetime.now(UTC),
        broken_off=lambda: wishes.to_end,
        tell=_tell,
        wait_max=DEMO_WAIT_MAX,
    )
