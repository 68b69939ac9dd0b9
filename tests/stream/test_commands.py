"""What every command shares: which settings are meant, what is loaded for an answer, what a wrong variable is told."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

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
print(" ".join(sorted({name.partition(".")[0] for name in sys.modules})))
"""
HEAVY = {"polars", "pyarrow", "numpy", "faust", "aiokafka", "confluent_kafka", "clickhouse_connect", "chdb"}


def loaded_by(*arguments: str) -> set[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COSTREAM_")}
    done = subprocess.run(
        [sys.executable, "-c", LOADED, *arguments], capture_output=True, text=True, check=True, env=environment
    )
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("arguments", [["--help"], *([name, "--help"] for name in ("status", "topics", "worker"))])
def test_help_is_given_without_loading_what_the_command_works_with(arguments: list[str]) -> None:
    assert not loaded_by(*arguments) & HEAVY


def test_the_settings_are_shown_without_a_kafka_a_warehouse_or_a_table() -> None:
    assert not loaded_by("config", "--json") & HEAVY


def ask(*arguments: str, **environment: str) -> tuple[str, str]:
    answer = CliRunner().invoke(app, list(arguments), env=environment)
    assert answer.exit_code == 0
    return answer.stdout, answer.stderr


def test_a_misspelt_variable_is_said_with_the_one_that_is_meant() -> None:
    _, said = ask(COSTREAM_BATCH_ROW_MAX="3", COSTREAM_ZZZ="1")
    assert "COSTREAM_BATCH_ROW_MAX is no setting and has no effect; did you mean COSTREAM_BATCH_ROWS_MAX?" in said
    assert "COSTREAM_ZZZ is no setting and has no effect; `costream config` lists those that are" in said


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
