"""Grafana's alert rules, as it provisions them: what each asks, on the engine, at both sides of its threshold.

1 USD is 1,000 KRW here, so 500.001 USD are 500,001 KRW. No Grafana runs here.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import pytest
import yaml

from sinks.clickhouse.connect import open_client
from sinks.clickhouse.price_revisions import PRICES
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.writer import Writer
from sinks.dashboards.rules import ABOVE, COST, PAUSED, UNPRICED
from tests.sinks.test_dashboards import END, NOON, call
from tests.support.grafana import ROOT, View, expand
from tests.support.warehouse import Server
from tests.support.warehouse_rows import store_calls

ALERTING: Final = ROOT / "deploy" / "grafana" / "provisioning" / "alerting"
MONTHLY, USER, HOURLY = "Monthly Cost Exceeded", "User Cost Exceeded", "Hourly Cost Spike"
NOW: Final = View(start=END - timedelta(hours=1), end=END)
RATE: Final = '[[exchange_rate]]\ncurrency = "KRW"\nper_usd = "1000"\nsource = "a bank"\n'


def provisioned(name: str) -> dict[str, Any]:
    read = yaml.safe_load((ALERTING / name).read_text())
    assert read.pop("apiVersion") == 1
    return dict(read)


def rules() -> dict[str, dict[str, Any]]:
    groups = provisioned("rules.yaml")["groups"]
    return {rule["title"]: rule | {"interval": group["interval"]} for group in groups for rule in group["rules"]}


@pytest.fixture
def reader(clickhouse_endpoint: Server) -> Iterator[Reader]:
    with closing(Reader(clickhouse_endpoint.fresh())) as reader:
        yield reader


@pytest.fixture
def writer(reader: Reader) -> Iterator[Writer]:
    with closing(Writer(reader.address)) as writer:
        yield writer


@pytest.fixture
def in_won(reader: Reader, writer: Writer) -> Reader:
    told = {"published_by": "ann", "note": "", "build": "t"}
    PRICES.publish(reader, writer, {"won": RATE}, new_id=lambda: "p", pause=lambda: None, **told)
    return reader


def answered(reader: Reader, title: str, ref: str, view: View = NOW) -> dict[str, Any]:
    """The numbers that Grafana makes of an answer, by their labels: one column of numbers, and others of text."""
    (asked,) = [each for each in rules()[title]["data"] if each["refId"] == ref]
    frame = reader.frame(expand(asked["model"]["rawSql"], view))
    (number,) = [name for name, kind in frame.schema.items() if kind.is_numeric()]
    return {",".join(v for k, v in row.items() if k != number): row[number] for row in frame.to_dicts()}


def firing(reader: Reader, title: str, view: View = NOW) -> set[str]:
    """The labels of which the figure is above the threshold, as the expression of the rule holds it against it."""
    (above,) = [each["model"] for each in rules()[title]["data"] if each["refId"] == ABOVE]
    assert (above["type"], above["expression"]) == ("threshold", COST)
    ((evaluator),) = [each["evaluator"] for each in above["conditions"]]
    assert evaluator["type"] == "gt"
    told = answered(reader, title, COST, view)
    return {labels for labels, figure in told.items() if figure is not None and figure > evaluator["params"][0]}


def spend(writer: Writer, won: int, at: datetime = NOON, user: str = "ann") -> None:
    store_calls(writer, [call(f"{user} {won} {at}", at, 0, user_id=user) | {"cost_pico": won * 10**9}])


@pytest.mark.parametrize(("won", "fires"), [(500_000, False), (500_001, True)])
def test_the_month_fires_above_500_000_won_and_not_at_it(in_won: Reader, writer: Writer, won: int, fires: bool) -> None:
    spend(writer, won - 100_000)
    spend(writer, 100_000, NOON.replace(day=1, hour=0))
    spend(writer, 9_000_000, NOON.replace(day=1, hour=0) - timedelta(seconds=1))
    store_calls(writer, [call("unpriced", NOON, None)])
    assert firing(in_won, MONTHLY) == ({""} if fires else set())
    assert answered(in_won, MONTHLY, UNPRICED) == {"": 1}


@pytest.mark.parametrize(("won", "fires"), [(500, False), (501, True)])
def test_a_user_fires_above_500_won_by_name_and_nobody_without_one(
    in_won: Reader, writer: Writer, won: int, fires: bool
) -> None:
    spend(writer, won, user="ann")
    spend(writer, 499, user="bob")
    spend(writer, 70_000, user="")
    spend(writer, 600, NOON.replace(day=1) - timedelta(days=1), user="bob")
    assert firing(in_won, USER) == ({"ann"} if fires else set())
    assert answered(in_won, USER, UNPRICED) == ({"ann": 0} if fires else {})


@pytest.mark.parametrize(("won", "fires"), [(50_000, False), (50_001, True)])
@pytest.mark.parametrize("back", [0, 1])
def test_an_hour_fires_above_50_000_won_while_it_runs_and_until_the_next_is_over(
    in_won: Reader, writer: Writer, won: int, fires: bool, back: int
) -> None:
    spend(writer, won, NOON - timedelta(hours=back))
    spend(writer, 40_000, NOON - timedelta(hours=1 - back))
    spend(writer, 90_000, NOON - timedelta(hours=2))
    assert firing(in_won, HOURLY) == ({""} if fires else set())


def test_without_an_exchange_rate_nothing_fires_and_the_month_says_that_nothing_is_known(
    reader: Reader, writer: Writer
) -> None:
    spend(writer, 900_000_000)
    for title in (MONTHLY, USER, HOURLY):
        assert answered(reader, title, COST) == {}, title
        assert firing(reader, title) == set(), title
    states = {title: rule["noDataState"] for title, rule in rules().items()}
    assert states == {MONTHLY: "NoData", USER: "OK", HOURLY: "OK"}


def test_a_month_without_a_call_has_cost_nothing_and_one_without_a_price_is_unknown(
    in_won: Reader, writer: Writer
) -> None:
    """Grafana tells an answer without a row as no data, and that a month has just begun is nothing to tell."""
    assert answered(in_won, MONTHLY, COST) == {"": 0}
    store_calls(writer, [call("unpriced", NOON, None)])
    assert answered(in_won, MONTHLY, COST) == {}
    assert answered(in_won, MONTHLY, UNPRICED) == {"": 1}


def test_nothing_spent_fires_nothing_and_is_no_error(in_won: Reader) -> None:
    for title in (MONTHLY, USER, HOURLY):
        assert firing(in_won, title) == set(), title


def test_a_rule_that_is_due_at_the_first_moment_of_a_month_has_a_span_to_ask_for(
    in_won: Reader, writer: Writer
) -> None:
    first = NOON.replace(day=1, hour=0)
    spend(writer, 500_001, first - timedelta(days=3))
    at_midnight = replace(NOW, end=first)
    assert firing(in_won, MONTHLY, at_midnight) == {""}, "the month that is over"
    assert firing(in_won, MONTHLY, replace(NOW, end=first + timedelta(seconds=1))) == set()
    assert firing(in_won, HOURLY, at_midnight) == set()


def test_a_month_begins_by_the_clocks_of_the_limit_that_workers_judge_by(in_won: Reader, writer: Writer) -> None:
    """20:00 UTC of the last day is the first of the month in Seoul."""
    spend(writer, 500_001, NOON.replace(day=1, hour=20) - timedelta(days=1))
    assert firing(in_won, MONTHLY) == set()
    with closing(open_client(in_won.address)) as client:
        client.command(
            "INSERT INTO budgets_rows VALUES ('monthly_cost_exceeded', 'limit', 's', 500000, 'KRW', [500000], "
            "['critical'], 'm', 1, 1)"
        )
        client.command(
            "INSERT INTO budget_sums_rows VALUES ('s', [], [], [], 'month', 'Asia/Seoul', 0, '2020-01-01', 1, 1)"
        )
    assert firing(in_won, MONTHLY) == {""}


def test_each_rule_has_its_condition_its_interval_and_says_what_it_leaves_out() -> None:
    assert {title: rule["interval"] for title, rule in rules().items()} == {MONTHLY: "1h", USER: "1h", HOURLY: "5m"}
    for rule in rules().values():
        assert rule["condition"] == ABOVE
        assert [each["refId"] for each in rule["data"]] == [COST, UNPRICED, ABOVE]
        assert rule["for"] == "0s"
        assert f"$values.{UNPRICED}" in rule["annotations"]["description"]
        assert f"$values.{COST}" in rule["annotations"]["summary"]
    assert rules()[HOURLY]["labels"]["severity"] == "critical"
    uids = [rule["uid"] for rule in rules().values()]
    assert len(set(uids)) == len(uids) == 3
    assert all(len(uid) <= 40 for uid in uids), "the most that Grafana takes"


def test_the_amounts_are_those_of_the_limits_that_are_shipped() -> None:
    shipped = tomllib.loads((ROOT / "stream/rulebook/shipped.toml").read_text())["limit"]
    limits = {each["name"]: (Decimal(each["amount"]), each["currency"]) for each in shipped}
    named = {MONTHLY: "monthly_cost_exceeded", USER: "user_cost_exceeded", HOURLY: "hourly_cost_exceeded"}
    for title, rule in rules().items():
        (above,) = [each["model"] for each in rule["data"] if each["refId"] == ABOVE]
        assert limits[named[title]] == (above["conditions"][0]["evaluator"]["params"][0], "KRW")


def test_rules_are_paused_until_one_setting_hands_them_over() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    given = compose["services"]["grafana"]["environment"]
    assert {rule["isPaused"] for rule in rules().values()} == {PAUSED}
    assert given[PAUSED.removeprefix("$")] == f"${{{PAUSED.removeprefix('$')}:-true}}"


def test_every_address_comes_from_the_environment_that_compose_gives() -> None:
    given = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["grafana"]["environment"]
    points = {point["name"]: point["receivers"] for point in provisioned("contact-points.yaml")["contactPoints"]}
    assert {name: [each["type"] for each in receivers] for name, receivers in points.items()} == {
        "costream Slack": ["slack"],
        "costream email": ["email"],
    }
    for receivers in points.values():
        for receiver in receivers:
            for value in receiver["settings"].values():
                (name,) = re.findall(r"^\$(\w+)$", value)
                assert name in given
                default = given[name].removeprefix(f"${{{name}:-").removesuffix("}")
                assert ".invalid" in default, "it leads nowhere, and Grafana starts with it"


def receivers_of(labels: dict[str, str]) -> list[str]:
    """Who is told of an alert, as an Alertmanager finds it."""
    (policy,) = provisioned("policies.yaml")["policies"]
    found = []
    for route in policy["routes"]:
        if all(labels.get(name, "") == value for name, _, value in route["object_matchers"]):
            found.append(route["receiver"])
            if not route.get("continue"):
                break
    return found or [policy["receiver"]]


def test_each_rule_is_told_where_it_is_to_be() -> None:
    told = {title: sorted(receivers_of(rule["labels"])) for title, rule in rules().items()}
    both = ["costream Slack", "costream email"]
    assert told == {MONTHLY: both, USER: ["costream Slack"], HOURLY: both}
    (policy,) = provisioned("policies.yaml")["policies"]
    assert "user_id" in policy["group_by"], "one message for each user"
    known = {point["name"] for point in provisioned("contact-points.yaml")["contactPoints"]}
    assert {policy["receiver"], *(route["receiver"] for route in policy["routes"])} == known
