"""Servers, storage and networks: hours, other units and cost by instance type, added up by hand."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from sinks.clickhouse.reader import Reader
from sinks.clickhouse.writer import Writer
from tests.sinks.test_dashboards import answer
from tests.support.grafana import View
from tests.support.warehouse_rows import events, store_hours, this_hour, units

CENT: Final = 10_000_000_000  # in 1e-12 USD
SERVER: Final = {"provider": "aws", "operation": "gpu", "model": "p4d.24xlarge"}
DISK: Final = {"provider": "aws", "operation": "storage", "model": "gp3"}


def used(amount: str, unit: str = "gpu_hours") -> dict[str, Any]:
    return {"quantities": {unit: Decimal(amount)}}


def store(writer: Writer, rows: list[dict[str, Any]]) -> None:
    store_hours(writer, [{name: value for name, value in row.items() if name != "quantities"} for row in rows])
    writer.insert("usage_hourly_units", units([row for row in rows if "quantities" in row]))


def rows(reader: Reader, sql: str) -> list[dict[str, Any]]:
    return reader.frame(sql).to_dicts()


def test_hours_and_other_units_are_told_by_instance_type_with_their_cost(writer: Writer, reader: Reader) -> None:
    hour = this_hour()
    long_ago = hour - timedelta(days=31)
    store(
        writer,
        [
            SERVER | used("2.5") | {"cost_pico": 8_193 * CENT},
            SERVER | used("0.25") | {"source_partition": 1, "cost_pico": 819 * CENT, "partial_calls": 1},
            SERVER | used("7") | {"hour": long_ago},
            SERVER | used("4") | {"operation": "cpu", "model": "own", "calls": 2, "unpriced_calls": 2, "cost_pico": 0},
            DISK | used("30", "gb_months") | {"cost_pico": 240 * CENT, "errors": 1},
            {"cost_pico": 99 * CENT} | used("9", "images"),
        ],
    )
    server, disk, own = rows(reader, "SELECT * FROM resource_usage")
    assert server == {
        **SERVER,
        "calls": 2,
        "errors": 0,
        "hours": Decimal("2.75"),
        "avg_utilization": None,
        "quantities": {"gpu_hours": Decimal("2.75")},
        "cost_usd": Decimal("90.12"),
        "unpriced_calls": 0,
        "partial_calls": 1,
    }
    assert (disk["model"], disk["hours"], disk["quantities"]) == ("gp3", None, {"gb_months": Decimal(30)})
    assert (disk["cost_usd"], disk["errors"]) == (Decimal("2.40"), 1)
    assert (own["operation"], own["cost_usd"], own["unpriced_calls"]) == ("cpu", None, 2)
    assert own["hours"] is None, "hours of a graphics card are not those of a processor"
    assert own["quantities"] == {"gpu_hours": Decimal(4)}


def test_a_span_that_cuts_an_hour_takes_its_units_from_single_calls(writer: Writer, reader: Reader) -> None:
    hour = this_hour() - timedelta(hours=3)
    store(writer, [SERVER | used("3") | {"hour": hour, "calls": 2, "cost_pico": 300 * CENT}])
    store(writer, [SERVER | used("1") | {"hour": hour + timedelta(hours=1), "cost_pico": 100 * CENT}])
    writer.insert(
        "usage_events",
        events(
            [
                SERVER
                | {"request_id": name, "occurred_at": hour + timedelta(minutes=minute), "cost_pico": cents * CENT}
                | {"quantities": f'{{"gpu_hours":"{amount}"}}'}
                for name, minute, cents, amount in (("a", 10, 200, "2"), ("b", 40, 100, "1.000000000001"))
            ]
        ),
    )

    def asked(start: timedelta, end: timedelta, currency: str = "USD") -> list[tuple[Any, ...]]:
        span = f"from = '{hour + start:%Y-%m-%d %H:%M:%S}', to = '{hour + end:%Y-%m-%d %H:%M:%S}'"
        view = f"resource_usage_between({span}, zone = 'UTC', currency = '{currency}')"
        found = rows(reader, f"SELECT calls, hours, cost_usd, cost, currency FROM {view}")
        return [tuple(row.values()) for row in found]

    zero, half, whole = timedelta(0), timedelta(minutes=30), timedelta(hours=2)
    assert asked(zero, whole) == [(3, Decimal(4), Decimal(4), Decimal(4), "USD")]
    assert asked(half, whole) == [(2, Decimal("2.000000000001"), Decimal(2), Decimal(2), "USD")]
    assert asked(zero, half) == [(1, Decimal(2), Decimal(2), Decimal(2), "USD")]
    ((*_, in_euro, currency),) = asked(zero, half, "EUR")
    assert (in_euro in (None, 2), currency) == (False, "EUR")
    assert asked(timedelta(hours=-2), zero) == []


# --- how busy a server was -------------------------------------------------------------------------------------------


def report(name: str, at: datetime, hours: str, busy: str | None, **more: Any) -> dict[str, Any]:
    operation = more.get("operation", "gpu")
    told = {"request_id": name, "occurred_at": at, "quantities": f'{{"{operation}_hours":"{hours}"}}'}
    return SERVER | told | more | ({} if busy is None else {"utilization": Decimal(busy)})


def fill(writer: Writer, calls: list[dict[str, Any]]) -> None:
    """The calls, and what a worker makes of them: an hour a call."""
    writer.insert("usage_events", events(calls))
    hours = [
        {name: call[name] for name in SERVER}
        | {"hour": call["occurred_at"].replace(minute=0), "source_partition": number}
        | {"quantities": {unit: Decimal(amount) for unit, amount in json.loads(call["quantities"]).items()}}
        for number, call in enumerate(calls)
    ]
    store(writer, hours)


def busy(reader: Reader, view: str) -> dict[str, Any]:
    found = rows(reader, f"SELECT model, avg_utilization FROM {view}")
    return {row["model"]: row["avg_utilization"] for row in found}


def of_span(start: datetime, end: datetime) -> str:
    span = f"from = '{start:%Y-%m-%d %H:%M:%S}', to = '{end:%Y-%m-%d %H:%M:%S}'"
    return f"resource_usage_between({span}, zone = 'UTC', currency = 'USD')"


def test_how_busy_a_server_was_is_a_mean_by_hours_of_the_reports_that_say_it(writer: Writer, reader: Reader) -> None:
    """2 h at 0.5 and 1 h at 0.8 are 1.8 of 3 hours; 4 h of which nothing is said have no part in it."""
    hour = this_hour() - timedelta(hours=3)
    fill(
        writer,
        [
            report("a", hour, "2", "0.5"),
            report("b", hour + timedelta(minutes=40), "1", "0.8"),
            report("c", hour, "4", None),
            report("none", hour, "0", "1"),
            report("third", hour, "3", "0.333333", model="idle", operation="cpu"),
            report("two thirds", hour, "1.5", "0", model="idle", operation="cpu"),
            report("other unit", hour, "3", "0.9", model="odd") | {"quantities": '{"cpu_hours":"3"}'},
            report("silent", hour, "3", None, model="silent"),
            report("disk", hour, "3", "0.5", **DISK) | {"quantities": '{"gb_months":"3"}'},
        ],
    )
    told = {"p4d.24xlarge": Decimal("0.6"), "idle": Decimal("0.222222"), "odd": None, "silent": None, "gp3": None}
    assert busy(reader, "resource_usage") == told
    assert busy(reader, of_span(hour, hour + timedelta(hours=1))) == told
    cut = busy(reader, of_span(hour + timedelta(minutes=30), hour + timedelta(hours=1)))
    assert cut == {"p4d.24xlarge": Decimal("0.8")}
    ((hours,),) = (row.values() for row in rows(reader, "SELECT hours FROM resource_usage WHERE model LIKE 'p4d%'"))
    assert hours == 7


def test_how_busy_a_server_was_is_unknown_where_reports_may_have_expired(writer: Writer, reader: Reader) -> None:
    """They are kept for 90 days, and hours for longer."""
    hour = this_hour() - timedelta(days=89)
    fill(writer, [report("a", hour, "2", "0.5"), report("b", hour - timedelta(days=11), "1", None)])
    assert busy(reader, of_span(hour, this_hour())) == {"p4d.24xlarge": Decimal("0.5")}
    assert busy(reader, of_span(hour - timedelta(days=11), this_hour())) == {"p4d.24xlarge": None}
    assert busy(reader, "resource_usage") == {}


# --- on the board ----------------------------------------------------------------------------------------------------


def test_the_board_tells_hours_and_cost_of_servers_and_what_storage_took(writer: Writer, reader: Reader) -> None:
    """At noon, so that a day of the zone is a day of UTC in each of its hours."""
    noon = (this_hour() - timedelta(days=2)).replace(hour=12)
    view = View(start=noon - timedelta(hours=1), end=noon + timedelta(hours=2))
    store(
        writer,
        [
            SERVER | used("2.5") | {"hour": noon, "cost_pico": 8_000 * CENT},
            SERVER | used("1.5") | {"hour": noon + timedelta(hours=1), "calls": 2, "unpriced_calls": 2, "cost_pico": 0},
            DISK | used("30", "gb_months") | {"hour": noon, "cost_pico": 240 * CENT},
            {"cost_pico": 99 * CENT, "hour": noon} | used("9", "images"),
        ],
    )
    server, disk = answer(reader, "Servers, storage and networks", view)
    assert (server["model"], server["hours"], server["cost"]) == ("p4d.24xlarge", Decimal(4), Decimal(80))
    assert (server["calls"], server["unpriced_calls"]) == (3, 2)
    assert (disk["model"], disk["quantities"], disk["cost"]) == ("gp3", "{'gb_months':30}", Decimal("2.40"))
    hours = {(row["time"], row["series"]): row["hours"] for row in answer(reader, "Hours of servers by hour", view)}
    assert hours == {
        (noon, "p4d.24xlarge"): Decimal("2.5"),
        (noon + timedelta(hours=1), "p4d.24xlarge"): Decimal("1.5"),
    }
    (taken,) = answer(reader, "Storage and networks by hour", view)
    assert (taken["series"], taken["amount"]) == ("gp3, gb_months", 30)
    days = {row["series"]: row["cost"] for row in answer(reader, "Cost by day and instance type", view)}
    assert days == {"p4d.24xlarge": Decimal(80), "gp3": Decimal("2.40")}
    (unpriced,) = answer(reader, "Cost by day and instance type", view, ref="B")
    assert unpriced["unpriced_calls"] == 2


def test_the_board_tells_how_busy_servers_were_by_instance_type_and_hour(writer: Writer, reader: Reader) -> None:
    """2 h at 0.5 and 1 h at 0.8 in one hour, 3 h at 0.2 in the next: 0.6 and 0.2, and 2.4 of 6 hours in all."""
    noon = (this_hour() - timedelta(days=2)).replace(hour=12)
    later = noon + timedelta(hours=1)
    fill(
        writer,
        [
            report("a", noon, "2", "0.5"),
            report("b", noon + timedelta(minutes=10), "1", "0.8"),
            report("c", noon, "4", None),
            report("d", later, "3", "0.2"),
            report("e", later, "2", "1", model="small", operation="cpu"),
            report("f", later, "0", "1", model="none"),
            report("g", later, "2", None, model="silent"),
        ],
    )
    view = View(start=noon - timedelta(hours=1), end=noon + timedelta(hours=2))
    lines = answer(reader, "How busy servers were by hour", view)
    assert [(row["time"], row["series"], row["avg_utilization"]) for row in lines] == [
        (noon, "p4d.24xlarge", 0.6),
        (later, "p4d.24xlarge", 0.2),
        (later, "small", 1.0),
    ]
    used_rows = answer(reader, "Servers, storage and networks", view)
    told = {row["model"]: row["avg_utilization"] for row in used_rows}
    assert told == {"p4d.24xlarge": Decimal("0.4"), "small": Decimal(1), "none": None, "silent": None}
    hours = rows(reader, "SELECT * FROM utilization_hourly WHERE model LIKE 'p4d%' ORDER BY hour")
    assert [(row["calls"], row["hours_told"], row["hours_busy"], row["avg_utilization"]) for row in hours] == [
        (2, Decimal(3), Decimal("1.8"), Decimal("0.6")),
        (1, Decimal(3), Decimal("0.6"), Decimal("0.2")),
    ]
