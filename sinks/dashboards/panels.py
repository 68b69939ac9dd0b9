"""The kinds of panels, and how each figure looks on all of them: one name, one unit, unknown said as unknown."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from grafana_foundation_sdk.builders import common, dashboard, gauge, piechart, stat, table, timeseries
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    BigValueGraphMode,
    BigValueTextMode,
    GraphDrawStyle,
    GraphThresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    StackingMode,
    TooltipDisplayMode,
    VisibilityMode,
)
from grafana_foundation_sdk.models.piechart import PieChartLegendValues

from sinks.dashboards.queries import ALL, CLICKHOUSE_PLUGIN, CLICKHOUSE_PLUGIN_VERSION, WAREHOUSE, Sql

UNKNOWN: Final = "unknown"
IMPORTED: Final = "DS_COSTREAM"  # the data source that is chosen where a board is imported by hand
NOT_IN_WON: Final = "unknown, or no exchange rate of KRW"

# The boards in their order, and what their addresses end in.
UIDS: Final = {
    "Overview": "costream-cost",
    "Explore": "costream-explore",
    "Models": "costream-models",
    "Resources": "costream-resources",
    "Pipeline": "costream-pipeline",
}

Board = dashboard.Dashboard
AnyPanel = stat.Panel | table.Panel | timeseries.Panel | piechart.Panel | gauge.Panel
Panel = TypeVar("Panel", stat.Panel, table.Panel, timeseries.Panel, piechart.Panel, gauge.Panel)


@dataclass(frozen=True)
class Figure:
    """How a column is shown. ``missing`` is said where it is NULL. A ``loss`` below 0 is red. ``filters`` is the
    variable of the board Explore that a click on a value sets; ``colors`` are those of its words. A ``marked`` one has
    the colour of the threshold that it crosses, where the panel has some."""

    label: str
    unit: str = "none"
    missing: str = ""
    loss: bool = False
    marked: bool = False
    filters: str = ""
    colors: Mapping[str, str] | None = None


COST: Final = "currencyUSD"
SHARE: Final = "percentunit"
COUNT: Final = "short"
MOMENT: Final = "dateTimeAsIso"
AMOUNT: Final = "locale"  # of a currency that is named beside it

# Columns of the views, and the few that a panel names itself.
FIGURES: Final = {
    "cost_usd": Figure("cost", COST, UNKNOWN),
    "cost": Figure("cost, ${currency}", AMOUNT, UNKNOWN),
    "cost_won": Figure("cost, KRW", AMOUNT, NOT_IN_WON, marked=True),
    "reported_cost": Figure("reported, ${currency}", AMOUNT, UNKNOWN),
    "difference": Figure("difference, ${currency}", AMOUNT, UNKNOWN),
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
    "hours": Figure("hours", COUNT, "-"),
    "avg_utilization": Figure("utilisation", SHARE, "not known"),
    "quantities": Figure("all units"),
    "differing_calls": Figure("differing calls", COUNT),
    "estimated_calls": Figure("estimated calls", COUNT, "no longer known"),
    "missing_calls": Figure("calls without usage", COUNT, "no longer known"),
    "dead_letters": Figure("refused records", COUNT, "no longer known"),
    "duration_ms": Figure("duration", "ms", "not reported"),
    "measure": Figure("measure"),
    "target": Figure("at most", AMOUNT),
    "current": Figure("now", AMOUNT, "-"),
    "met": Figure("status", colors={"met": "green", "missed": "red", "measuring": "text"}),
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
    "name": Figure("name", filters="${by}"),
    "operation": Figure("kind of use", filters="operation"),
    "session_id": Figure("session", filters="session_id"),
    "request_id": Figure("call"),
    "error": Figure("what failed"),
    "budget": Figure("budget"),
    "subject": Figure("of whom"),
    "period": Figure("a"),
    "zone": Figure("zone"),
    "currency": Figure("in"),
    "user_id": Figure("user", filters="user_id"),
    "provider": Figure("provider", filters="provider"),
    "model": Figure("model", filters="model"),
    "feature": Figure("feature", filters="feature"),
    "team": Figure("team", filters="team"),
    "environment": Figure("environment", filters="environment"),
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
    "cost_status": Figure("priced"),
    "day": Figure("day", MOMENT),
    "occurred_at": Figure("when", MOMENT),
    "time": Figure("time", MOMENT),
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


STEPS_REF: Final = "Steps"  # the question whose row is thresholds
EVENTS_MAX: Final = 500
EVENTS: Final = {
    "Alerts": (
        "red",
        Sql(
            f"""
            SELECT timestamp AS time, title, message AS text, concat(rule, ',', level) AS tags
            FROM alerts
            WHERE revision = 1 AND scope != 'pipeline' AND $__timeFilter(timestamp)
            ORDER BY time DESC, alert_id LIMIT {EVENTS_MAX}"""
        ),
    ),
    "Price changes": (
        "blue",
        Sql(
            f"""
            SELECT published_at AS time, concat('Prices, revision ', toString(revision)) AS title,
              concat(published_by, ': ', note) AS text, 'prices' AS tags
            FROM price_revisions
            WHERE $__timeFilter(published_at)
            ORDER BY time DESC LIMIT {EVENTS_MAX}"""
        ),
    ),
    "Re-pricings": (
        "purple",
        Sql(
            f"""
            SELECT begun_at AS time, ended_at AS "timeEnd",
              concat('Re-pricing ', toString(repricing), ', ', state) AS title,
              concat(begun_by, ': ', reason) AS text, 'prices' AS tags
            FROM repricings
            WHERE $__timeFilter(begun_at)
            ORDER BY time DESC LIMIT {EVENTS_MAX}"""
        ),
    ),
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
    return panel.thresholds(_thresholds(steps)).color_mode(BigValueColorMode.VALUE)


def _thresholds(steps: list[model.Threshold]) -> dashboard.ThresholdsConfig:
    return dashboard.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(steps)


def held_against(panel: Panel, column: str, steps: Sql, colors: Mapping[str, str], *, most: str = "") -> Panel:
    """The same panel, with the thresholds of ``column`` from the row of another question: a step and its colour by the
    name of the column there, and the end of the scale in ``most``. Nothing of what is shown is computed.

    Grafana takes the steps in the order of the columns, and the first for all that is below the second. So the row
    begins with a ``base``.
    """
    mappings: list[dict[str, object]] = [
        {"fieldName": name, "handlerKey": "threshold1", "handlerArguments": {"threshold": {"color": color}}}
        for name, color in {"base": "green", **colors}.items()
    ]
    if most:
        mappings.append({"fieldName": most, "handlerKey": "max"})
    options = {
        "configRefId": STEPS_REF,
        "mappings": mappings,
        "applyTo": {"id": "byName", "options": column},
    }
    taken = model.DataTransformerConfig(id_val="configFromData", options=options)
    if isinstance(panel, stat.Panel):
        panel = panel.color_mode(BigValueColorMode.VALUE)
    plain = _thresholds([model.Threshold(value=None, color="text")])  # of the other columns, and where there is no row
    return panel.thresholds(plain).with_target(steps).with_transformation(taken)


def reached(title: str, about: str, question: Sql, *, columns: Sequence[str], nothing: str) -> gauge.Panel:
    """How far an amount has come as a gauge, and what it leaves out. ``nothing`` is said where there is no row."""
    reduce = common.ReduceDataOptions().calcs(["last"]).values(False)
    panel = gauge.Panel().title(title).description(about).span(8).height(8).min(0).reduce_options(reduce)
    return _figures(panel.no_value(nothing).with_target(question), columns)


def slices(title: str, about: str, question: Sql, *, columns: Sequence[str], width: int = 6) -> piechart.Panel:
    """Rows as the slices of a pie: what each is called, and how much it is."""
    legend = piechart.PieChartLegendOptions().show_legend(True).placement(LegendPlacement.RIGHT)
    legend = legend.display_mode(LegendDisplayMode.TABLE)
    legend = legend.values([PieChartLegendValues.VALUE, PieChartLegendValues.PERCENT])
    reduce = common.ReduceDataOptions().calcs(["last"]).values(True)
    panel = piechart.Panel().title(title).description(about).span(width).height(9).legend(legend)
    return _figures(panel.reduce_options(reduce).with_target(question), columns)


def against_a_line(
    title: str, about: str, question: Sql, line: Sql, *, column: str, bars: bool = False
) -> timeseries.Panel:
    """An amount over time, with the line that it is not to cross; on the right what the amount leaves out."""
    panel = lines(title, about, question, unit=AMOUNT)
    if bars:
        panel = panel.draw_style(GraphDrawStyle.BARS).fill_opacity(70)
    style = common.GraphThresholdsStyleConfig().mode(GraphThresholdsStyleMode.LINE)
    panel = panel.thresholds_style(style)
    for name in ("time", column):
        panel = panel.override_by_name(name, _looks(FIGURES[name]))
    panel = panel.override_by_name("unpriced_calls", [*_looks(FIGURES["unpriced_calls"]), *_BESIDE])
    return held_against(panel, column, line, {"amount": "red"})


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


def shares_over_time(title: str, about: str, question: Sql, *, interval: str) -> timeseries.Panel:
    """Parts of one as lines, by the column ``series``."""
    panel = lines(title, about, question, unit=SHARE, height=10).max(1).interval(interval)
    return panel.override_by_query("A", [_set("displayName", "${__field.labels.series}")])


def stacked(title: str, about: str, *queries: Sql, unit: str, interval: str) -> timeseries.Panel:
    """Amounts as stacked bars, by the column ``series`` of the first query."""
    panel = lines(title, about, *queries, unit=unit, height=10).interval(interval)
    panel = panel.draw_style(GraphDrawStyle.BARS).fill_opacity(70)
    panel = panel.stacking(common.StackingConfig().mode(StackingMode.NORMAL).group("A"))
    return panel.override_by_query("A", [_set("displayName", "${__field.labels.series}")])


def costs_over_time(
    title: str, about: str, costs: Sql, unpriced: Sql, *, by: str, interval: str, unit: str = AMOUNT
) -> timeseries.Panel:
    """Costs as stacked bars, by the column ``series``; on the right what they leave out, by the query B. A click on a
    bar leads to the calls of that value of ``by``."""
    panel = stacked(title, about, costs, unpriced, unit=unit, interval=interval)
    panel = panel.override_by_query("A", [_set("links", [_explored(by, "${__field.labels.series:percentencode}")])])
    return panel.override_by_query(
        "B",
        [
            _set("displayName", FIGURES["unpriced_calls"].label),
            _set("unit", COUNT),
            *_BESIDE,
            _set("custom.stacking", {"mode": "none", "group": "B"}),
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
        "unpriced_calls": _BESIDE,
    }
    for name, more in looks.items():
        panel = panel.override_by_name(name, [*_looks(FIGURES[name]), *more])
    return panel


def board(title: str, *, about: str, span: str) -> Board:
    """An empty board. ``span`` is what it shows at first: from then until now."""
    sources = {"warehouse": CLICKHOUSE_PLUGIN, "metrics": "prometheus"}
    empty = dashboard.Dashboard(title).uid(UIDS[title]).description(about).tags(["costream"]).timezone("browser")
    empty = empty.time(span, "now").refresh("1m").readonly().tooltip(model.DashboardCursorSync.CROSSHAIR)
    for other, uid in UIDS.items():
        if other != title:
            empty = empty.link(link_to(other, uid))
    for name, plugin in sources.items():
        empty = empty.with_variable(dashboard.DatasourceVariable(name).label(name).type(plugin))
    return empty


def with_events(board: Board) -> Board:
    """The same board. Its graphs show when alerts were raised, prices changed, and stored calls were priced anew."""
    for name, (color, question) in EVENTS.items():
        shown = dashboard.AnnotationQuery().name(name).datasource(WAREHOUSE).enable(True).hide(False)
        board = board.annotation(shown.icon_color(color).target(question))
    return board


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


def filters(name: str, *, label: str, question: Sql, typed: bool = False) -> dashboard.QueryVariable:
    """A variable with one of the values that the warehouse answers, or all of them, which is what it says at first."""
    every = model.VariableOption(selected=True, text="All", value="$__all")
    variable = dashboard.QueryVariable(name).label(label).datasource(WAREHOUSE).query(question.sql).current(every)
    variable = variable.refresh(model.VariableRefresh.ON_DASHBOARD_LOAD).include_all(True).all_value(ALL)
    return variable.multi(False).allow_custom_value(typed)


def typed(name: str, *, label: str) -> dashboard.TextBoxVariable:
    """A variable that is typed. Empty stands for all."""
    return dashboard.TextBoxVariable(name).label(label).default_value("")


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


def text_to_import(made: Board) -> str:
    """The same board for a Grafana that is not set up by files: who imports it chooses its data source."""
    built = json.loads(text_of(made))
    used = built["templating"]["list"]
    built["templating"]["list"] = [each for each in used if each["type"] != "datasource"]
    asked_for = {
        "name": IMPORTED,
        "label": "ClickHouse",
        "description": "The database that costream writes.",
        "type": "datasource",
        "pluginId": CLICKHOUSE_PLUGIN,
        "pluginName": "ClickHouse",
    }
    needed = {"type": "datasource", "id": CLICKHOUSE_PLUGIN, "name": "ClickHouse", "version": CLICKHOUSE_PLUGIN_VERSION}
    whole = {"__inputs": [asked_for], "__requires": [needed], **built, "editable": True}
    text = json.dumps(whole, indent=2, ensure_ascii=False) + "\n"
    return text.replace(f'"{WAREHOUSE.uid}"', f'"${{{IMPORTED}}}"')


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
    if figure.marked:
        looks += [_set("custom.cellOptions", {"type": "color-text"})]
    if figure.filters:
        looks += [_set("links", [_explored(figure.filters, "${__value.raw:percentencode}")])]
    if figure.colors:
        said = {word: {"color": color, "index": n} for n, (word, color) in enumerate(figure.colors.items())}
        looks += [_set("mappings", [{"type": "value", "options": said}])]
        looks += [_set("custom.cellOptions", {"type": "color-text"})]
    return looks


def _explored(variable: str, value: str) -> dict[str, object]:
    """A way to the board Explore, of the same span and filtered to what was clicked."""
    by = "" if variable in ("user_id", "session_id") else f"&var-by={variable}"
    url = f"/d/{UIDS['Explore']}?${{__url_time_range}}{by}&var-{variable}={value}"
    return {"title": "Explore", "url": url, "targetBlank": False}


def _where_missing(text: str) -> model.SpecialValueMap:
    said = model.ValueMappingResult(text=text, index=0)
    options = model.DashboardSpecialValueMapOptions(match=model.SpecialValueMatch.NULL_AND_NAN, result=said)
    return model.SpecialValueMap(options=options)


def _set(name: str, value: object) -> model.DynamicConfigValue:
    return model.DynamicConfigValue(id_val=name, value=value)


# How the calls without a price stand beside a cost.
_BESIDE: Final = [
    _set("custom.axisPlacement", "right"),
    _set("custom.drawStyle", "points"),
    _set("color", {"mode": "fixed", "fixedColor": "red"}),
]
