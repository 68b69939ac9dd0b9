"""costream budgets: where each budget and limit stands."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime
from decimal import ROUND_DOWN, Decimal
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.text import Text

from stream.cli import common
from stream.runtime.errors import StreamError

if TYPE_CHECKING:
    from costream.budgets import BudgetState
    from stream.runtime.settings import Settings

app: Final = typer.Typer(no_args_is_help=True, help="Where each budget and limit stands now.")

TENTH: Final = Decimal("0.1")


@app.callback()
def _group() -> None:
    pass


@app.command("list")
def list_budgets(
    name: Annotated[str, typer.Option("--budget", metavar="NAME", help="Of this budget or limit alone.")] = "",
    subjects: Annotated[
        int, typer.Option(min=1, max=100_000, help="Of each budget so many subjects, those with the greatest share.")
    ] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON array; money is text.")] = False,
) -> None:
    """List the budgets and limits that are judged by, with what was spent of each in the period that is running.

    A budget of users (or of any other subject) has a line for each of them that has spent something. Those whose new
    calls clients may refuse now are marked as limited, as usage.budgets says; without Kafka that is not known.

    Examples: costream budgets list · costream budgets list --budget user_daily_budget --subjects 50 --json
    """
    settings = common.settings()
    address = common.address(settings)
    from sinks.clickhouse.budget_status import budget_status
    from sinks.clickhouse.reader import Reader

    with common.explained(), closing(Reader(address)) as reader:
        found = budget_status(reader, name=name, subjects_max=subjects)
    if name and not found:
        common.fail(f"no budget or limit named '{name}' is judged by; `costream budgets list` names those that are")
    limits = _limits(settings)
    found = [row | _limited(row, limits) for row in found]
    if as_json:
        typer.echo(json.dumps([_as_json(row) for row in found]))
        return
    before = ""
    for row in found:
        _say(row)
        if row["budget"] != before and row["subjects"] > subjects:
            more = f"{row['subjects']:,} subjects have spent something of it; --subjects shows more of them"
            common.say(more, indent=4, style="dim")
        before = row["budget"]
    if not found:
        common.say("no budget is judged by: a worker says which are within seconds of its start")


def _limits(settings: Settings) -> Mapping[bytes, BudgetState] | None:
    """The states on usage.budgets by their keys; None, and a line about it, where Kafka does not tell."""
    from stream.watch.budget_topic import published_states

    try:
        return published_states(settings).states
    except StreamError as error:
        common.errors.print(Text(f"costream: which of them are limited is not known: {error}"), soft_wrap=True)
        return None


def _limited(row: Mapping[str, Any], limits: Mapping[bytes, BudgetState] | None) -> dict[str, Any]:
    """Whether new calls of the subject of a row may be refused now, and until when: None of a session, and of what is
    not limited or not known."""
    from costream.budgets import key_of
    from stream.budgets.budget import COLUMNS, parts_of

    if limits is None:
        return {"limited": None, "limited_until": None}
    subject = {COLUMNS[word]: value for word, value in parts_of(row["subject"]).items()}
    state = limits.get(key_of(row["budget"], subject))
    holds = state is not None and state.holds(datetime.now(UTC))
    return {"limited": holds, "limited_until": state.period_end if state and holds else None}


def _as_json(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _plain(value) for key, value in row.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    return value.isoformat() if isinstance(value, datetime) else value


def _say(row: Mapping[str, Any]) -> None:
    from stream.budgets.budget import whose

    subject = whose(row["subject"])
    line = Text(f"{row['budget']}{f' of {subject}' if subject else ''}", style="bold")
    if row["calls"] == 0:
        line.append(f"  nothing of {_money(row['amount'])} {row['currency']}", style="")
    else:
        line.append(f"  {_spent(row)}", style="")
    if row["level"]:
        line.append(f"  {row['level'].upper()}", style=common.LEVELS[row["level"]])
    if row["limited"]:
        line.append(f"  LIMITED {_until(row['limited_until'])}", style="bold red")
    common.console.print(line, soft_wrap=True)
    common.say(", ".join(_facts(row)), indent=4, style="dim")


def _until(moment: datetime | None) -> str:
    return f"until {moment:%Y-%m-%d %H:%M:%S} UTC" if moment else "for the whole session"


def _spent(row: Mapping[str, Any]) -> str:
    of = f"{_money(row['amount'])} {row['currency']}"
    if row["spent"] is None:
        return f"not known of {of}: a day of it has no exchange rate of {row['currency']}"
    share = (row["ratio"] * 100).quantize(TENTH, rounding=ROUND_DOWN)
    return f"{_money(row['spent'])} of {of}, {share:,f} %"


def _facts(row: Mapping[str, Any]) -> list[str]:
    facts = [f"{'an' if row['period'] == 'hour' else 'a'} {row['period']} ({row['zone']})"]
    if row["kind"] == "limit":
        facts.append("told above it")
    if row["projected"] is not None:
        facts.append(f"projected {_money(row['projected'])} {row['currency']}")
    if row["unpriced_calls"]:
        facts.append(f"{common.counted(row['unpriced_calls'], 'call')} unpriced")
    return facts


def _money(amount: Decimal) -> str:
    from costream.alerts import rounded

    return f"{rounded(amount, digits=2):,f}"
