"""The alert rules that Grafana can judge itself: the same three limits in won that workers judge by.

Grafana asks the warehouse when a rule is due; ``$__toTime`` is that moment. They are provisioned paused, since workers
tell the same on channels of their own (docs/channels.md), and a cause that is told twice is not read twice.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sinks.dashboards.panels import UIDS
from sinks.dashboards.queries import (
    CLICKHOUSE_PLUGIN,
    CLICKHOUSE_PLUGIN_VERSION,
    HAS_WON,
    IN_WON,
    WON,
    Sql,
    between,
)

# What is no breach yet. The shipped limits say the same (stream/rulebook/shipped.toml): a test holds them together.
MONTH_WON_MAX: Final = 500_000
USER_MONTH_WON_MAX: Final = 500
HOUR_WON_MAX: Final = 50_000

USERS_MAX: Final = 100  # of one check; each is a message, and nobody reads more
SOURCE_UID: Final = "costream"  # as deploy/grafana/provisioning/datasources names it
PAUSED: Final = "$GRAFANA_ALERTS_PAUSED"  # Grafana puts the environment in here, and does not start without it
COST, UNPRICED, ABOVE = "Cost", "Unpriced", "Above"

# By whose clocks a month begins: by those of the limit that workers judge by, and by UTC where it is switched off.
ZONE: Final = "(SELECT if(count() > 0, any(zone), 'UTC') FROM budgets WHERE budget = 'monthly_cost_exceeded')"
# At the first moment of a month that one is over which ends there: a span has to have a length.
MONTH: Final = between(
    f"toDateTime(toStartOfMonth(toTimeZone($__toTime - 1, {ZONE})), {ZONE})", "$__toTime", zone=ZONE, currency=WON
)
HELD_AGAINST: Final = f"check_cost_threshold_between(threshold = {MONTH_WON_MAX}, {MONTH})"  # 0 without a call
# The hour that runs, and the one before it: what was spent in the last minutes of an hour is looked at as well.
HOURS: Final = between("toStartOfHour($__toTime, 'UTC') - toIntervalHour(1)", "$__toTime", zone="'UTC'", currency=WON)

HEAD: Final = """\
# Made by `make schemas` from sinks/dashboards/rules.py: edit that. JSON is YAML too.
# The variable in isPaused must be true or false, or Grafana does not start: docker-compose.yml gives it.
"""


@dataclass(frozen=True)
class Rule:
    """What is asked when it is due, and above which amount it fires. A second question counts what the first leaves
    out. Who is told follows from the labels (policies.yaml)."""

    uid: str
    title: str
    every: str
    cost: Sql
    unpriced: Sql
    most: int
    without_an_answer: str
    labels: Mapping[str, str]
    says: str


def rules() -> tuple[Rule, ...]:
    return (
        Rule(
            uid="costream-monthly-cost",
            title="Monthly Cost Exceeded",
            every="1h",
            # Grafana takes NULL for a number that is above nothing. Without a row it says that there is no data.
            cost=Sql(f"SELECT cost FROM {HELD_AGAINST} WHERE {HAS_WON} AND cost IS NOT NULL", ref=COST),
            unpriced=Sql(f"SELECT unpriced_calls FROM {HELD_AGAINST}", ref=UNPRICED),
            most=MONTH_WON_MAX,
            without_an_answer="NoData",  # told: nothing is known in won, so nothing says that all is well
            labels={"severity": "critical", "slack": "yes", "email": "yes"},
            says=f"This month has cost {{{{ $values.{COST} }}}} KRW, more than {MONTH_WON_MAX:,}.",
        ),
        Rule(
            uid="costream-user-cost",
            title="User Cost Exceeded",
            every="1h",
            cost=_of_users(f"{IN_WON} AS cost_won", COST),
            unpriced=_of_users("sum(u.unpriced_calls) AS unpriced_calls", UNPRICED),
            most=USER_MONTH_WON_MAX,
            without_an_answer="OK",  # no user is above it
            labels={"severity": "warning", "slack": "yes"},
            says=f"The user {{{{ $labels.user_id }}}} has cost {{{{ $values.{COST} }}}} KRW this month, more than "
            f"{USER_MONTH_WON_MAX:,}.",
        ),
        Rule(
            uid="costream-hourly-cost",
            title="Hourly Cost Spike",
            every="5m",
            cost=Sql(
                f"""
                SELECT max(cost_won) AS cost_won
                FROM (SELECT hour, {IN_WON} AS cost_won FROM usage_hourly_between({HOURS}) AS u GROUP BY hour)
                HAVING {HAS_WON} AND cost_won IS NOT NULL""",
                ref=COST,
            ),
            unpriced=Sql(
                f"SELECT sum(unpriced_calls) AS unpriced_calls FROM usage_hourly_between({HOURS})", ref=UNPRICED
            ),
            most=HOUR_WON_MAX,
            without_an_answer="OK",  # an hour without a call; that there is no rate is told by the month
            labels={"severity": "critical", "slack": "yes", "email": "yes"},
            says=f"An hour has cost {{{{ $values.{COST} }}}} KRW, more than {HOUR_WON_MAX:,}.",
        ),
    )


def _of_users(figure: str, ref: str) -> Sql:
    """A figure of each user above the amount, the dearest ones."""
    return Sql(
        f"""
        SELECT user_id, {figure}
        FROM user_cost_summary_between({MONTH}) AS u
        WHERE user_id != ''
        GROUP BY user_id HAVING {IN_WON} > {USER_MONTH_WON_MAX}
        ORDER BY {IN_WON} DESC, user_id LIMIT {USERS_MAX}""",
        ref=ref,
    )


def text() -> str:
    """What the file of the rules holds: a group for each interval."""
    intervals = list(dict.fromkeys(rule.every for rule in rules()))
    groups = [
        {
            "orgId": 1,
            "name": f"costream, every {every}",
            "folder": "costream",
            "interval": every,
            "rules": [_provisioned(rule) for rule in rules() if rule.every == every],
        }
        for every in intervals
    ]
    return HEAD + json.dumps({"apiVersion": 1, "groups": groups}, indent=2, ensure_ascii=False) + "\n"


def _provisioned(rule: Rule) -> dict[str, object]:
    return {
        "uid": rule.uid,
        "title": rule.title,
        "condition": ABOVE,
        "data": [_asked(rule.cost), _asked(rule.unpriced), _above(rule.most)],
        "for": "0s",
        "noDataState": rule.without_an_answer,
        "execErrState": "Error",
        "isPaused": PAUSED,
        "labels": dict(rule.labels),
        "annotations": {
            "summary": rule.says,
            "description": f"Calls without a known price, which have no part in it: {{{{ $values.{UNPRICED} }}}}.",
            "board": f"/d/{UIDS['Overview']}",
        },
    }


def _asked(question: Sql) -> dict[str, object]:
    model = {
        "refId": question.ref,
        "datasource": {"type": CLICKHOUSE_PLUGIN, "uid": SOURCE_UID},
        "pluginVersion": CLICKHOUSE_PLUGIN_VERSION,
        "editorType": "sql",
        "queryType": "table",
        "format": 1,
        "rawSql": question.sql,
    }
    return {
        "refId": question.ref,
        "relativeTimeRange": {"from": 3600, "to": 0},
        "datasourceUid": SOURCE_UID,
        "model": model,
    }


def _above(most: int) -> dict[str, object]:
    expressions = "__expr__"  # Grafana's own, which hold answers against numbers
    model = {
        "refId": ABOVE,
        "type": "threshold",
        "datasource": {"type": expressions, "uid": expressions},
        "expression": COST,
        "conditions": [{"evaluator": {"type": "gt", "params": [most]}}],
    }
    nowhere = {"from": 0, "to": 0}
    return {"refId": ABOVE, "relativeTimeRange": nowhere, "datasourceUid": expressions, "model": model}
