"""costream rules check and test: rules in files, checked, and budgets tried on a history."""

from __future__ import annotations

import heapq
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.text import Text

from stream.cli import common, revisions

if TYPE_CHECKING:
    from costream.pricing.money import DayRates
    from stream.budgets.trace import Trace
    from stream.rulebook.rulebook import NamedChannel, Rule, Rulebook, Single

TOLD_EVERY: Final = 1_000  # lines
TOLD_MAX: Final = 10  # lines of a history that are no call; the others are counted

RuleFiles = Annotated[list[Path] | None, typer.Argument(help="Files of your own rules; none: those that are shipped.")]
Prices = Annotated[
    list[Path] | None,
    typer.Option("--prices", help="A file of your own prices, with its exchange rates; may be given several times."),
]


def check(
    files: RuleFiles = None,
    prices: Prices = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, a member a rule.")] = False,
) -> None:
    """Check files of rules, and print all rules that would hold: yours, and under them those that are shipped. Every
    fault is told at once, with exit status 2. Nothing is asked and nothing is changed.

    Examples: costream rules check · costream rules check our-rules.toml --prices our-rates.toml --json
    """
    rulebook = rulebook_of(texts_of(files or ()), rates_of(prices or ()))
    if as_json:
        typer.echo(json.dumps(as_json_of(rulebook), ensure_ascii=False))
        return
    for rule in rulebook.rules:
        _tell(rule)
    for single in rulebook.singles:
        _tell_single(single)
    for channel in rulebook.channels:
        _tell_channel(channel)
    for currency, names in _without_rate(rulebook).items():
        common.say(
            f"{', '.join(names)}: off, since no exchange rate of {currency} is known: add an [[exchange_rate]] of "
            f"{currency} to your prices"
        )


def test(
    trace: Annotated[str, typer.Option("--trace", help="The calls: JSON lines, or a JSON array; - is standard input.")],
    files: RuleFiles = None,
    prices: Prices = None,
    as_json: Annotated[bool, typer.Option("--json", help="An alert a line, as it would be on usage.alerts.")] = False,
) -> None:
    """Play a history on a clock of its own, and print every alert that budgets, limits, forecasts of budgets and rules
    about unusual hours would have raised: forecasts by the hour, and unusual hours by the minute and without reasons. A
    line is a usage event, which is priced as the stream prices it, or a row of usage_events with occurred_at and
    cost_usd. It arrives at received_at, or when it occurred. Nothing is asked or sent; standard error says what was
    played.

    Example: costream query "SELECT * FROM usage_events" --json > calls.json; costream rules test our-rules.toml --trace
    calls.json
    """
    from stream.budgets.playing import played
    from stream.cli.alerts.reading import tell
    from stream.rulebook.entries import HourlyAnomaly, HourlySpike
    from stream.watch.baseline import Thresholds
    from stream.watch.playing.forecasts import played as played_forecasts
    from stream.watch.playing.hours import played as played_by_hours

    rates = rates_of(prices or ())
    rulebook = rulebook_of(texts_of(files or ()), rates)
    history = _trace(trace, prices or ())
    raised = 0
    with common.explained(interrupted="interrupted; nothing was sent"), common.progress("playing") as show:
        told = _Together(partial(show, "playing"))
        of_budgets = played(history.events, rulebook.budgets, per_usd=rates, progress=partial(told, "budgets"))
        thresholds = Thresholds.of(rulebook.of(HourlySpike), rulebook.of(HourlyAnomaly))
        of_hours = played_by_hours(history.events, thresholds, progress=partial(told, "hours"))
        of_forecasts = played_forecasts(
            history.events, rulebook.budgets, per_usd=rates, progress=partial(told, "forecasts")
        )
        for alert in heapq.merge(of_budgets, of_hours, of_forecasts, key=attrgetter("timestamp")):
            raised += 1
            tell(alert, as_json=as_json)
    sys.stdout.flush()
    hourly = thresholds.spike_enabled + thresholds.anomaly_enabled
    _tell_played(history, rules=len(rulebook.budgets) + hourly, raised=raised)
    if history.refused:
        raise typer.Exit(common.EXIT_FAILED)


