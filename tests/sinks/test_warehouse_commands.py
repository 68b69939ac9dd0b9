"""The commands around the warehouse, as a person runs them."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
import typer
from typer.testing import CliRunner, Result

from sinks.clickhouse.connect import ClickHouseAddress
from sinks.clickhouse.migrate import FOLDER
from sinks.clickhouse.views.texts import texts
from sinks.clickhouse.writer import Writer
from stream.cli import clickhouse, migrate, query
from tests.support.databases import drop_database
from tests.support.warehouse import Server, settings_of
from tests.support.warehouse_rows import events, hourly, this_hour

app = typer.Typer()
app.add_typer(migrate.app, name="migrate")
app.command("query")(query.query)
app.command("clickhouse")(clickhouse.clickhouse)

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments: str, given: str | None = None) -> Result:
    """``given`` is its standard input."""
    return CliRunner().invoke(app, arguments, input=given)


def configure(address: ClickHouseAddress, monkeypatch: pytest.MonkeyPatch) -> ClickHouseAddress:
    for name, value in settings_of(address).items():
        monkeypatch.setenv(f"COSTREAM_{name.upper()}", value)
    return address


@pytest.fixture
def configured(clickhouse_endpoint: Server, monkeypatch: pytest.MonkeyPatch) -> ClickHouseAddress:
    """The commands' settings name a database that does not exist yet."""
    return configure(clickhouse_endpoint.unmade(), monkeypatch)


@pytest.fixture(scope="module")
def filled_once(clickhouse_endpoint: Server) -> ClickHouseAddress:
    address = clickhouse_endpoint.fresh()
    with closing(Writer(address)) as writer:
        calls = [{"request_id": "r-1", "cost_pico": 1}, {"request_id": "x", "cost_pico": None}]
        writer.insert("usage_events", events(calls))
        writer.insert("usage_hourly", hourly([{"cost_pico": 1}]))
    return address


@pytest.fixture
def filled(filled_once: ClickHouseAddress, monkeypatch: pytest.MonkeyPatch) -> ClickHouseAddress:
    """The settings name a warehouse with two calls, which no test changes."""
    return configure(filled_once, monkeypatch)


@pytest.mark.slow
def test_migrate_up_status_down_and_up_again(configured: ClickHouseAddress) -> None:
    versions = sorted(int(file.name[:3]) for file in FOLDER.glob("*.sql") if ".down." not in file.name)
    made = f"views made anew: {len(texts())}"
    assert run("migrate", "up").output == f"applied: {', '.join(map(str, versions))}\n{made}\n"
    assert run("migrate", "up").output == "applied: nothing to do\n"
    rows = json.loads(run("migrate", "status", "--json").output)
    assert [(row["version"], row["state"]) for row in rows] == [(version, "applied") for version in versions]
    assert "002_views" in run("migrate", "status").output
    all_but_one = ("migrate", "down", "--steps", str(len(versions) - 1), "--drop-data", "--json")
    assert json.loads(run(*all_but_one).output) == {"undone": versions[:0:-1]}
    kept = run("migrate", "down")
    assert kept.exit_code == 1
    assert "--drop-data" in kept.stderr
    assert run("migrate", "down", "--drop-data").output == "undone: 1\n"
    drop_database(configured)


