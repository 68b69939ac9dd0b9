"""What every command shares: which settings are meant, what is loaded for an answer, what a wrong variable is told."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from stream.cli import COMMANDS, GROUPS, application
from stream.cli.config import config

app = typer.Typer()
app.command()(config)

LOADED = """
import sys
from stream.cli import main
try:
    main()
except SystemExit:
    pass
print()
print(" ".join(sys.modules))
"""
FRAMES = {"polars", "pyarrow", "numpy", "faust", "aiokafka", "chdb"}
HEAVY = FRAMES | {"confluent_kafka", "clickhouse_connect", "genai_prices", "msgspec", "structlog", "aiohttp"}
NOWHERE = {"COSTREAM_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1", "COSTREAM_CLICKHOUSE_URL": "http://127.0.0.1:1"}


def modules_of(*arguments: str) -> set[str]:
    """Every module that is loaded once the command has ended. No Kafka and no warehouse answer it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COSTREAM_")} | NOWHERE
    done = subprocess.run(
        [sys.executable, "-c", LOADED, *arguments], capture_output=True, text=True, check=True, env=environment
    )
    return set(done.stdout.splitlines()[-1].split())


def loaded_by(*arguments: str) -> set[str]:
    return {name.partition(".")[0] for name in modules_of(*arguments)}


SHARED = {"common", "changes", "corrections", "revisions"}  # by several commands, and light


@pytest.mark.parametrize("command", [*COMMANDS, *GROUPS])
def test_help_is_given_without_loading_what_works_or_another_command(command: str) -> None:
    modules = modules_of(command, "--help")
    assert not {name.partition(".")[0] for name in modules} & (HEAVY | {"costream", "pydantic_settings"})
    commands = {name for name in modules if name.startswith("stream.cli.")}
    assert "stream.cli.common" in commands
    assert {name.split(".")[2] for name in commands} - SHARED == {command}
    assert not modules & {"typer.rich_utils", "rich.markdown", "pygments"}


def test_the_list_of_commands_is_given_without_loading_what_they_work_with() -> None:
    assert not loaded_by("--help") & (HEAVY | {"costream", "pydantic_settings", "pygments"})


@pytest.mark.parametrize("arguments", [["config"], ["config", "--json"]])
def test_the_settings_are_shown_without_a_kafka_a_warehouse_or_an_event(arguments: list[str]) -> None:
    assert not loaded_by(*arguments) & (HEAVY | {"costream"})


@pytest.mark.parametrize(
    ("arguments", "spared"),
    [
        (["query", "SELECT 1"], FRAMES | {"confluent_kafka", "costream"}),
        (["migrate", "status"], FRAMES | {"confluent_kafka", "costream"}),
        (["topics", "list"], FRAMES | {"clickhouse_connect"}),
        (["alerts", "tail", "--no-follow"], FRAMES | {"clickhouse_connect"}),
        (["alerts", "list"], FRAMES - {"polars"}),
        (["budgets", "list"], FRAMES - {"polars"}),
        (["replay", "pyproject.toml", "--dry-run"], FRAMES | {"clickhouse_connect"}),
    ],
)
def test_a_command_loads_what_it_works_with_and_no_more(arguments: list[str], spared: set[str]) -> None:
    assert not loaded_by(*arguments) & spared


def costream(*arguments: str) -> tuple[int, str, str]:
    command = [sys.executable, "-c", "from stream.cli import main; main()", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def test_a_command_that_alone_is_loaded_is_still_one_of_many() -> None:
    status, told, _ = costream("topics", "list", "--help")
    assert status == 0
    assert "topics list [OPTIONS]" in told
    assert "config [OPTIONS]" in costream("config", "-h")[1]


def test_a_misspelt_command_is_held_against_all_of_them() -> None:
    status, _, said = costream("confg")
    assert (status, "Did you mean 'config'?" in said) == (2, True)


def test_the_list_of_commands_has_the_whole_first_paragraph_of_each() -> None:
    told = " ".join(CliRunner().invoke(application(), ["--help"], env={"COLUMNS": "80"}).stdout.split())
    assert "Ask the configured warehouse. Read-only: a statement that would change anything is refused." in told
    assert "Bring the warehouse's tables and views up, down, or show where they are." in told
    assert "..." not in told.partition("Commands:")[2]


def ask(*arguments: str, **environment: str) -> tuple[str, str]:
    answer = CliRunner().invoke(app, list(arguments), env=environment)
    assert answer.exit_code == 0
    return answer.stdout, answer.stderr


def test_a_misspelt_variable_is_said_with_the_one_that_is_meant() -> None:
    _, said = ask(COSTREAM_BATCH_ROW_MAX="3", COSTREAM_QQQQQQQ="1")
    assert "COSTREAM_BATCH_ROW_MAX is no setting and has no effect; did you mean COSTREAM_BATCH_ROWS_MAX?" in said
    assert "COSTREAM_QQQQQQQ is no setting and has no effect; `costream config` lists those that are" in said


def test_the_variables_of_the_client_and_of_the_tests_are_no_mistakes() -> None:
    _, said = ask(COSTREAM_SPOOL_DIR="/tmp/x", COSTREAM_ENABLED="1", COSTREAM_TEST_KAFKA="x", COSTREAM_LOG_LEVEL="INFO")
    assert said == ""


def test_what_the_environment_sets_comes_first_and_the_rest_is_said_to_be_default() -> None:
    told, _ = ask(COSTREAM_BATCH_ROWS_MAX="20000", COSTREAM_CLICKHOUSE_PASSWORD="hidden")
    given, by_default = told.split("by default\n")
    assert given.startswith("set by the environment\n")
    assert "COSTREAM_BATCH_ROWS_MAX=20000" in given
    assert "COSTREAM_CLICKHOUSE_PASSWORD=**********" in given
    assert "hidden" not in told
    assert "COSTREAM_KAFKA_BOOTSTRAP_SERVERS=127.0.0.1:9092" in by_default
    assert all(len(line) <= 80 for line in told.splitlines())


def test_as_json_every_setting_is_there() -> None:
    told, _ = ask("--json", COSTREAM_BATCH_ROWS_MAX="20000")
    assert json.loads(told)["batch_rows_max"] == 20_000
