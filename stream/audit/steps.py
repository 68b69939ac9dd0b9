"""What to do about a check that does not hold: one sentence and, where there is one, the command. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime, timedelta
from operator import attrgetter
from typing import Final

from stream.audit import costs
from stream.audit.kafka import KafkaFacts
from stream.audit.ledger import Conservation, Gap
from stream.audit.report import Check, Finding, NextStep

REPAIR: Final = "costream audit --repair"
MISSING: Final = "costream reread --missing"
NAMED_MAX: Final = 3  # stretches named in a sentence; --json and the command have them all


def short_of(kept: Conservation) -> list[Gap]:
    """What the ledger misses, in the order of the log, neighbouring blocks as one stretch."""
    joined: list[Gap] = []
    for gap in kept.gaps:
        if joined and joined[-1].touches(gap):
            joined[-1] = joined[-1].and_then(gap)
        else:
            joined.append(gap)
    return joined


def next_steps(
    checks: Sequence[Check], kept: Conservation, kafka: KafkaFacts | None, *, drawn: str = "costream audit"
) -> tuple[NextStep, ...]:
    """At least one for every check that does not hold, in an order in which they can be done. ``drawn`` is the command
    that draws the same sample again."""
    gaps = short_of(kept)
    found = [step for check in checks if not check.holds for step in _steps(check, gaps, kafka, drawn)]
    return tuple(sorted(found, key=lambda step: step.command == REPAIR))  # rows first: a repair rests on them


def _steps(check: Check, gaps: Sequence[Gap], kafka: KafkaFacts | None, drawn: str) -> Iterable[NextStep]:
    if check.name == "raw rows":
        return _rows_missing(check, [gap for gap in gaps if gap.rows], kafka, attrgetter("rows"))
    if check.name == "dead letters":
        return _rows_missing(check, [gap for gap in gaps if gap.letters], kafka, attrgetter("letters"))
    if check.name == "kafka":
        return _kafka(check)
    if check.name == costs.NAME:
        return _costs(check, drawn)
    if check.name.startswith(("usage_", "budget_")):
        return [_rollup(check, [gap for gap in gaps if gap.rows])]
    text, command = _OF_CHECK.get(check.name, _OF_ANY)
    return [NextStep(check.name, text, command)]


_OF_ANY: Final = ("The command names every place.", "costream audit --json")
_OF_CHECK: Final = {
    "ids": ("The later row of each id is moved to removed_events, and the rollups are corrected.", REPAIR),
    "removals": (
        "What was taken out is deleted once more: a repair broke off, or a worker read the record again.",
        REPAIR,
    ),
    "records": (
        "The ledger contradicts itself: it was changed by hand, or there is a bug. No cost depends on it. Compare its"
        " rows with a backup of ingest_ledger; if nobody touched them, report a bug.",
        'costream query "SELECT * FROM ingest_ledger ORDER BY ALL"',
    ),
    "adjustments": (
        "Costs carry the number of a re-pricing, and its adjustments do not tell them: it broke off, and a repair says"
        " how far it came. What differs then was written by hand: `costream reprice` gives the calls their price.",
        REPAIR,
    ),
    "vanished": (
        "These records were gone from Kafka before they were read: no command brings them back. Keep records longer"
        " (retention.ms of usage.events) or run more workers; ask their senders to send again what they still have."
        " Then note that you know of it.",
        'costream audit --accept-vanished "WHY"',
    ),
}


def _rows_missing(
    check: Check, gaps: Sequence[Gap], kafka: KafkaFacts | None, number: Callable[[Gap], int]
) -> list[NextStep]:
    what, steps = check.name, []
    there = [gap for gap in gaps if not _gone(gap, kafka)]
    gone = [gap for gap in gaps if _gone(gap, kafka)]
    if there:
        until = _until(there, kafka)
        text = f"{sum(map(number, there)):,} {what} are missing: {_named(there)}. Read the offsets again while Kafka "
        text += f"has them{f' (until {until})' if until else ''}; the command is a rehearsal until --yes is given."
        steps.append(NextStep(check.name, text, _reread(there)))
    if gone:
        text = f"{sum(map(number, gone)):,} {what} are missing and Kafka has the records no more: {_named(gone)}. "
        text += "Restore the table from a backup. Without one they stay missing; rollups and ledger still count them."
        steps.append(NextStep(check.name, text))
    if not steps:
        text = (
            f"There are {what} that the ledger does not know. Either rows were written by hand: delete them; or rows "
        )
        text += "of ingest_ledger were lost: restore them from a backup. `costream audit --json` names the blocks."
        steps.append(NextStep(check.name, text, "costream audit --json"))
    return steps


def _gone(gap: Gap, kafka: KafkaFacts | None) -> bool:
    """Whether Kafka says that it has none of it; where it was not asked, it may."""
    if kafka is None:
        return False
    begin = {log.partition: log.begin for log in kafka.partitions}
    return gap.source != kafka.source or gap.last < begin.get(gap.partition, 0)


def _until(gaps: Sequence[Gap], kafka: KafkaFacts | None) -> date | None:
    """The day on which the first of the records expires, where that is known."""
    arrived = [gap.received_first for gap in gaps if gap.received_first is not None]
    if kafka is None or kafka.retention is None or len(arrived) < len(gaps):
        return None
    return _expiry(min(arrived), kafka.retention)


def _expiry(arrived: datetime, retention: timedelta) -> date | None:
    try:
        return (arrived + retention).date()
    except OverflowError:  # kept for ever
        return None


def _named(gaps: Sequence[Gap]) -> str:
    told = [f"partition {gap.partition}, offsets {gap.first}-{gap.last}" for gap in gaps[:NAMED_MAX]]
    more = [f"and {len(gaps) - NAMED_MAX} more stretches"] if len(gaps) > NAMED_MAX else []
    return "; ".join(told + more)


def _reread(gaps: Sequence[Gap]) -> str:
    if len(gaps) > 1:
        return MISSING
    (gap,) = gaps
    return f"costream reread --topic-partition usage.events:{gap.partition} --from {gap.first} --to {gap.last}"


def _kafka(check: Check) -> list[NextStep]:
    committed = any("committed" in finding.numbers for finding in check.findings)
    expired = any("log_begin" in finding.numbers for finding in check.findings)
    steps = []
    if committed:
        text = "The group has committed offsets that the ledger does not have, so no worker will read them. Stop all "
        text += "workers, set the group back to the ledger's end, and start them: what is stored is not counted twice."
        steps.append(NextStep(check.name, text, "costream reread --rewind"))
    if expired or not committed:
        text = "Records expired in Kafka before they were read: no command brings them back. Start the workers now, "
        text += "before more expire, and keep records longer (retention.ms of usage.events)."
        steps.append(NextStep(check.name, text, "costream worker"))
    return steps


def _rollup(check: Check, gaps: Sequence[Gap]) -> NextStep:
    short = {(gap.source, gap.partition) for gap in gaps}
    of = {(finding.where.get("source"), finding.where.get("source_partition")) for finding in check.findings}
    if of & short:
        text = "The rollups of a partition whose raw rows are missing know more than these: they are left alone until "
        text += "the raw rows are back. Then rebuild what still differs."
    else:
        text = "Rebuild these rows from their raw rows: each gets a correction row with the difference."
    return NextStep(check.name, text, REPAIR)


TEXTS_WRONG: Final = (
    "Calls name prices whose texts are not there, or not as they were. Restore these rows of prices_rows from a backup."
    " A worker stores the text of a price that it goes by once more after its start."
)
COSTS_WRONG: Final = (
    "Costs are not what the texts of their prices come to: rows were changed by hand, or there is a bug. Look at one."
)
PRICED_ANEW: Final = (
    "Pricing its hour anew puts calls right; the command only tells what would change. Do it before a repair, which"
    " would make the rollups follow these rows."
)


def _costs(check: Check, drawn: str) -> list[NextStep]:
    of_texts = [each for each in check.findings if each.rule in (costs.NO_TEXT, costs.OTHER_TEXT)]
    of_calls = [each for each in check.findings if each not in of_texts]
    steps = []
    if of_texts:
        named = sorted({str(each.where["price_id"]) for each in of_texts})[:NAMED_MAX]
        steps.append(NextStep(check.name, f"{TEXTS_WRONG} Of them are {', '.join(named)}.", drawn))
    if of_calls:
        again = f"{COSTS_WRONG} `{drawn}` draws the same calls again."
        steps.append(NextStep(check.name, again, _explained(of_calls[0])))
        steps.append(NextStep(check.name, PRICED_ANEW, _repriced(of_calls[0])))
    return steps


def _explained(finding: Finding) -> str:
    request_id = str(finding.where["request_id"])
    if not request_id.isprintable():
        return "costream audit --json"
    return f"costream explain {'-- ' * request_id.startswith('-')}{shlex.quote(request_id)}"


def _repriced(finding: Finding) -> str:
    hour = finding.where["hour"]
    assert isinstance(hour, datetime), "the hour of a call"
    start, end = (f"{moment:%Y-%m-%dT%H:%M:%S}" for moment in (hour, hour + timedelta(hours=1)))
    return f"costream reprice --from {start} --to {end} --dry-run"
