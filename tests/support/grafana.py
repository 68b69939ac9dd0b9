"""What Grafana and its ClickHouse data source make of a panel's question before a server sees it, and what boards hold.

Grafana's own variables and the board's are put in by the browser, the macros by the data source. Expanded are those
that the boards use, as the documentation of grafana-clickhouse-datasource 4.20.0 says; any other is an error here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

ROOT: Final = Path(__file__).resolve().parents[2]
BOARDS: Final = ROOT / "deploy" / "grafana" / "dashboards"


@dataclass(frozen=True)
class View:
    """What a person has chosen on a board: a span, a zone as Grafana names it, and values of its variables. One that is
    not named has the value that the board opens with."""

    start: datetime
    end: datetime
    zone: str = "utc"
    interval: timedelta = timedelta(hours=1)
    variables: Mapping[str, str] = field(default_factory=dict)


def expand(text: str, view: View) -> str:
    """The SQL that reaches the server."""
    return _macros(_variables(text, view), view)


def _variables(text: str, view: View) -> str:
    def value(found: re.Match[str]) -> str:
        name, how = found["name"], found["how"] or ""
        if name in ("__from", "__to") and how == "date:iso":
            return _iso(view.start if name == "__from" else view.end)
        if how == "percentencode":
            return quote(view.zone if name == "__timezone" else _chosen(name, view), safe="")
        raise AssertionError(f"{found[0]} is not a variable that is known here")

    return re.sub(r"\$\{(?P<name>\w+)(?::(?P<how>[\w:]+))?\}", value, text)


def _chosen(name: str, view: View) -> str:
    return view.variables[name] if name in view.variables else at_first()[name]


@cache
def at_first() -> dict[str, str]:
    """What the variables of all boards say when these are opened. "All" is sent as the value that stands for it."""
    found: dict[str, str] = {}
    for board in boards().values():
        for variable in board["templating"]["list"]:
            if variable["type"] == "datasource":
                continue
            if variable["type"] == "textbox":
                said = variable["query"]
            else:
                said = variable["current"]["value"]
                said = variable["allValue"] if said == "$__all" else said
            assert found.setdefault(variable["name"], said) == said, "one name, one meaning"
    return found


def _macros(text: str, view: View) -> str:
    start, end = int(view.start.timestamp()), int(view.end.timestamp())
    seconds = max(int(view.interval.total_seconds()), 1)
    made = {
        "$__fromTime": lambda: f"toDateTime({start})",
        "$__toTime": lambda: f"toDateTime({end})",
        "$__timeFilter": lambda column: f"{column} >= toDateTime({start}) AND {column} <= toDateTime({end})",
        "$__dateFilter": lambda column: (
            f"{column} >= toDate('{view.start.astimezone(UTC):%Y-%m-%d}') "
            f"AND {column} <= toDate('{view.end.astimezone(UTC):%Y-%m-%d}')"
        ),
        "$__timeInterval": lambda column: f"toStartOfInterval(toDateTime({column}), INTERVAL {seconds} second)",
    }

    def expansion(found: re.Match[str]) -> str:
        macro = made.get(found[1])
        assert macro is not None, f"{found[1]} is not a macro that is known here"
        return macro(found[2]) if found[2] else macro()

    return re.sub(r"(\$__\w+)(?:\((\w+)\))?", expansion, text)


def _iso(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03}Z"


@dataclass(frozen=True)
class Question:
    """One target of a panel."""

    board: str
    panel: Mapping[str, Any]
    target: Mapping[str, Any]

    @property
    def sql(self) -> str:
        """Empty where it is not for the warehouse."""
        return str(self.target.get("rawSql", ""))

    @property
    def promql(self) -> str:
        """Empty where it is not for Prometheus."""
        return str(self.target.get("expr", ""))

    def __str__(self) -> str:
        return f"{self.board}: {self.panel['title']} ({self.target['refId']})"


def boards() -> dict[str, dict[str, Any]]:
    """The committed files by name."""
    return {file.stem: json.loads(file.read_text()) for file in sorted(BOARDS.glob("*.json"))}


def questions() -> Iterator[Question]:
    for name, board in boards().items():
        for panel in board["panels"]:
            for target in panel["targets"]:
                yield Question(name, panel, target)


def other_questions() -> Iterator[tuple[str, str]]:
    """What boards ask the warehouse besides their panels, by its place: values of variables, and events on graphs."""
    for name, board in boards().items():
        for variable in board["templating"]["list"]:
            if variable["type"] == "query":
                yield f"{name}: values of {variable['name']}", variable["query"]
        for event in board.get("annotations", {}).get("list", []):
            yield f"{name}: {event['name']}", event["target"]["rawSql"]


def metrics_in(expression: str) -> set[str]:
    """The names of metrics in PromQL: the words that are neither functions, labels nor words of the language."""
    bare = re.sub(r"\"[^\"]*\"|\{[^}]*\}|\[[^\]]*\]|\b(?:by|without|on|ignoring)\s*\([^)]*\)", " ", expression)
    return set(re.findall(r"\b[a-z_]\w*\b(?!\s*\()", bare)) - {"and", "or", "unless", "bool", "offset"}


def labels_in(expression: str) -> set[str]:
    """The labels that PromQL adds up by."""
    return {name for names in re.findall(r"\bby\s*\(([^)]*)\)", expression) for name in re.findall(r"\w+", names)}


def in_force(expression: str) -> str:
    """What Grafana asks Prometheus for: its variable stands for a duration."""
    return expression.replace("$__rate_interval", "1m")
