"""All rules together: those of files, and under them what is shipped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from importlib.resources import files as packaged
from typing import Final, TypeVar

from costream.files import Strict
from costream.pricing.money import DayRates
from stream.budgets.budget import Budget, Step, Whole
from stream.budgets.spend import USD
from stream.rulebook.channels import KINDS, AnyChannel
from stream.rulebook.entries import WITHIN, BudgetEntry, Burn, LimitEntry, RulesFile, RulesRefused, read

SHIPPED: Final = "shipped"
FULL: Final = Decimal(1)

Entry = BudgetEntry | LimitEntry


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule with the file it stands in, whether it is ``on`` there, and whether its currency has no rate."""

    budget: Budget
    file: str
    note: str
    on: bool
    lacks_rate: bool
    channels: tuple[str, ...] | None = None  # that it is told on; None: those that its level is told on

    @property
    def off(self) -> str:
        """Why it is not judged by; empty where it is."""
        if not self.on:
            return "on = false"
        return f"no exchange rate of {self.budget.currency} is known" if self.lacks_rate else ""


@dataclass(frozen=True, slots=True)
class Single:
    """A rule of which there is one, with its name and the file it stands in."""

    name: str
    file: str
    entry: Strict


@dataclass(frozen=True, slots=True)
class NamedChannel:
    """A channel with the file it stands in."""

    file: str
    entry: AnyChannel


EntryT = TypeVar("EntryT", bound=Strict)


@dataclass(frozen=True, slots=True)
class Rulebook:
    """Budgets and limits, the rules of which there is one, and where they reach people."""

    rules: tuple[Rule, ...]
    singles: tuple[Single, ...]
    channels: tuple[NamedChannel, ...] = ()
    revision: int = 0  # 0: of no revision, such as files that are only checked

    @property
    def budgets(self) -> list[Budget]:
        """Those that are judged by."""
        return [rule.budget for rule in self.rules if not rule.off]

    @property
    def routes(self) -> dict[str, tuple[str, ...]]:
        """By the names of rules that say so the channels that they are told on, by names or kinds."""
        named = {rule.budget.name: rule.channels for rule in self.rules}
        named |= {single.name: getattr(single.entry, "channels", None) for single in self.singles}
        return {name: channels for name, channels in named.items() if channels is not None}

    def of(self, kind: type[EntryT]) -> EntryT:
        """The rule of this kind of which there is one."""
        (entry,) = (single.entry for single in self.singles if isinstance(single.entry, kind))
        return entry


def load(texts: Mapping[str, str], *, zone: str, rates: DayRates, revision: int = 0) -> Rulebook:
    """Of TOML files by their names. Of two rules with one name the later one counts, as a whole, among files.

    ``zone`` is that of rules that name none. A rule in a currency without any rate is off: what it would compare with
    is not known. Raises ``RulesRefused`` with every fault of all files.
    """
    contents, faults = list[tuple[str, RulesFile]](), list[str]()
    for file, text in ((SHIPPED, shipped_text()), *texts.items()):
        try:
            contents.append((file, read(text, file=file)))
        except RulesRefused as error:
            faults += error.faults
    if faults:
        raise RulesRefused(faults)
    entries, singles, channels = dict[str, list[Rule]](), dict[str, Single](), dict[str, NamedChannel]()
    for file, content in contents:
        entries |= _rules(content, file, zone, rates)
        singles |= {name: Single(name, file, entry) for name, entry in content.singles.items()}
        channels |= {entry.name: NamedChannel(file, entry) for entry in content.channel.all}
    rules = {rule.budget.name: rule for of_entry in entries.values() for rule in of_entry}
    rulebook = Rulebook(tuple(rules.values()), tuple(singles.values()), tuple(channels.values()), revision)
    _require_channels(rulebook)
    return rulebook


def _require_channels(rulebook: Rulebook) -> None:
    """A rule that names a channel that there is not would be told to nobody."""
    known = {*KINDS, *(channel.entry.name for channel in rulebook.channels)}
    faults = [
        f"rule {name}: channels: there is no channel '{channel}': one of {', '.join(sorted(known))}"
        for name, channels in rulebook.routes.items()
        for channel in channels
        if channel not in known
    ]
    if faults:
        raise RulesRefused(faults)


def shipped_text() -> str:
    return packaged("stream.rulebook").joinpath("shipped.toml").read_text("utf-8")


def _rules(file: RulesFile, name: str, zone: str, rates: DayRates) -> dict[str, list[Rule]]:
    """By the name of each entry its rule, and the limits that it brings along."""
    entries: list[Entry] = [*file.budget, *file.limit]
    known = {USD, *rates.currencies}
    return {
        entry.name: [
            Rule(
                budget,
                name,
                entry.note,
                entry.on,
                lacks_rate=entry.currency not in known,
                channels=entry.channels,
            )
            for budget in _budgets(entry, zone)
        ]
        for entry in entries
    }


def _budgets(entry: Entry, zone: str) -> Iterator[Budget]:
    budget = Budget(
        name=entry.name,
        kind="limit" if isinstance(entry, LimitEntry) else "budget",
        scope=entry.scope,
        only=entry.only,
        period=entry.period,
        zone=entry.zone or zone,
        amount=entry.amount,
        currency=entry.currency,
        steps=_steps(entry),
        metric_name=entry.metric_name or entry.name,
        refuse_at=entry.refuse_at if isinstance(entry, BudgetEntry) else None,
        forecast=entry.level_of_forecast if isinstance(entry, BudgetEntry) else None,
    )
    yield budget
    if isinstance(entry, BudgetEntry):
        yield from (_within(budget, entry, burn) for burn in entry.burn)


def _within(budget: Budget, entry: BudgetEntry, burn: Burn) -> Budget:
    """The limit that a share of a budget within an hour or a day is."""
    amount = (entry.amount * burn.share).normalize()
    return replace(
        budget,
        name=entry.name_within(burn),
        kind="limit",
        period=burn.within,
        amount=amount,
        steps=(Step(amount, burn.level),),
        metric_name=f"{budget.metric_name}{WITHIN[burn.within]}",
        refuse_at=None,
        forecast=None,
        share_of=Whole(budget.name, budget.period, budget.amount),
    )


def _steps(entry: Entry) -> tuple[Step, ...]:
    """The whole of a budget is one of them, unless it has a level of its own there or is off."""
    if isinstance(entry, LimitEntry):
        return (Step(entry.amount, entry.level),)
    levels = {threshold.at: threshold.level for threshold in entry.thresholds}
    if entry.level_at_full is not None:
        levels.setdefault(FULL, entry.level_at_full)
    return tuple(Step(entry.amount * share, level, share) for share, level in sorted(levels.items()))
