"""What was measured, as tables for a person and as one object for a program."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from benchmarks.detect.scoring import Found, Outcome

OF_ORACLE_WITHIN_HOUR: Final = (88, 92)  # percent, at least and as a goal
OF_ALL_BY_END: Final = (66, 70)
FALSE_ALARMS_MAX: Final = 2.0  # a series and month, of any shape


@dataclass(frozen=True, slots=True)
class Row:
    """One rule on one set of series: at the false alarms that all are held to, and with what it is shipped with."""

    name: str
    sentence: str
    equal: Outcome
    shipped: Outcome | None = None
    microseconds: float | None = None  # of CPU, a point


@dataclass(frozen=True, slots=True)
class Measured:
    series: str
    seeds: str
    false_alarms: float
    rows: Sequence[Row]

    def row(self, name: str) -> Row | None:
        return next((row for row in self.rows if row.name == name), None)

    def goals(self) -> Iterator[tuple[str, float, str, bool]]:
        """What is asked of ``hourly_anomaly``: its figure, the goal in words, and whether it is met."""
        ours, most = self.row("hourly_anomaly"), self.row("oracle")
        if ours is None or most is None:
            return
        share = 100 * ours.equal.all.within_hour / most.equal.all.within_hour
        least, goal = OF_ORACLE_WITHIN_HOUR
        yield "% of what the oracle finds within one hour", share, f">= {least}, goal {goal}", share >= least
        by_end, (least, goal) = ours.equal.all.by_end, OF_ALL_BY_END
        yield "% of all events by their end", by_end, f">= {least}, goal {goal}", by_end >= least
        worst = ours.equal.by_shape[ours.equal.worst_shape].false_alarms
        told = f"false alarms a month of the worst shape, {ours.equal.worst_shape}"
        yield told, worst, f"<= {FALSE_ALARMS_MAX:g}", worst <= FALSE_ALARMS_MAX


def as_dict(measured: Sequence[Measured]) -> dict[str, Any]:
    return {
        "measured": [asdict(each) for each in measured],
        "goals": [
            {"series": each.series, "name": name, "value": value, "goal": goal, "met": met}
            for each in measured
            for name, value, goal, met in each.goals()
        ],
    }


def show(measured: Sequence[Measured], console: Console) -> None:
    for each in measured:
        console.print(_summary(each))
        console.print(_by(each, "kind", lambda outcome: outcome.by_kind))
        console.print(_by(each, "shape", lambda outcome: outcome.by_shape, false_alarms=True))
        for name, value, goal, met in each.goals():
            console.print(f"{'met ' if met else 'MISSED'}  {value:.1f} {name} ({goal})")
    console.print()
    for row in measured[0].rows:
        console.print(f"[bold]{row.name}[/]: {row.sentence}.")


def _summary(measured: Measured) -> Table:
    title = f"{measured.series}, seeds {measured.seeds}: at {measured.false_alarms:g} false alarms a series and month"
    table = Table(title=title, title_justify="left", caption_justify="left")
    table.caption = "shipped: with the threshold that the rule is shipped with, at the false alarms that it makes"
    table.add_column("rule", no_wrap=True)
    for heading in ("threshold", "found within 1 h, %", "by the end, %", "delay, h", "shipped", "us of CPU a point"):
        table.add_column(heading, justify="right")
    for row in measured.rows:
        table.add_row(
            row.name,
            f"{row.equal.threshold:.2f}",
            f"{row.equal.all.within_hour:.1f}",
            f"{row.equal.all.by_end:.1f}",
            _delay(row.equal.all),
            _shipped(row.shipped),
            "" if row.microseconds is None else f"{row.microseconds:.0f}",
        )
    return table


def _shipped(shipped: Outcome | None) -> str:
    if shipped is None:
        return ""
    found = shipped.all
    return f"{found.within_hour:.1f} / {found.by_end:.1f} at {found.false_alarms:.2f}"


def _by(measured: Measured, what: str, part: Any, *, false_alarms: bool = False) -> Table:
    told = "found within 1 h / by the end, %" + ("; false alarms a month" if false_alarms else "; median delay, h")
    table = Table(title=f"by {what}: {told}", title_justify="left")
    table.add_column(what, no_wrap=True)
    for row in measured.rows:
        table.add_column(row.name, justify="right")
    columns: list[Mapping[str, Found]] = [part(row.equal) for row in measured.rows]
    for name in columns[0]:
        table.add_row(name, *(_cell(column[name], false_alarms=false_alarms) for column in columns))
    return table


def _cell(found: Found, *, false_alarms: bool) -> str:
    last = f"{found.false_alarms:.1f}" if false_alarms else _delay(found)
    return f"{found.within_hour:.0f} / {found.by_end:.0f}; {last}"


def _delay(found: Found) -> str:
    return "-" if found.delay_hours is None else f"{found.delay_hours:g}"
