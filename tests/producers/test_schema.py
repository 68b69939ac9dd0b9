"""The published schema, its example and the two example programs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from pydantic import ValidationError

from costream import UsageEvent
from costream.schema import FILES, FOLDER, main
from tests.producers.test_events import INSIDE, OUTSIDE, cases

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = json.loads((ROOT / FOLDER / FILES["event"]).read_text(encoding="utf-8"))
EXAMPLE = (ROOT / "producers/schema/usage-event.v1.example.json").read_text(encoding="utf-8")
FIXTURE = (Path(__file__).parent / "fixtures" / "usage-event.v1.jsonl").read_text(encoding="utf-8").splitlines()


def test_the_published_schemas_are_those_of_the_models() -> None:
    assert main(["--check", "--folder", str(ROOT / FOLDER)]) == 0


def test_the_check_fails_for_a_file_that_is_stale_or_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here = ["--folder", str(tmp_path)]
    assert main(["--check", *here]) == 1
    assert main(["--write", "event", *here]) == 0
    assert (main(["--check", "event", *here]), main(["--check", *here])) == (0, 1)
    assert main(["--write", *here]) == 0
    assert main(["--check", *here]) == 0
    file = tmp_path / FILES["alert"]
    file.write_text(file.read_text(encoding="utf-8") + " ", encoding="utf-8")
    capsys.readouterr()
    assert (main(["--check", *here]), main(["--check", "event", *here])) == (1, 0)
    assert capsys.readouterr().err.count("--write") == 1


@pytest.mark.parametrize(
    ("asked", "title"),
    [([], "UsageEvent"), (["event"], "UsageEvent"), (["alert"], "UsageAlert"), (["budget"], "UsageBudget")],
)
def test_a_schema_is_printed(asked: list[str], title: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(asked) == 0
    assert json.loads(capsys.readouterr().out)["title"] == title


def test_the_schema_is_a_valid_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("text", [EXAMPLE, *FIXTURE])
def test_example_and_fixtures_are_valid_to_both_the_schema_and_the_model(text: str) -> None:
    jsonschema.Draft202012Validator(SCHEMA).validate(json.loads(text))
    UsageEvent.model_validate_json(text)


@pytest.mark.parametrize(
    "wrong",
    [
        {"occurred_at": "2025-01-01T00:00:00"},
        {"input_tokens": -1},
        {"input_tokens": 1.5},
        {"reported_cost_usd": -0.05},
        {"reported_cost_usd": "1e3"},
        {"quantities": {"audio_seconds": 90.5}},
        {"provider": None},
        {"quantities": {"Audio": "1"}},
        {"operation": "speak"},
        {"request_id": ""},
        {"provider": "a\nb"},
        {"total_tokens": 3},
        {"schema_version": 2},
    ],
)
def test_the_schema_alone_already_refuses_the_usual_mistakes(wrong: dict[str, Any]) -> None:
    event = json.loads(EXAMPLE) | wrong
    assert not jsonschema.Draft202012Validator(SCHEMA).is_valid(event)


@pytest.mark.parametrize(("name", "value"), [*cases(INSIDE), *cases(OUTSIDE)])
def test_the_schema_takes_a_value_exactly_if_the_model_does(name: str, value: Any) -> None:
    text = json.dumps(json.loads(FIXTURE[0]) | {name: value})
    try:
        UsageEvent.model_validate_json(text)
        taken = True
    except ValidationError as error:
        if "bytes of JSON" in str(error):
            return  # no schema counts the bytes of an object
        taken = False
    assert jsonschema.Draft202012Validator(SCHEMA).is_valid(json.loads(text)) is taken


@pytest.mark.parametrize("name", sorted(UsageEvent.model_fields))
def test_null_is_valid_to_the_schema_where_a_field_is_optional(name: str) -> None:
    event = json.loads(FIXTURE[0]) | {name: None}
    assert jsonschema.Draft202012Validator(SCHEMA).is_valid(event) is not UsageEvent.model_fields[name].is_required()


def test_every_field_is_in_the_document() -> None:
    document = (ROOT / "docs/event.md").read_text(encoding="utf-8")
    assert [name for name in UsageEvent.model_fields if f"`{name}`" not in document] == []


def test_every_variable_of_the_client_is_in_its_readme() -> None:
    from costream.settings import FROM_ENVIRONMENT, GUARD_SWITCH, SWITCHES

    readme = (ROOT / "producers/README.md").read_text(encoding="utf-8")
    shortened = {"COSTREAM_KAFKA_SASL_USERNAME": "_USERNAME", "COSTREAM_KAFKA_SASL_PASSWORD": "_PASSWORD"}
    names = [*SWITCHES, GUARD_SWITCH, *FROM_ENVIRONMENT.values()]
    assert [name for name in names if f"`{shortened.get(name, name)}`" not in readme] == []


def test_an_event_of_the_plain_kafka_client_is_accepted(bootstrap: str, topic: str, read_topic: Any) -> None:
    program = ROOT / "examples/plain_kafka_client.py"
    subprocess.run([sys.executable, str(program), bootstrap, topic], check=True, capture_output=True)
    (message,) = read_topic(bootstrap, topic)
    assert message.key == message.event.request_id
    assert message.event.input_tokens == 1200
    assert "costream-client" not in message.headers


def test_the_ten_lines_of_the_readme_publish_an_event(
    embedded_bootstrap: str, topic: str, read_topic: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COSTREAM_KAFKA_BOOTSTRAP_SERVERS", embedded_bootstrap)
    monkeypatch.setenv("COSTREAM_TOPIC_PREFIX", topic + ".")
    subprocess.run([sys.executable, str(ROOT / "examples/publish_ten_lines.py")], check=True, capture_output=True)
    (message,) = read_topic(embedded_bootstrap, topic + ".usage.events")
    assert message.event.feature == "chatbot"
    assert (ROOT / "examples/publish_ten_lines.py").read_text().partition("\n\n")[2] in (
        ROOT / "producers/README.md"
    ).read_text()


def test_the_price_of_a_call_in_the_readme_is_the_one_it_says() -> None:
    (program,) = [
        block
        for block in re.findall(r"```python\n(.*?)```", (ROOT / "producers/README.md").read_text(), re.DOTALL)
        if "costream.pricing" in block
    ]
    *lines, said = program.strip().splitlines()
    names: dict[str, Any] = {}
    exec("\n".join([*lines[:-1], f"answer = {lines[-1]}"]), names)  # what a reader would paste
    assert said.startswith(f"# {names['answer']!r}")
