"""What every command shares: the settings, the console, and errors a person can act on."""

from __future__ import annotations

import difflib
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Final, NoReturn

import typer
from rich.console import Console
from rich.text import Text

from sinks.errors import WarehouseError
from stream.runtime.errors import StreamError

if TYPE_CHECKING:
    from sinks.clickhouse.connect import ClickHouseAddress
    from stream.runtime.settings import Settings

EXIT_USAGE: Final = 2  # the command or the configuration is wrong: nothing was done
EXIT_FAILED: Final = 1  # it was right, and did not work or did not hold

# Settings of the first release whose values would have no effect, and nobody would notice.
MOVED: Final = {
    "COSTREAM_SPIKE_ENABLED": ("[hourly_spike]", "on"),
    "COSTREAM_SPIKE_THRESHOLD": ("[hourly_spike]", "threshold"),
    "COSTREAM_SPIKE_CLEAR": ("[hourly_spike]", "clear"),
    "COSTREAM_SPIKE_HISTORY_HOURS_MAX": ("[hourly_spike]", "history_hours_max"),
    "COSTREAM_SPIKE_HISTORY_HOURS_MIN": ("[hourly_spike]", "history_hours_min"),
    "COSTREAM_ANOMALY_ENABLED": ("[hourly_anomaly]", "on"),
    "COSTREAM_ANOMALY_SCORE": ("[hourly_anomaly]", "score"),
    "COSTREAM_ANOMALY_SCORE_CLEAR": ("[hourly_anomaly]", "score_clear"),
    "COSTREAM_ALERT_COST_USD_MIN": ("[hourly_anomaly]", "cost_usd_min"),
    "COSTREAM_UNKNOWN_PRICE_ENABLED": ("[unknown_price]", "on"),
}

LEVELS: Final = {"info": "cyan", "warning": "yellow", "critical": "red", "emergency": "bold white on red"}  # of alerts
COLUMNS_MAX: Final = 80  # what a person is told fits the usual terminal, however wide a name in it is

PREFIX: Final = "COSTREAM_"
OF_TESTS: Final = "COSTREAM_TEST_"
OF_SECRETS: Final = "COSTREAM_SECRET_"  # of channels: each has the name that a file of rules gives it

console = Console()  # colour only on a terminal, as rich does by itself
errors = Console(stderr=True)


def settings() -> Settings:
    """The settings from the environment; every fault at once, and exit status 2. What is no setting is said."""
    from pydantic import ValidationError

    from stream.runtime.settings import Settings

    if moved := [f"  {name}: `{field}` of {table}" for name, (table, field) in MOVED.items() if name in os.environ]:
        told = "\n".join(moved)
        fail(
            "settings that are rules now; nothing was started. Take them out of the environment, write them into a "
            f"file of rules, and publish it with `costream rules publish` (docs/budgets.md):\n{told}",
            status=EXIT_USAGE,
        )
    for line in _strangers(os.environ, set(Settings.model_fields)):
        errors.print(f"costream: {line}", markup=False, highlight=False, soft_wrap=True)
    try:
        return Settings()
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False)  # an input may be a password
        lines = [f"  COSTREAM_{'_'.join(map(str, fault['loc'])).upper()}: {fault['msg']}" for fault in faults]
        fail("the configuration is wrong; nothing was started\n" + "\n".join(lines), status=EXIT_USAGE)


def _strangers(environment: Iterable[str], fields: Iterable[str]) -> Iterator[str]:
    """A line for each variable that looks like a setting and is none: nobody would notice that it has no effect."""
    ours = {name for name in environment if name.startswith(PREFIX) and not name.startswith((OF_TESTS, OF_SECRETS))}
    known = {f"{PREFIX}{name.upper()}" for name in fields}
    if not ours <= known:
        from costream.settings import FROM_ENVIRONMENT, GUARD_SWITCH, SWITCHES

        known |= {
            *SWITCHES,
            GUARD_SWITCH,
            *FROM_ENVIRONMENT.values(),
        }  # the client's, where both run in one environment
    for name in sorted(ours - known):
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
        meant = f"did you mean {near[0]}?" if near else "`costream config` lists those that are"
        yield f"{name} is no setting and has no effect; {meant}"


def address(settings: Settings) -> ClickHouseAddress:
    """Where the warehouse is; exit status 2 if the setting names no such place."""
    from stream.runtime.warehouse import warehouse_address

    try:
        return warehouse_address(settings)
    except ValueError as error:
        fail(f"COSTREAM_CLICKHOUSE_URL: {error}", status=EXIT_USAGE)


def configure_logs(level: str) -> None:
    from stream.runtime import logs

    logs.configure_logs(level)


def fail(message: str, *, status: int = EXIT_FAILED) -> NoReturn:
    """Say what is wrong on standard error and end."""
    errors.print(f"costream: {message}", markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(status)


def duration(text: str, *, option: str) -> timedelta:
    """``90s``, ``30m``, ``24h`` or ``7d``."""
    found = re.fullmatch(r"(\d{1,6})([smhd])", text)
    if found is None:
        fail(f"{option} {text!r} is not a duration such as 90s, 30m, 24h or 7d; nothing was started", status=EXIT_USAGE)
    unit = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}[found[2]]
    return timedelta(**{unit: int(found[1])})


@contextmanager
def explained(*, interrupted: str = "interrupted") -> Iterator[None]:
    """Turns what can go wrong outside of us into one line instead of a traceback. ``interrupted`` says what Ctrl-C has
    left behind."""
    try:
        yield
    except (StreamError, WarehouseError) as error:
        fail(str(error))
    except KeyboardInterrupt:
        fail(interrupted, status=130)


def visible(text: str) -> str:
    """Names in a text are anybody's: what is invisible or steers a terminal is spelled out."""
    if text.isprintable():  # nearly always, and then the contract of alerts need not be loaded for it
        return text
    from costream.alerts import plain

    return plain(text)


def say(text: str, *, indent: int = 0, style: str = "") -> None:
    """A sentence on standard output, wrapped."""
    width = min(console.width, COLUMNS_MAX) - indent
    for line in Text(visible(text), style).wrap(console, width, overflow="fold"):
        line.rstrip()
        console.print(Text(" " * indent) + line, soft_wrap=True)


def counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def say_command(command: str, *, indent: int = 2) -> None:
    """A command to copy: what does not fit a line goes on behind a backslash, before an option."""
    first, *options = command.split(" --")
    lines, room = [first], min(console.width, COLUMNS_MAX) - indent - len(" \\")
    for option in options:
        if len(lines[-1]) + len(f" --{option}") <= room:
            lines[-1] += f" --{option}"
        else:
            lines.append(f"  --{option}")
    for number, line in enumerate(lines):
        more = " \\" if number + 1 < len(lines) else ""
        console.print(Text(" " * indent + line + more, "bold"), soft_wrap=True)


@contextmanager
def progress(doing: str) -> Iterator[Callable[[str, int, int], None]]:
    """On standard error, and only where somebody watches."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as bar:
        task = bar.add_task(doing, total=None)

        def show(what: str, done: int, steps: int) -> None:
            bar.update(task, description=what, completed=done, total=steps)

        yield show


def on_terminal() -> bool:
    return sys.stdout.isatty()
