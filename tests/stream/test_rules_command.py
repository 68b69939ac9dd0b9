"""costream rules check and test: what a person types, and what is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from costream.alerts import Alert
from stream.cli import common
from stream.cli.rules import app

OWN = (
    '[[budget]]\nname = "search_team"\nscope = ["user"]\nonly = { team = ["search"] }\nperiod = "hour"\namount = "20"\n'
)
RATE = '[[exchange_rate]]\ncurrency = "KRW"\nper_usd = "1400"\nvalid_from = 2026-01-01\nsource = "of the test"\n'
DAY = "2026-11-30"


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(common.console, "_width", 200)


def run(*arguments: str, status: int = 0, given: str | None = None, **variables: str) -> Result:
    result = CliRunner().invoke(app, list(arguments), input=given, env=variables)
    assert result.exit_code == status, result.output
    return result


@pytest.fixture
def written(tmp_path: Path) -> Any:
    def write(name: str, text: str) -> str:
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    return write


def call(number: int, usd: str, *, hour: int = 1, **fields: Any) -> dict[str, Any]:
    return {"request_id": f"r-{number}", "occurred_at": f"{DAY}T{hour:02}:00:00Z", "cost_usd": usd} | fields


def lines(*calls: dict[str, Any]) -> str:
    return "".join(json.dumps(each) + "\n" for each in calls)


# --- check -----------------------------------------------------------------------------------------------------------


def test_check_tells_every_rule_that_would_hold_and_those_without_a_rate(written: Any) -> None:
    file = written("own.toml", OWN)
    told = run("check", file, COSTREAM_ZONE="Asia/Seoul").stdout
    assert "daily_budget  100 USD a day, for everything together (Asia/Seoul)\n" in told
    assert "    80% warning, 95% critical, 100% emergency; shipped\n" in told
    assert "search_team  20 USD an hour, for each user, of team search (Asia/Seoul)\n" in told
    assert f"    80% warning, 90% warning, 95% critical, 100% emergency; {file}\n" in told
    assert "    no exchange rate of KRW is known; shipped\n" in told
    assert "hourly_spike\n    threshold 3.0, clear 2.0, history_hours_max 168, history_hours_min 24; shipped\n" in told
    assert "unknown_price\n    on; shipped\n" in told
    assert "pipeline" not in told, "a file that says nothing of it changes nothing"
    said = " ".join(told.split())
    assert "sample_monthly_budget, monthly_cost_exceeded, user_cost_exceeded, hourly_cost_exceeded: off, since" in said
    assert "add an [[exchange_rate]] of KRW to your prices" in said


def test_where_alerts_about_the_pipeline_are_told_stands_there_too(written: Any) -> None:
    file = written("own.toml", '[[channel.slack]]\n[pipeline]\nchannels = ["slack"]\nnote = "on call"\n')
    assert f"pipeline\n    on; told on slack; {file}; on call\n" in run("check", file).stdout


def test_a_note_stands_beside_its_rule(written: Any) -> None:
    file = written("own.toml", OWN + 'note = "agreed\\u001b[31m"\n')
    assert f"emergency; {file}; agreed\\u{{1b}}[31m\n" in run("check", file).stdout


def test_a_share_is_told_with_all_its_digits(written: Any) -> None:
    file = written("own.toml", OWN + 'thresholds = [{ at = "0.985", level = "info" }]\nlevel_at_full = "off"\n')
    assert f"    98.5% info; {file}\n" in run("check", file).stdout


def test_a_share_at_which_calls_may_be_refused_is_told_behind_the_steps(written: Any) -> None:
    file = written("own.toml", OWN + 'refuse_at = "0.955"\n')
    assert f"100% emergency, new calls may be refused at 95.5%; {file}\n" in run("check", file).stdout
    assert json.loads(run("check", file, "--json").stdout)["search_team"]["refuse_at"] == "0.955"


def test_what_a_budget_brings_along_stands_behind_it(written: Any) -> None:
    text = '[[budget]]\nname = "m"\nperiod = "month"\namount = "2000"\nburn = [{ within = "hour", share = "0.025" }]\n'
    file = written("own.toml", text)
    assert (
        f"expected to be used up; {file}\nm_within_an_hour  50 USD an hour, for everything together (UTC)\n"
        f"    above it critical, 2.5% of m; {file}\n"
    ) in run("check", file).stdout
    found = json.loads(run("check", file, "--json").stdout)
    assert (found["m"]["share_of"], found["m_within_an_hour"]["share_of"], found["m_within_an_hour"]["amount"]) == (
        None,
        "m",
        "50",
    )


def test_of_rules_that_are_switched_off_no_rate_is_missed(written: Any) -> None:
    names = ("sample_monthly_budget", "monthly_cost_exceeded", "user_cost_exceeded", "hourly_cost_exceeded")
    off = '[[budget]]\nname = "{}"\nperiod = "day"\namount = "1"\ncurrency = "KRW"\non = false\n'
    told = run("check", written("own.toml", "".join(map(off.format, names)))).stdout
    assert told.count("    on = false; ") == 4
    assert "exchange rate" not in told


def test_check_with_rates_has_all_rules_on(written: Any) -> None:
    told = run("check", "--prices", written("rates.toml", RATE)).stdout
    assert "off" not in told
    limit = "monthly_cost_exceeded  500,000 KRW a month, for everything together (UTC)\n    above it critical"
    assert f"{limit}; told on slack and email; shipped\n" in told


def test_check_as_json_has_exact_amounts(written: Any) -> None:
    found = json.loads(run("check", written("own.toml", OWN), "--json").stdout)
    assert found["search_team"] == {
        "kind": "budget",
        "scope": ["user"],
        "only": {"team": ["search"]},
        "period": "hour",
        "zone": "UTC",
        "amount": "20",
        "currency": "USD",
        "metric_name": "search_team",
        "channels": None,
        "refuse_at": None,
        "forecast": None,
        "share_of": None,
        "steps": [
            {"amount": "16.00", "level": "warning"},
            {"amount": "18.00", "level": "warning"},
            {"amount": "19.00", "level": "critical"},
            {"amount": "20", "level": "emergency"},
        ],
        "on": True,
        "off_because": "",
        "note": "",
        "file": found["search_team"]["file"],
    }
    assert found["hourly_cost_exceeded"]["on"] is False
    assert found["hourly_cost_exceeded"]["off_because"] == "no exchange rate of KRW is known"
    assert found["hourly_anomaly"] == {
        "kind": "hourly_anomaly",
        "on": True,
        "by": ["feature", "team"],
        "score": "3.0",
        "score_clear": "2.0",
        "cost_usd_min": "1",
        "channels": None,
        "note": "",
        "file": "shipped",
    }


def test_every_fault_of_all_files_is_told_and_nothing_is_done(written: Any, tmp_path: Path) -> None:
    broken, missing = written("broken.toml", OWN.replace('"20"', "20")), str(tmp_path / "missing.toml")
    refused = run("check", broken, status=2).stderr
    assert "rules that cannot be used; nothing was done" in refused
    assert "broken.toml: budget 1 (search_team): amount: 20 is not decimal text" in refused
    assert "missing.toml cannot be read: No such file or directory" in run("check", missing, status=2).stderr
    odd = tmp_path / "odd.toml"
    odd.write_bytes(b"\xff")
    assert "odd.toml is no text in UTF-8" in run("check", str(odd), status=2).stderr
    rates = written("rates.toml", RATE.replace("1400", "-1"))
    assert "prices that cannot be used" in run("check", "--prices", rates, status=2).stderr
    assert "COSTREAM_ZONE" in run("check", status=2, COSTREAM_ZONE="Seoul").stderr


# --- test ------------------------------------------------------------------------------------------------------------


def test_a_history_is_played_and_told_with_what_was_played(written: Any) -> None:
    trace = written("calls.jsonl", lines(call(1, "79"), call(2, "5", hour=9), call(2, "5"), call(3, "0", hour=10)))
    result = run("test", "--trace", trace)
    assert "2026-11-30 09:00:01 UTC  WARNING    open       daily_budget: 84.0 % of 100.00 USD spent\n" in result.stdout
    assert "2026-11-30 (UTC) cost 84.00 USD: 84.0 % of 100.00 USD. Threshold reached: 80.00 USD." in result.stdout
    assert (
        "1 message of 5 rules; 3 calls, from 2026-11-30 01:00:00 to 2026-11-30 10:00:00 UTC; 1 repeat left out\n"
        in result.stderr
    )


def test_hours_that_are_unusual_stand_among_budgets_in_the_order_of_time(written: Any) -> None:
    usual = [
        call(hour, "1", hour=0) | {"occurred_at": f"2026-10-0{1 + hour // 24}T{hour % 24:02}:00:00Z"}
        for hour in range(30)
    ]
    loop = [call(100 + second, "9") | {"occurred_at": f"2026-10-02T06:{second:02}:00Z"} for second in range(12)]
    result = run("test", "--trace", "-", given=lines(*usual, *loop))
    said = [line.split("  ")[0] for line in result.stdout.splitlines() if line.startswith("2026")]
    assert said == sorted(said)
    titles = [line for line in result.stdout.splitlines() if "Hourly cost is" in line or "daily_budget" in line]
    assert "Hourly cost is 9.0x the usual" in titles[0]
    assert any("daily_budget: 8" in title for title in titles[1:])
    off = written("off.toml", "[hourly_spike]\non = false\n[hourly_anomaly]\non = false\n")
    alone = run("test", off, "--trace", "-", given=lines(*usual, *loop))
    assert "Hourly cost" not in alone.stdout
    assert "of 3 rules" in alone.stderr


def test_alerts_as_json_are_those_of_the_topic(written: Any) -> None:
    rules = written("own.toml", OWN)
    given = lines(call(1, "16", user_id="ann", team="search"), call(2, "99", user_id="ann", team="other"))
    alerts = [
        Alert.from_json(line)
        for line in run("test", rules, "--trace", "-", "--json", given=given).stdout.split("\n")
        if line
    ]
    assert {(alert.scope, f"{alert.threshold_value:f}") for alert in alerts} == {
        ("budget=search_team,user=ann", "16"),
        ("budget=user_daily_budget,user=ann", "10"),
        ("budget=daily_budget", "100"),
    }


def test_events_are_priced_and_prices_of_ones_own_hold(written: Any) -> None:
    event = {"request_id": "r", "occurred_at": f"{DAY}T01:00:00Z", "provider": "acme", "model": "m", "input_tokens": 1}
    rates = written(
        "rates.toml",
        '[[price]]\nprovider = "acme"\nmodels = ["m"]\nsource = "a contract"\nrates.input_tokens = { price = "81" }\n',
    )
    assert "0 messages of 5 rules; 1 call" in run("test", "--trace", "-", given=lines(event)).stderr
    assert "1 call without a price" in run("test", "--trace", "-", given=lines(event)).stderr
    assert "81.0 % of 100.00 USD" in run("test", "--trace", "-", "--prices", rates, given=lines(event)).stdout


def test_lines_that_are_no_call_are_told_and_end_with_status_1() -> None:
    given = lines(call(1, "85")) + "nonsense\x1b[31m\n" * 12
    result = run("test", "--trace", "-", given=given, status=1)
    assert "84" not in result.stdout and "85.0 % of 100.00 USD spent" in result.stdout
    assert result.stderr.count("it is no JSON") == 10
    assert "12 lines refused" in result.stderr
    assert "\x1b" not in result.stderr


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "cannot be read: No such file or directory; nothing was played"),
        (b"\xff", "is no text in UTF-8; nothing was played"),
        (b"[{", "it begins like an array, and is no JSON"),
    ],
)
def test_a_history_that_cannot_be_read_is_said_in_a_sentence(content: bytes | None, says: str, tmp_path: Path) -> None:
    path = tmp_path / "calls.json"
    if content is not None:
        path.write_bytes(content)
    assert says in run("test", "--trace", str(path), status=2).stderr


def test_an_empty_history_raises_nothing() -> None:
    assert "0 messages of 5 rules; 0 calls\n" in run("test", "--trace", "-", given="").stderr


def test_names_in_a_history_cannot_steer_the_terminal(written: Any) -> None:
    given = lines(call(1, "9.5", user_id="\x1b[31mann\n"))
    told = run("test", "--trace", "-", given=given).stdout
    assert "user_daily_budget of user \\u{1b}[31mann\\u{a}: 95.0 %" in told
    assert "\x1b" not in told
