"""costream explain: what a call cost, line by line, by which price, and what else is known of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import closing
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Column, Table

from stream.cli import common

if TYPE_CHECKING:
    from sinks.answers.explain import Explanation
    from sinks.clickhouse.calls import KnownCall

SHOWN = ("provider", "model", "service_tier", "inference_geo", "operation", "status", "feature", "team", "user_id")


def explain(
    request_id: Annotated[str, typer.Argument(help="The call.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of lines for people.")] = False,
) -> None:
    """Why a call costs what it costs: its quantities times the prices that were in force, where those stand, what it
    was reported to cost, when it was stored; and what was refused or taken out under the same id. Exit status 1 if no
    such call is stored.

    Example: costream explain 7d0f3c5e-2f7c-4f0e-9d8a-1f2f3a4b5c6d
    """
    settings = common.settings()
    address = common.address(settings)
    from costream.pricing import PriceBook
    from sinks.answers.explain import as_document, explained
    from sinks.clickhouse.calls import known_call
    from sinks.clickhouse.reader import Reader

    with common.explained(), closing(Reader(address)) as reader:
        known = known_call(reader, request_id)
    book = PriceBook.bundled()
    if as_json:
        typer.echo(json.dumps(as_document(request_id, known, book), default=_plain, ensure_ascii=False))
    else:
        for row in known.calls:
            _tell(row, explained(row, known.prices, book), known.repricings.get(row["price_rev"]))
        _tell_others(request_id, known)
    if not known.calls:
        raise typer.Exit(common.EXIT_FAILED)


def _tell(row: dict[str, Any], answer: Explanation, repricing: Mapping[str, Any] | None) -> None:
    common.say(f"{row['request_id']} at {_moment(row['occurred_at'])}", style="bold")
    common.say(", ".join(f"{name} {row[name]}" for name in SHOWN if row[name]), indent=2)
    if (sent := (row["provider_sent"], row["model_sent"])) != (row["provider"], row["model"]):
        common.say(f"sent as {' '.join(sent)}", indent=2)
    common.say(f"{_cost(row['cost_usd'])}, {row['cost_status']}{': ' if answer.why else ''}{answer.why}", indent=2)
    if answer.lines:
        right = [Column(name, justify="right") for name in ("amount", "USD each", "USD")]
        table = Table(Column("unit"), *right, box=None, pad_edge=False)
        for line in answer.lines:
            table.add_row(line.unit, f"{line.amount:,f}", f"{line.price_usd:f}", f"{line.cost_usd:f}")
        table.add_row("sum", "", "", f"{answer.sum_usd:f}")
        common.console.print(table)
    for rule in answer.charged_as:
        where = "".join(f", {entry['source']}" for entry in answer.entries if entry["id"] == rule.by)
        common.say(f"{rule.amount:,f} {rule.unit} charged as {rule.total}{where}", indent=2)
    for text in _origins(row, answer):
        common.say(text, indent=2)
    if repricing:
        begun = (
            f"re-pricing {repricing['repricing']}, begun {_moment(repricing['begun_at'])} by {repricing['begun_by']}"
        )
        common.say(f"priced anew by {begun}: {repricing['reason']}", indent=2)


def _origins(row: dict[str, Any], answer: Explanation) -> list[str]:
    said = []
    if row["price_version"]:
        said.append(f"by the price {row['price_version']} ({row['price_source']})")
        rules = {rule.by for rule in answer.charged_as}
        named = set(row["price_version"].split("+")) - rules
        said += [_entry_told(entry) for entry in answer.entries if entry["id"] in named]
    if row["reported_cost_usd"] is not None:
        beside = "" if answer.difference_usd is None else f", {answer.difference_usd:+f} beside its cost"
        said.append(f"reported to cost {row['reported_cost_usd']:f} USD{beside}")
    place = f"{row['source']}/{row['source_partition']}/{row['source_offset']}"
    said.append(f"received {_moment(row['received_at'])} as {place}, stored {_moment(row['stored_at'])}")
    return said


def _entry_told(entry: Mapping[str, Any]) -> str:
    """What of a file is in the price: which entry, since when, by which exchange rate, and where it stands."""
    since = f", since {entry['valid_from']}" if "valid_from" in entry else ""
    rate = f", {entry['exchange_rate']} {entry['currency']} for one USD" if "exchange_rate" in entry else ""
    return f"{entry['id']} in {entry['file']}{since}{rate}: {entry['source']}"


def _tell_others(request_id: str, known: KnownCall) -> None:
    if not known.calls:
        common.say(f"no call with the id {request_id} is stored")
    for row in known.removed:
        common.say(f"taken out {_moment(row['removed_at'])}: {row['reason']}")
    for row in known.letters:
        place = f"{row['source']}/{row['source_partition']}/{row['source_offset']}"
        common.say(f"refused {_moment(row['received_at'])} at {place}: {row['kind']}, {row['reason']}")


def _cost(usd: Decimal | None) -> str:
    return "cost unknown" if usd is None else f"{usd:f} USD"


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def _plain(value: Any) -> str:
    return f"{value:f}" if isinstance(value, Decimal) else value.isoformat()