@pytest.mark.slow
def test_migrate_up_gives_the_tables_the_retention_and_asks_before_rows_go(
    configured: ClickHouseAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COSTREAM_RETENTION", "P120D")
    assert run("migrate", "up").output.endswith("\nraw rows and dead letters are now kept for 120 days\n")
    with closing(Writer(configured)) as writer:
        writer.insert("usage_events", events([{"occurred_at": this_hour() - timedelta(days=100)}]))
    monkeypatch.setenv("COSTREAM_RETENTION", "P30D")
    kept = run("migrate", "up")
    assert kept.exit_code == 1
    assert "1 row of usage_events" in kept.stderr
    assert "--drop-data" in kept.stderr
    assert "30 days" in run("migrate", "up", "--drop-data").output
    assert run("migrate", "up").output == "applied: nothing to do\n"
    drop_database(configured)


@pytest.mark.usefixtures("filled")
def test_query_prints_exact_amounts_in_every_form() -> None:
    sql = "SELECT request_id, cost_usd, occurred_at > '2020-01-01' AS recent FROM usage_events ORDER BY request_id"
    rows = json.loads(run("query", sql, "--json").output)
    assert [(row["request_id"], row["cost_usd"]) for row in rows] == [("r-1", "0.000000000001"), ("x", None)]
    table = list(csv.DictReader(io.StringIO(run("query", sql, "--csv").output)))
    assert [row["cost_usd"] for row in table] == ["0.000000000001", "\\N"]
    assert "0.000000000001" in run("query", sql).output
    assert run("query", "SELECT 1 WHERE 0").output == "no rows\n"
    assert json.loads(run("query", "SELECT 1 WHERE 0", "--json").output) == []


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize(
    ("arguments", "says", "status"),
    [
        (("TRUNCATE TABLE usage_events",), "TRUNCATE would change the warehouse", 1),
        (("/* a */ -- b\n delete FROM usage_events WHERE 1",), "DELETE would change the warehouse", 1),
        (("WITH 1 AS a INSERT INTO usage_events SELECT a",), "", 1),
        (("",), "the statement is empty; nothing was asked", 2),
        ((" ; ",), "the statement is empty", 2),
        (("/* only a comment */ -- and one more",), "the statement is empty", 2),
        (("SELECT 1", "--file", "x.sql"), "exclude each other", 2),
        (("--file", "no-such-file.sql"), "no-such-file.sql cannot be read: No such file", 2),
        (("SELECT 1 FORMAT CSV", "--json"), "FORMAT CSV", 2),
        (("SELECT 1", "--format", "csv", "--json"), "csv and json exclude each other", 2),
        (("SELECT * FROM nowhere",), "nowhere", 1),
        (("SELEC 1",), "Syntax error", 1),
        (("SELECT 1", "--json", "--csv"), "exclude each other", 2),
    ],
)
def test_a_mistake_in_a_question_is_said_without_a_traceback(
    arguments: tuple[str, ...], says: str, status: int
) -> None:
    result = run("query", *arguments)
    assert (result.exit_code, result.stdout) == (status, "")
    assert says in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.usefixtures("filled")
def test_a_question_comes_from_an_argument_a_file_or_standard_input(tmp_path: Path) -> None:
    sql = "SELECT toInt64(count()) AS n FROM usage_events;\n"
    (tmp_path / "count.sql").write_text(sql)
    answers = [
        run("query", sql, "--csv"),
        run("query", "--file", str(tmp_path / "count.sql"), "--format", "csv"),
        run("query", "--csv", given=sql),
        run("query", "-", "--csv", given=sql),
        run("query", "SELECT toInt64(count()) AS n FROM usage_events FORMAT CSVWithNames"),
    ]
    assert [answer.stdout for answer in answers] == ['"n"\n2\n'] * 5


@pytest.mark.usefixtures("filled")
def test_parquet_keeps_decimals_and_a_clause_of_the_statement_is_followed() -> None:
    rows = pl.read_parquet(run("query", "SELECT cost_usd FROM usage_events", "--format", "parquet").stdout_bytes)
    assert rows.schema["cost_usd"] == pl.Decimal(18, 12)
    lines = run("query", "SELECT request_id FROM usage_events ORDER BY request_id format JSONEachRow").stdout
    assert [json.loads(line)["request_id"] for line in lines.splitlines()] == ["r-1", "x"]


@pytest.mark.usefixtures("configured")
def test_a_question_before_the_first_migration_names_the_remedy() -> None:
    assert "costream migrate up" in run("query", "SELECT 1").stderr


def test_a_warehouse_that_is_down_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COSTREAM_CLICKHOUSE_URL", "http://127.0.0.1:1")
    for command in (("query", "SELECT 1"), ("migrate", "up"), ("migrate", "status")):
        result = run(*command)
        assert result.exit_code == 1
        assert "does not answer" in result.stderr
        assert "Traceback" not in result.stderr


def test_an_address_that_is_none_is_a_wrong_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COSTREAM_CLICKHOUSE_URL", "localhost")
    result = run("query", "SELECT 1")
    assert (result.exit_code, "COSTREAM_CLICKHOUSE_URL" in result.stderr) == (2, True)


@pytest.mark.parametrize(
    "command", [["query"], ["clickhouse"], ["migrate", "up"], ["migrate", "down"], ["migrate", "status"]]
)
def test_every_command_explains_itself_with_an_example(command: list[str]) -> None:
    assert "Example: " in run(*command, "--help").output


def test_the_engine_is_not_served_beyond_this_machine(tmp_path: Path) -> None:
    result = run("clickhouse", "--data-dir", str(tmp_path), "--bind", "0.0.0.0", "--port", "0")
    assert result.exit_code == 1
    assert "not a loopback address" in result.stderr


def test_clickhouse_says_where_it_is_and_ends_with_the_signal(tmp_path: Path) -> None:
    program = "import typer; from stream.cli.clickhouse import clickhouse; typer.run(clickhouse)"
    with subprocess.Popen(
        [sys.executable, "-c", program, "--data-dir", str(tmp_path / "new"), "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
        env=os.environ | {"COSTREAM_CLICKHOUSE_PASSWORD": "w"},
    ) as process:
        assert process.stdout is not None
        said = next(line for line in process.stdout if "COSTREAM_CLICKHOUSE_URL=" in line)
        assert "development and tests only" in said
        url = said.rpartition("=")[2].strip()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert url.startswith("http://127.0.0.1:")