class _Together:
    """How far several things are that are done side by side, as one."""

    def __init__(self, show: Callable[[int, int], None]) -> None:
        self._show, self._known = show, dict[str, tuple[int, int]]()

    def __call__(self, of: str, done: int, whole: int) -> None:
        self._known[of] = done, whole
        self._show(*map(sum, zip(*self._known.values(), strict=True)))


# --- what is read ----------------------------------------------------------------------------------------------------


def rulebook_of(texts: Mapping[str, str], rates: DayRates) -> Rulebook:
    """Exit status 2 with every fault of all files."""
    from stream.rulebook.entries import RulesRefused
    from stream.rulebook.rulebook import load

    try:
        return load(texts, zone=common.settings().zone, rates=rates)
    except RulesRefused as error:
        revisions.refuse("rules", error.faults)


def rates_of(files: Sequence[Path]) -> DayRates:
    from costream.pricing.exchange import shipped_rates
    from costream.pricing.money import DayRates, told
    from stream.cli.prices import books

    texts = books.texts_of(files)
    if texts:
        books.with_texts(texts)  # whose faults are told; without any, no table of prices need be loaded
    return DayRates(told(texts).exchange_rates, shipped=shipped_rates())


def texts_of(files: Iterable[Path]) -> dict[str, str]:
    """The texts of files by their paths; exit status 2 where one cannot be read."""
    texts, faults = revisions.texts_of(files)
    if faults:
        revisions.refuse("rules", faults)
    return texts


def _trace(name: str, prices: Sequence[Path]) -> Trace:
    from stream.budgets.trace import LineRefused, lines_of, read_trace
    from stream.cli.prices import books

    book, _ = books.book_of(prices)
    try:
        text = sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
        with common.explained(), common.progress("reading") as show:
            lines = list(lines_of(text))
            return read_trace(_watched(lines, partial(show, "reading")), book)
    except OSError as error:
        common.fail(f"{name} cannot be read: {error.strerror}; nothing was played", status=common.EXIT_USAGE)
    except UnicodeDecodeError:
        common.fail(f"{name} is no text in UTF-8; nothing was played", status=common.EXIT_USAGE)
    except LineRefused as error:
        common.fail(f"{name}: {error}; nothing was played", status=common.EXIT_USAGE)


def _watched(lines: Sequence[str], told: Callable[[int, int], None]) -> Iterator[str]:
    for number, line in enumerate(lines):
        if number % TOLD_EVERY == 0:
            told(number, len(lines))
        yield line


# --- what is told ----------------------------------------------------------------------------------------------------


def _tell(rule: Rule) -> None:
    budget = rule.budget
    line = Text(f"{budget.name}  ", style="dim" if rule.off else "bold")
    line.append(f"{budget.amount:,f} {budget.currency} {'an' if budget.period == 'hour' else 'a'} {budget.period}")
    line.append(f", {_subject(rule)} ({budget.zone})" if budget.period != "session" else f", {_subject(rule)}")
    common.console.print(line, soft_wrap=True)
    steps = [_step(rule, number) for number in range(len(budget.steps))]
    refused = [] if budget.refuse_at is None else [f"new calls may be refused at {_percent(budget.refuse_at)}"]
    foreseen = [] if budget.forecast is None else [f"{budget.forecast.value} when it is expected to be used up"]
    whole = budget.share_of
    share = [] if whole is None else [f"{_percent(budget.amount / whole.amount)} of {whole.name}"]
    said = (
        rule.off or ", ".join(steps + foreseen + refused + share),
        _told_on(rule.channels),
        rule.file,
        common.visible(rule.note),
    )
    told = "; ".join(text for text in said if text)
    common.console.print(Text(f"    {told}", style="dim"), soft_wrap=True)


def _subject(rule: Rule) -> str:
    budget = rule.budget
    each = f"for each {' and '.join(budget.scope)}" if budget.scope else "for everything together"
    only = "; ".join(f"{word} {' or '.join(map(common.visible, values))}" for word, values in budget.only.items())
    return f"{each}{', of ' + only if only else ''}"


def _step(rule: Rule, number: int) -> str:
    step = rule.budget.steps[number]
    return f"above it {step.level.value}" if step.share is None else f"{_percent(step.share)} {step.level.value}"


def _percent(share: Decimal) -> str:
    return f"{(share * 100).normalize():f}%"


