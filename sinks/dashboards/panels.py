"""The kinds of panels, and how each figure looks on all of them: one name, one unit, unknown said as unknown."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from grafana_foundation_sdk.builders import common, dashboard, stat, table, timeseries
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    BigValueGraphMode,
    BigValueTextMode,
    GraphDrawStyle,
    LegendDisplayMode,
    LegendPlacement,
    StackingMode,
    TooltipDisplayMode,
    VisibilityMode,
)

from sinks.dashboards.queries import CLICKHOUSE_PLUGIN, WAREHOUSE, Sql

UNKNOWN: Final = "unknown"

Board = dashboard.Dashboard
AnyPanel = stat.Panel | table.Panel | timeseries.Panel
Panel = TypeVar("Panel", stat.Panel, table.Panel, timeseries.Panel)


@dataclass(frozen=True)
class Figure:
    """How a column is shown. ``missing`` is said where it is NULL. A ``loss`` below 0 is red."""

    label: str
    unit: str = "none"
    missing: str = ""
    loss: bool = False


COST: Final = "currencyUSD"
SHARE: Final = "percentunit"
COUNT: Final = "short"
MOMENT: Final = "dateTimeAsIso"
AMOUNT: Final = "locale"  # of a currency that is named beside it

# Columns of the views, and the few that a panel names itself.
FIGURES: Final = {
    "cost_usd": Figure("cost", COST, UNKNOWN),
    "cost": Figure("cost, ${currency}", AMOUNT, UNKNOWN),
    "revenue": Figure("revenue, ${currency}", AMOUNT, UNKNOWN),
    "margin": Figure("margin, ${currency}", AMOUNT, UNKNOWN),
    "margin_percent": Figure("margin", "percent", "no revenue", loss=True),
    "avg_cost_usd": Figure("cost of a call", COST, UNKNOWN),
    "avg_cost": Figure("cost of a call, ${currency}", AMOUNT, UNKNOWN),
    "cost_share": Figure("share of the cost", SHARE, UNKNOWN),
    "spent": Figure("spent", AMOUNT, UNKNOWN),
    "amount": Figure("of", AMOUNT),
    "share": Figure("used", SHARE, UNKNOWN),
    "projected": Figure("projected", AMOUNT, "-"),
    "previous_cost_usd": Figure("the month before", COST, UNKNOWN),
    "difference_usd": Figure("difference", COST, UNKNOWN),
    "change_percent": Figure("change", "percent", "-"),
    "so_far": Figure("so far", COST, UNKNOWN),
    "expected": Figure("expected", COST, "too early to tell"),
    "low": Figure("likely from", COST, "too early to tell"),
    "high": Figure("likely to", COST, "too early to tell"),
    "current_value": Figure("cost", COST, UNKNOWN),
    "expected_value": Figure("usual cost", COST, "nothing is usual yet"),
    "ratio": Figure("times the usual", "none", "-"),
    "calls": Figure("calls", COUNT),
    "errors": Figure("errors", COUNT),
    "failure_rate": Figure("failed", SHARE, "-"),
    "avg_duration_ms": Figure("duration", "ms", "not reported"),
    "unpriced_calls": Figure("unpriced calls", COUNT),
    "partial_calls": Figure("partly priced calls", COUNT),
    "priced_share": Figure("priced", SHARE, "no calls"),
    "partial_share": Figure("partly priced", SHARE, "no calls"),
    "unpriced_share": Figure("unpriced", SHARE, "no calls"),
    "tokens": Figure("tokens", COUNT),
    "input_tokens": Figure("input tokens", COUNT),
    "output_tokens": Figure("output tokens", COUNT),
    "alerts": Figure("alerts", COUNT),
    "records": Figure("records", COUNT),
    "reports": Figure("reports", COUNT),
    "dropped_events": Figure("dropped events", COUNT),
    "received": Figure("read", COUNT),
    "stored": Figure("stored", COUNT),
    "duplicates": Figure("repeats", COUNT),
    "dead_lettered": Figure("refused", COUNT),
    "forwarded": Figure("forwarded", COUNT),
    "last_received_ms": Figure("last received", "dateTimeFromNow", "nothing in this span"),
    "last_stored_ms": Figure("last stored", "dateTimeFromNow", "nothing in this span"),
    "name": Figure("name"),
    "budget": Figure("budget"),
    "subject": Figure("of whom"),
    "period": Figure("a"),
    "zone": Figure("zone"),
    "currency": Figure("in"),
    "user_id": Figure("user"),
    "provider": Figure("provider"),
    "model": Figure("model"),
    "feature": Figure("feature"),
    "team": Figure("team"),
    "environment": Figure("environment"),
    "cost_reason": Figure("reason"),
    "cost_detail": Figure("in words"),
    "kind": Figure("kind"),
    "reason": Figure("reason"),
    "rule": Figure("rule"),
    "scope": Figure("scope"),
    "status": Figure("status"),
    "level": Figure("level"),
    "title": Figure("title"),
    "message": Figure("message"),
    "source": Figure("topic"),
    "source_partition": Figure("partition"),
    "offset_first": Figure("first offset"),
    "offset_last": Figure("last offset"),
    "accepted_reason": Figure("known to a person"),
    "month": Figure("month", MOMENT),
    "hour": Figure("hour", MOMENT),
    "timestamp": Figure("decided", MOMENT),
    "made_at": Figure("told", MOMENT),
    "window_start": Figure("from", MOMENT),
    "window_end": Figure("until", MOMENT),
    "noticed_at": Figure("noticed", MOMENT),
    "last_occurred_at": Figure("latest", MOMENT),
    "last_received_at": Figure("latest", MOMENT),
}


def numbers(title: str, about: str, question: Sql, *, columns: Sequence[str], width: int = 6) -> stat.Panel:
    """The figures of one row, large, side by side."""
    return _figures(_numbers(title, about, width).with_target(question), columns)


def gauge_of(title: str, about: str, *queries: Builder[Any], unit: str, width: int = 4, missing: str) -> stat.Panel:
    """Metrics as they are now, large."""
    panel = _numbers(title, about, width).unit(unit).mappings([_where_missing(missing)]).no_value(missing)
    return panel.targets(list(queries))


def alarming(panel: stat.Panel) -> stat.Panel:
    """Green while it is 0, red from 1 on."""
    steps = [model.Threshold(value=None, color="green"), model.Threshold(value=1, color="red")]
    limits = dashboard.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(steps)
    return panel.thresholds(limits).color_mode(BigValueColorMode.VALUE)


def listing(
    title: str, about: str, question: Sql, *, columns: Sequence[str], width: int = 12, height: int = 9
) -> table.Panel:
    """Rows as a table."""
    panel = table.Panel().title(title).description(about).span(width).height(height).filterable(True)
    return _figures(panel.with_target(question), columns)


def lines(title: str, about: str, *queries: Builder[Any], unit: str, height: int = 9) -> timeseries.Panel:
    """Series over time."""
    panel = timeseries.Panel().title(title).description(about).span(12).height(height).unit(unit).min(0)
    legend = common.VizLegendOptions().show_legend(True).placement(LegendPlacement.BOTTOM)
    legend = legend.display_mode(LegendDisplayMode.LIST).calcs([])
    tooltip = common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI)
    panel = panel.legend(legend).tooltip(tooltip).show_points(VisibilityMode.AUTO).fill_opacity(10).line_width(1)
    return panel.targets(list(queries))


def stacked(title: str, about: str, *queries: Sql, unit: str, interval: str) -> timeseries.Panel:
    """Amounts as stacked bars, by the column ``series`` of the first query."""
    panel = lines(title, about, *queries, unit=unit, height=10).interval(interval)
    panel = panel.draw_style(GraphDrawStyle.BARS).fill_opacity(70)
    panel = panel.stacking(common.StackingConfig().mode(StackingMode.NORMAL).group("A"))
    return panel.override_by_query("A", [_set("displayName", "${__field.labels.series}")])


def costs_over_time(
    title: str, about: str, costs: Sql, unpriced: Sql, *, interval: str, unit: str = AMOUNT
) -> timeseries.Panel:
    """Costs as stacked bars, by the column ``series``; on the right what they leave out, by the query B."""
    panel = stacked(title, about, costs, unpriced, unit=unit, interval=interval)
    return panel.override_by_query(
        "B",
        [
            _set("displayName", FIGURES["unpriced_calls"].label),
            _set("unit", COUNT),
            _set("custom.axisPlacement", "right"),
            _set("custom.drawStyle", "points"),
            _set("custom.stacking", {"mode": "none", "group": "B"}),
            _set("color", {"mode": "fixed", "fixedColor": "red"}),
        ],
    )


def expected_over_time(title: str, about: str, question: Sql) -> timeseries.Panel:
    """What was expected, with its band, and what was spent by then; on the right what all of it leaves out."""
    panel = lines(title, about, question, unit=COST, height=10).span(24)
    without_a_line = [_set("custom.lineWidth", 0), _set("custom.fillOpacity", 0)]
    looks: dict[str, list[model.DynamicConfigValue]] = {
        "made_at": [],
        "so_far": [],
        "expected": [_set("custom.lineWidth", 2), _set("custom.fillOpacity", 0)],
        "low": without_a_line,
        "high": [*without_a_line, _set("custom.fillBelowTo", FIGURES["low"].label)],
        "unpriced_calls": [
            _set("custom.axisPlacement", "right"),
            _set("custom.drawStyle", "points"),
            _set("color", {"mode": "fixed", "fixedColor": "red"}),
        ],
    }
    for name, more in looks.items():
        panel = panel.override_by_name(name, [*_looks(FIGURES[name]), *more])
    return panel


def board(title: str, *, uid: str, about: str, span: str) -> Board:
    """An empty board. ``span`` is what it shows at first: from then until now."""
    sources = {"warehouse": CLICKHOUSE_PLUGIN, "metrics": "prometheus"}
    empty = dashboard.Dashboard(title).uid(uid).description(about).tags(["costream"]).timezone("browser")
    empty = empty.time(span, "now").refresh("1m").readonly().tooltip(model.DashboardCursorSync.CROSSHAIR)
    for name, plugin in sources.items():
        empty = empty.with_variable(dashboard.DatasourceVariable(name).label(name).type(plugin))
    return empty


def choice(name: str, *, label: str, options: Sequence[str], first: str) -> dashboard.CustomVariable:
    """A variable with one of these values, and no other."""
    chosen = model.VariableOption(selected=True, text=first, value=first)
    of_all = [model.VariableOption(selected=each == first, text=each, value=each) for each in options]
    variable = dashboard.CustomVariable(name).label(label).values(",".join(options)).options(of_all).current(chosen)
    return variable.multi(False).include_all(False).allow_custom_value(False)


def currencies() -> dashboard.QueryVariable:
    """The currencies that money can be told in."""
    question = Sql("SELECT DISTINCT currency FROM exchange_rates ORDER BY currency")
    return choice_of("currency", label="in", question=question, first="USD")


def choice_of(name: str, *, label: str, question: Sql, first: str) -> dashboard.QueryVariable:
    """A variable with one of the values that the warehouse answers, asked when the board is opened."""
    chosen = model.VariableOption(selected=True, text=first, value=first)
    variable = dashboard.QueryVariable(name).label(label).datasource(WAREHOUSE).query(question.sql).current(chosen)
    variable = variable.refresh(model.VariableRefresh.ON_DASHBOARD_LOAD)
    return variable.multi(False).include_all(False).allow_custom_value(False)


def link_to(title: str, uid: str) -> dashboard.DashboardLink:
    """A way from one board to another that keeps the span."""
    link = dashboard.DashboardLink(title).type(model.DashboardLinkType.LINK).url(f"/d/{uid}").icon("dashboard")
    return link.keep_time(True).as_dropdown(False).target_blank(False).include_vars(False)


def text_of(made: Board) -> str:
    """What the file of a board holds. Panels are numbered in their order."""
    built = made.build()
    for number, panel in enumerate(built.panels or [], start=1):
        panel.id_val = number
    return json.dumps(built, cls=JSONEncoder, indent=2, ensure_ascii=False) + "\n"


def _numbers(title: str, about: str, width: int) -> stat.Panel:
    panel = stat.Panel().title(title).description(about).span(width).height(4)
    panel = panel.color_mode(BigValueColorMode.NONE).graph_mode(BigValueGraphMode.NONE)
    # The one row that there is. "last" of nothing known is nothing known; a mean or a sum would be a figure of our own.
    reduce = common.ReduceDataOptions().calcs(["last"]).values(False)
    return panel.reduce_options(reduce).text_mode(BigValueTextMode.VALUE_AND_NAME)


def _figures(panel: Panel, columns: Sequence[str]) -> Panel:
    for name in columns:
        panel = panel.override_by_name(name, _looks(FIGURES[name]))
    return panel


def _looks(figure: Figure) -> list[model.DynamicConfigValue]:
    looks = [_set("displayName", figure.label), _set("unit", figure.unit)]
    if figure.missing:
        looks += [_set("mappings", [_where_missing(figure.missing)]), _set("noValue", figure.missing)]
    if figure.loss:
        steps = [model.Threshold(value=None, color="red"), model.Threshold(value=0, color="text")]
        looks += [_set("thresholds", {"mode": model.ThresholdsMode.ABSOLUTE, "steps": steps})]
        looks += [_set("custom.cellOptions", {"type": "color-text"})]
    return looks


def _where_missing(text: str) -> model.SpecialValueMap:
    said = model.ValueMappingResult(text=text, index=0)
    options = model.DashboardSpecialValueMapOptions(match=model.SpecialValueMatch.NULL_AND_NAN, result=said)
    return model.SpecialValueMap(options=options)


def _set(name: str, value: object) -> model.DynamicConfigValue:
    return model.DynamicConfigValue(id_val=name, value=value)