def _without_rate(rulebook: Rulebook) -> Mapping[str, list[str]]:
    """The names of rules that are off for it, by currency."""
    found: dict[str, list[str]] = {}
    for rule in rulebook.rules:
        if rule.on and rule.lacks_rate:
            found.setdefault(rule.budget.currency, []).append(rule.budget.name)
    return found


def as_json_of(rulebook: Rulebook) -> dict[str, Any]:
    """Every rule by its name."""
    return (
        {rule.budget.name: _as_json(rule) for rule in rulebook.rules}
        | {one.name: {"kind": one.name, **_fields(one), "file": one.file} for one in rulebook.singles}
        | {
            f"channel.{one.entry.name}": {"kind": one.entry.kind, **one.entry.model_dump(mode="json"), "file": one.file}
            for one in rulebook.channels
        }
    )


def _fields(single: Single) -> dict[str, Any]:
    return single.entry.model_dump(mode="json")


def _tell_single(single: Single) -> None:
    told = _fields(single)
    is_on, note = told.pop("on", True), told.pop("note")
    common.console.print(Text(single.name, style="bold" if is_on else "dim"))
    channels = told.pop("channels")
    numbers = ", ".join(
        f"{field} {' then '.join(value) if isinstance(value, list) else value}" for field, value in told.items()
    )
    said = (numbers or "on" if is_on else "on = false", _told_on(channels), single.file, common.visible(note))
    common.console.print(Text("    " + "; ".join(text for text in said if text), style="dim"), soft_wrap=True)


def _told_on(channels: Sequence[str] | None) -> str:
    if channels is None:
        return ""
    return f"told on {' and '.join(channels)}" if channels else "told on no channel"


def _tell_channel(channel: NamedChannel) -> None:
    entry = channel.entry
    common.console.print(Text(f"{entry.name}  {entry.kind}", style="bold" if entry.on else "dim"), soft_wrap=True)
    levels = f"from {entry.from_level.value}" if entry.by_default else "only what rules that name it tell"
    secrets = ", ".join(entry.secrets)
    told = (levels if entry.on else "on = false", f"secret {secrets}" if secrets else "", channel.file, entry.note)
    said = "; ".join(common.visible(text) for text in told if text)
    common.console.print(Text(f"    {said}", style="dim"), soft_wrap=True)


def _as_json(rule: Rule) -> dict[str, Any]:
    budget = rule.budget
    return {
        "kind": budget.kind,
        "scope": budget.scope,
        "only": budget.only,
        "period": budget.period,
        "zone": budget.zone,
        "amount": f"{budget.amount:f}",
        "currency": budget.currency,
        "steps": [{"amount": f"{step.amount:f}", "level": step.level.value} for step in budget.steps],
        "metric_name": budget.metric_name,
        "channels": rule.channels,
        "refuse_at": None if budget.refuse_at is None else f"{budget.refuse_at:f}",
        "forecast": None if budget.forecast is None else budget.forecast.value,
        "share_of": None if budget.share_of is None else budget.share_of.name,
        "on": not rule.off,
        "off_because": rule.off,
        "note": rule.note,
        "file": rule.file,
    }


def _tell_played(history: Trace, *, rules: int, raised: int) -> None:
    for line in history.refused[:TOLD_MAX]:
        common.errors.print(f"costream: {common.visible(line)}", markup=False, highlight=False, soft_wrap=True)
    events = history.events
    span = ""
    if events.height:
        first, last = events["arrived_at"][0], events["arrived_at"][-1]
        span = f", from {first:%Y-%m-%d %H:%M:%S} to {last:%Y-%m-%d %H:%M:%S} UTC"
    unpriced = events["cost_pico"].null_count()
    said = [
        f"{common.counted(raised, 'message')} of {common.counted(rules, 'rule')}",
        f"{common.counted(events.height, 'call')}{span}",
        *([f"{common.counted(unpriced, 'call')} without a price"] if unpriced else []),
        *([f"{common.counted(history.repeats, 'repeat')} left out"] if history.repeats else []),
        *([f"{common.counted(len(history.refused), 'line')} refused"] if history.refused else []),
    ]
    common.errors.print(Text("; ".join(said)), soft_wrap=True)
