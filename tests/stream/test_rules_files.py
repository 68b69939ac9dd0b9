"""Files of rules: what is shipped, what a team may write, and every fault at once."""

from __future__ import annotations

import json
import tomllib
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from costream.alerts import Level
from costream.pricing.money import DayRates, RateOfDays
from stream.budgets.budget import Budget, Whole
from stream.rulebook.entries import HourlyAnomaly, HourlySpike, RulesRefused, read
from stream.rulebook.rulebook import Rule, load, shipped_text
from stream.watch.baseline import Thresholds

KRW = DayRates([RateOfDays("KRW", date(2026, 1, 1), Decimal(1_400), "of the test")])
SCHEMA = Draft202012Validator(json.loads(Path("docs/rules.v1.schema.json").read_text()))
SMALLEST = '[[budget]]\nname = "b"\nperiod = "day"\namount = "1"\n'


def rules(*texts: str, rates: DayRates = KRW, zone: str = "UTC") -> dict[str, Rule]:
    files = {f"file-{number}": text for number, text in enumerate(texts, start=1)}
    return {rule.budget.name: rule for rule in load(files, zone=zone, rates=rates).rules}


def budget(text: str, **how: Any) -> Budget:
    return rules(SMALLEST + text, **how)["b"].budget


def steps(found: Budget) -> list[tuple[str, str]]:
    return [(f"{step.amount.normalize():f}", step.level.value) for step in found.steps]


def test_what_is_shipped() -> None:
    found = {name: rule.budget for name, rule in rules().items()}
    assert {name: (one.kind, one.scope, one.period, f"{one.amount} {one.currency}") for name, one in found.items()} == {
        "daily_budget": ("budget", (), "day", "100 USD"),
        "monthly_budget": ("budget", (), "month", "2000 USD"),
        "user_daily_budget": ("budget", ("user",), "day", "10 USD"),
        "sample_monthly_budget": ("budget", (), "month", "15000 KRW"),
        "monthly_cost_exceeded": ("limit", (), "month", "500000 KRW"),
        "user_cost_exceeded": ("limit", ("user",), "month", "500 KRW"),
        "hourly_cost_exceeded": ("limit", (), "hour", "50000 KRW"),
    }
    assert {name: steps(one) for name, one in found.items()} == {
        "daily_budget": [("80", "warning"), ("95", "critical"), ("100", "emergency")],
        "monthly_budget": [("1700", "warning"), ("1960", "critical"), ("2000", "emergency")],
        "user_daily_budget": [("9", "warning"), ("9.8", "critical"), ("10", "emergency")],
        "sample_monthly_budget": [
            *(("12000", "warning"), ("13500", "warning"), ("14250", "critical"), ("15000", "emergency"))
        ],
        "monthly_cost_exceeded": [("500000", "critical")],
        "user_cost_exceeded": [("500", "warning")],
        "hourly_cost_exceeded": [("50000", "critical")],
    }
    assert [found[f"{name}_budget"].metric_name for name in ("daily", "monthly", "user_daily")] == [
        *("daily_cost", "monthly_cost", "user_daily_cost")
    ]


def test_nothing_that_is_shipped_refuses_a_call() -> None:
    assert {rule.budget.limit for rule in rules().values()} == {None}


def test_a_budget_may_refuse_from_a_share_on() -> None:
    found = budget('refuse_at = "0.95"\n')
    assert (found.refuse_at, found.limit, found.lowest) == (Decimal("0.95"), Decimal("0.95"), Decimal("0.8"))
    assert budget('refuse_at = "0.5"\n').lowest == Decimal("0.5")
    assert budget("").limit is None
    assert budget('refuse_at = "0.5"\n').spending == budget("").spending, "the same is summed up"


def test_a_month_of_dimensions_is_foreseen_and_nothing_else_unless_it_says_so() -> None:
    found = {name: rule.budget.forecast for name, rule in rules().items()}
    warned = {"monthly_budget", "sample_monthly_budget"}
    assert {name for name, level in found.items() if level is Level.WARNING} == warned
    assert {level for name, level in found.items() if name not in warned} == {None}
    month = '[[budget]]\nname = "b"\nperiod = "month"\namount = "1"\n'

    def forecast(text: str) -> Level | None:
        return rules(text)["b"].budget.forecast

    assert forecast(f'{month}scope = ["feature", "team"]\nonly = {{ model = ["m"] }}\n') is Level.WARNING
    assert forecast(f'{month}scope = ["user"]\n') is None
    assert forecast(f'{month}only = {{ session = ["s"] }}\n') is None
    assert forecast(f'{month}forecast = "critical"\n') is Level.CRITICAL
    assert forecast(f'{month}forecast = "off"\n') is None
    assert forecast(f'{month}scope = ["user"]\nforecast = "off"\n') is None
    assert forecast(f'{SMALLEST}forecast = "info"\n') is Level.INFO


@pytest.mark.parametrize(
    "text",
    [
        'period = "hour"',
        'period = "month"\nscope = ["user"]',
        'period = "day"\nonly = { session = ["s"] }',
        'period = "session"\nscope = ["session"]',
    ],
)
def test_what_cannot_be_foreseen_is_refused(text: str) -> None:
    with pytest.raises(RulesRefused, match="forecast: only a day or a month can be foreseen, and not that of users"):
        rules(f'[[budget]]\nname = "b"\namount = "1"\nforecast = "info"\n{text}\n')


MONTH = SMALLEST.replace("day", "month").replace('"1"', '"2000"')
BURN = 'burn = [{ within = "hour", share = "0.02" }, { within = "day", share = "0.1", level = "warning" }]\n'


def test_a_share_within_an_hour_or_a_day_is_a_limit_that_the_budget_brings_along() -> None:
    own = 'scope = ["user"]\nonly = { team = ["a"] }\nzone = "Asia/Seoul"\nmetric_name = "m"\nrefuse_at = "1"\n'
    found = {name: rule.budget for name, rule in rules(MONTH + own + BURN).items() if name.startswith("b")}
    month, hour, day = found.values()
    assert list(found) == ["b", "b_within_an_hour", "b_within_a_day"]
    assert [(one.kind, one.period, f"{one.amount.normalize():f}") for one in (hour, day)] == [
        ("limit", "hour", "40"),
        ("limit", "day", "200"),
    ]
    assert (steps(hour), steps(day)) == ([("40", "critical")], [("200", "warning")])
    assert [one.metric_name for one in (month, hour, day)] == ["m", "m_within_an_hour", "m_within_a_day"]
    for one in (hour, day):
        assert (one.scope, one.only, one.zone, one.currency) == (month.scope, month.only, month.zone, month.currency)
        assert (one.refuse_at, one.forecast) == (None, None)
        assert one.share_of == Whole("b", "month", Decimal(2000))
    assert (month.share_of, month.kind, month.refuse_at) == (None, "budget", 1)


def test_what_a_budget_brings_along_has_its_file_its_channels_and_is_off_with_it() -> None:
    own = MONTH + BURN + 'channels = []\nnote = "n"\n'
    found = [rule for name, rule in rules(own).items() if name.startswith("b")]
    assert [(rule.file, rule.channels, rule.note, rule.off) for rule in found] == [("file-1", (), "n", "")] * 3
    off = [rule.off for name, rule in rules(own + "on = false\n").items() if name.startswith("b")]
    assert off == ["on = false"] * 3
    unknown = rules(own + 'currency = "EUR"\n', rates=KRW)
    assert [rule.lacks_rate for name, rule in unknown.items() if name.startswith("b")] == [True] * 3


def test_a_later_rule_of_the_name_takes_away_what_the_earlier_one_brought_along() -> None:
    found = rules(MONTH + BURN, MONTH.replace("2000", "3000") + BURN.partition("}, {")[0] + "}]")
    assert [name for name in found if name.startswith("b")] == ["b", "b_within_an_hour"]
    assert found["b_within_an_hour"].budget.amount == 60
    own = '[[limit]]\nname = "b_within_an_hour"\nperiod = "hour"\namount = "7"\n'
    assert rules(MONTH + BURN, own)["b_within_an_hour"].budget.amount == 7


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (MONTH + 'burn = [{ within = "month", share = "1" }]', "burn.0.within: it must be 'hour' or 'day'"),
        (MONTH + 'burn = [{ within = "hour" }]', "burn.0.share: it is required"),
        (MONTH + 'burn = [{ within = "hour", share = "0" }]', "burn.0.share: it must be above 0"),
        (MONTH + BURN.replace("day", "hour"), "burn: an hour and a day have one share each"),
        (SMALLEST + BURN, "burn: within day: that is no part of its period, which is day"),
        (SMALLEST.replace("day", "hour") + BURN, "burn: within hour: that is no part of its period, which is hour"),
        (
            SMALLEST.replace("day", "session") + 'scope = ["session"]\n' + BURN,
            "burn: within hour: that is no part of its period, which is session",
        ),
        (MONTH.replace('"b"', f'"{"b" * 50}"') + BURN, f"burn: {'b' * 50}_within_an_hour is its rule, a name of more"),
        (MONTH + BURN + SMALLEST.replace('"b"', '"b_within_a_day"'), "b_within_a_day: a name stands for one rule"),
    ],
)
def test_a_share_that_no_part_of_the_period_has_is_refused(text: str, fault: str) -> None:
    with pytest.raises(RulesRefused) as refused:
        read(text, file="f")
    (told,) = refused.value.faults
    assert fault in told


def test_the_longest_name_of_a_budget_that_brings_limits_along_is_read() -> None:
    longest = f"{'b' * 49}_within_an_hour"
    assert longest in rules(MONTH.replace('"b"', f'"{"b" * 49}"') + BURN)


def test_what_a_budget_that_refuses_counts_fits_into_its_messages() -> None:
    def text(count: int, more: str) -> str:
        values = ", ".join(f'"v-{number}"' for number in range(count))
        return f"only = {{ team = [{values}], user = [{values}] }}\n{more}"

    assert budget(text(50, 'refuse_at = "1"\n')).limit == 1
    assert budget(text(51, "")).limit is None
    with pytest.raises(RulesRefused, match="only: 102 values; a budget with refuse_at has 100 at most"):
        budget(text(51, 'refuse_at = "1"\n'))


def test_rules_in_a_currency_without_a_rate_are_off_and_say_why() -> None:
    off = {name: rule.off for name, rule in rules(rates=DayRates(())).items() if rule.off}
    assert set(off) == {"sample_monthly_budget", "monthly_cost_exceeded", "user_cost_exceeded", "hourly_cost_exceeded"}
    assert set(off.values()) == {"no exchange rate of KRW is known"}
    assert not any(rule.off for rule in rules().values())


def test_a_rule_of_the_same_name_takes_the_place_of_an_earlier_one() -> None:
    own = '[[limit]]\nname = "daily_budget"\nperiod = "day"\namount = "7"\n'
    off = '[[budget]]\nname = "monthly_budget"\nperiod = "month"\namount = "1"\non = false\n'
    found = rules(own, off)
    assert (found["daily_budget"].budget.kind, found["daily_budget"].file) == ("limit", "file-1")
    assert found["monthly_budget"].off == "on = false"
    assert found["user_daily_budget"].file == "shipped"
    assert [rule.name for rule in load({"f": off}, zone="UTC", rates=DayRates(())).budgets] == [
        *("daily_budget", "user_daily_budget")
    ]


def test_the_smallest_budget_has_the_ladder_and_is_of_everything_by_the_usual_zone() -> None:
    found = budget("", zone="Asia/Seoul")
    assert steps(found) == [("0.8", "warning"), ("0.9", "warning"), ("0.95", "critical"), ("1", "emergency")]
    assert (found.scope, dict(found.only), found.zone, found.currency, found.metric_name) == (
        (),
        {},
        "Asia/Seoul",
        "USD",
        "b",
    )
    assert budget('zone = "Asia/Kolkata"').zone == "Asia/Kolkata"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('level_at_full = "off"', [("0.8", "warning"), ("0.9", "warning"), ("0.95", "critical")]),
        ("thresholds = []", [("1", "emergency")]),
        ('thresholds = []\nlevel_at_full = "info"', [("1", "info")]),
        ('thresholds = [{ at = "1", level = "critical" }]', [("1", "critical")]),
        ('thresholds = [{ at = "0.5", level = "info" }, { at = "1.5", level = "critical" }]', [
            *(("0.5", "info"), ("1", "emergency"), ("1.5", "critical"))
        ]),
    ],
)  # fmt: skip
def test_the_whole_of_a_budget_is_told_unless_that_is_switched_off(text: str, expected: list[tuple[str, str]]) -> None:
    assert steps(budget(text)) == expected


def test_a_rule_of_its_own_subjects() -> None:
    found = budget('scope = ["team", "user"]\nonly = { team = ["search", ""], feature = ["chat"] }')
    assert (found.scope, found.only) == (("team", "user"), {"team": ("search", ""), "feature": ("chat",)})


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('amount = "0"\nname = "b"', "no TOML"),
        ('scope = ["usr"]', "scope: 'usr' is nothing that a call has: one of user, session, provider"),
        ('scope = ["user", "user"]', "scope: a word stands in it twice"),
        ('scope = "user"', "scope: it must be a list"),
        ('only = { user_id = ["a"] }', "'user_id' is nothing that a call has"),
        ("only = { user = [] }", "only.user: it must not be empty"),
        ("only = 1", "only: it must be a table"),
        ('currency = "krw"', "currency: 'krw' is no currency"),
        ('zone = "Seoul"', "zone: 'Seoul' is no time zone such as Asia/Seoul"),
        ('zone = "Asia"', "zone: 'Asia' is no time zone"),
        ('zone = "../UTC"', "zone: '../UTC' is no time zone"),
        ('on = "yes"', "on: it must be true or false"),
        ('budget = "1"', "budget: there is no such field"),
        ('level = "critical"', "level: there is no such field"),
        ('thresholds = [{ at = "0", level = "info" }]', "thresholds.0.at: it must be above 0"),
        ('thresholds = [{ at = 0.8, level = "info" }]', "thresholds.0.at: 0.8 is not decimal text such as \"0.15\""),
        ('thresholds = [{ at = "80%", level = "info" }]', "thresholds.0.at: '80%' is not decimal text"),
        ('thresholds = [{ at = "0.8", level = "loud" }]', "'loud' is no level: one of info, warning, critical"),
        ('thresholds = [{ at = "0.8" }]', "thresholds.0.level: it is required"),
        ('thresholds = [{ at = "0.80001", level = "info" }]', "thresholds.0.at: 0.80001 has more than 4 digits after"),
        ('thresholds = [{ at = "100.1", level = "info" }]', "thresholds.0.at: 100.1 is above 100: 1 is the whole"),
        (
            'thresholds = [{ at = "0.9", level = "info" }, { at = "0.8", level = "info" }]',
            "thresholds: they must stand in the order of `at`, each once",
        ),
        (
            'thresholds = [{ at = "0.9", level = "info" }, { at = "0.90", level = "warning" }]',
            "thresholds: they must stand in the order of `at`, each once",
        ),
        ('thresholds = []\nlevel_at_full = "off"', "nothing would ever be told"),
        ('level_at_full = "none"', "level_at_full: 'none' is no level"),
    ],
)  # fmt: skip
def test_a_fault_is_told_with_its_file_its_rule_and_its_field(text: str, fault: str) -> None:
    with pytest.raises(RulesRefused) as refused:
        rules(SMALLEST + text)
    (told,) = refused.value.faults
    assert fault in told
    assert told.startswith("file-1: no TOML" if "no TOML" in fault else "file-1: budget 1 (b): ")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "f: there is nothing in it"),
        ("[[budgets]]", "f: budgets: there is no such field"),
        ("budget = 1", "f: budget: it must be a list"),
        ("[[limit]]", "f: limit 1 (?): name: it is required"),
        ("budget = [1]", "f: budget 1: it must be a table"),
        (f'{SMALLEST}period = "week"', "f: no TOML"),
        ('[[limit]]\nperiod = "week"', "period: it must be 'hour', 'day', 'month' or 'session'"),
        (SMALLEST.replace("day", "session"), 'a session is the period of a scope with "session" in it'),
        ('[[limit]]\nname = "Daily Budget"\nperiod = "day"\namount = "1"', "name: 'Daily Budget' is no name"),
        ('[[limit]]\nname = "l"\nperiod = "day"\namount = "-1"', "amount: '-1' is not decimal text"),
        (f"{SMALLEST}{SMALLEST}", "f: b: a name stands for one rule, and here for two"),
        (SMALLEST.replace('"1"', '"0.123456789"'), "f: budget 1 (b): amount: 0.123456789 has more than 8 digits after"),
        (SMALLEST.replace('"b"', '"hourly_spike"'), "f: hourly_spike: that is the name of a rule of its own"),
        (SMALLEST + SMALLEST.replace("budget", "limit"), "f: b: a name stands for one rule, and here for two"),
    ],
)  # fmt: skip
def test_a_fault_of_the_file(text: str, fault: str) -> None:
    with pytest.raises(RulesRefused) as refused:
        read(text, file="f")
    assert any(fault in told for told in refused.value.faults)


def test_a_file_may_be_called_as_what_is_shipped_is_told() -> None:
    book = load({"shipped": SMALLEST}, zone="UTC", rates=KRW)
    assert [rule.budget.name for rule in book.rules][-1] == "b"
    assert {one.name for one in book.singles} == {"hourly_spike", "hourly_anomaly", "unknown_price"}


def test_the_finest_amount_and_share_make_a_step_that_an_alert_can_tell() -> None:
    found = rules(
        '[[budget]]\nname = "b"\nperiod = "day"\namount = "999999999999.99999999"\n'
        'thresholds = [{ at = "99.9999", level = "info" }]'
    )["b"].budget
    assert [f"{step.amount}" for step in found.steps] == ["999999999999.99999999", "99999899999999.999999000001"]


def test_every_fault_of_every_file_is_told_at_once() -> None:
    with pytest.raises(RulesRefused) as refused:
        rules(SMALLEST + 'zone = "x"\ncurrency = "y"', "nonsense", SMALLEST, SMALLEST + 'on = 1\nscope = ["z"]')
    assert [fault.split(":")[0] for fault in refused.value.faults] == ["file-1", "file-1", "file-2", "file-4", "file-4"]


def test_the_published_schema_takes_what_is_read_and_refuses_what_is_not() -> None:
    SCHEMA.validate(tomllib.loads(shipped_text()))
    every_field = (
        'scope = ["user"]\nonly = { team = ["a"] }\ncurrency = "EUR"\nzone = "UTC"\nmetric_name = "m"\n'
        'on = true\nnote = ""\nthresholds = [{ at = "0.5", level = "info" }]\nlevel_at_full = "off"'
    )
    read(SMALLEST + every_field, file="f")
    SCHEMA.validate(tomllib.loads(SMALLEST + every_field))
    for wrong in (
        'scope = ["usr"]',
        "thresholds = [{ at = 0.8 }]",
        'level_at_full = "none"',
        "budget = 1",
        'currency = "e"',
    ):
        assert not SCHEMA.is_valid(tomllib.loads(SMALLEST + wrong)), wrong


def test_a_level_is_a_level() -> None:
    assert {level for rule in rules().values() for step in rule.budget.steps for level in [step.level]} <= set(Level)


# --- rules of which there is one -------------------------------------------------------------------------------------


def single(*texts: str) -> dict[str, tuple[str, dict[str, Any]]]:
    files = {f"file-{number}": text for number, text in enumerate(texts, start=1)}
    book = load(files, zone="UTC", rates=KRW)
    return {one.name: (one.file, one.entry.model_dump(mode="json")) for one in book.singles}


def test_what_is_shipped_of_them_is_what_the_entries_say_by_themselves() -> None:
    spike = {
        "on": True,
        "threshold": "3.0",
        "clear": "2.0",
        "history_hours_max": 168,
        "history_hours_min": 24,
        "channels": None,
        "note": "",
    }
    anomaly = {
        "on": True,
        "by": ["feature", "team"],
        "score": "3.0",
        "score_clear": "2.0",
        "cost_usd_min": "1",
        "channels": None,
        "note": "",
    }
    assert single() == {
        "hourly_spike": ("shipped", spike),
        "hourly_anomaly": ("shipped", anomaly),
        "unknown_price": ("shipped", {"on": True, "channels": None, "note": ""}),
    }
    assert single("[hourly_spike]\n[hourly_anomaly]\n[unknown_price]") == {
        "hourly_spike": ("file-1", spike),
        "hourly_anomaly": ("file-1", anomaly),
        "unknown_price": ("file-1", {"on": True, "channels": None, "note": ""}),
    }


def test_a_table_of_one_takes_the_place_of_an_earlier_one_as_a_whole() -> None:
    found = single('[hourly_spike]\nthreshold = "5"\nclear = "4"', '[hourly_spike]\nthreshold = "6"', SMALLEST)
    assert found["hourly_spike"][0] == "file-2"
    assert (found["hourly_spike"][1]["threshold"], found["hourly_spike"][1]["clear"]) == ("6", "2.0")
    assert found["unknown_price"][0] == "shipped"


def thresholds(text: str) -> Thresholds:
    book = load({"f": text}, zone="UTC", rates=KRW)
    return Thresholds.of(book.of(HourlySpike), book.of(HourlyAnomaly))


def test_the_watch_goes_by_them() -> None:
    assert thresholds(SMALLEST) == Thresholds()
    assert thresholds(
        '[hourly_spike]\non = false\nthreshold = "9"\nclear = "8"\nhistory_hours_max = 30\nhistory_hours_min = 25\n'
        '[hourly_anomaly]\non = false\nby = ["model"]\nscore = "7"\nscore_clear = "6"\ncost_usd_min = "5"'
    ) == Thresholds(
        spike_enabled=False,
        spike_threshold=Decimal(9),
        spike_clear=Decimal(8),
        history_hours_max=30,
        history_hours_min=25,
        anomaly_enabled=False,
        anomaly_by=("model",),
        anomaly_score=Decimal(7),
        anomaly_score_clear=Decimal(6),
        cost_usd_min=Decimal(5),
    )


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('[hourly_spike]\nthreshold = "1"\nclear = "1"', "f: hourly_spike: threshold: it must be above 1"),
        ('[hourly_spike]\nclear = "3.1"', "f: hourly_spike: clear: it must not be above threshold"),
        ('[hourly_spike]\nclear = "0"', "f: hourly_spike.clear: it must be above 0"),
        ("[hourly_spike]\nhistory_hours_max = 23", "f: hourly_spike.history_hours_max: it must be at least 24"),
        ("[hourly_spike]\nhistory_hours_max = 8737", "f: hourly_spike.history_hours_max: it must be at most 8736"),
        ("[hourly_spike]\nhistory_hours_min = 0", "f: hourly_spike.history_hours_min: it must be at least 1"),
        ("[hourly_spike]\nhistory_hours_min = 169", "f: hourly_spike: history_hours_min: it must not be above"),
        ('[hourly_anomaly]\nscore_clear = "3.1"', "f: hourly_anomaly: score_clear: it must not be above score"),
        ("[hourly_anomaly]\nscore = 3", "f: hourly_anomaly.score: 3 is not decimal text"),
        (
            '[hourly_anomaly]\nby = ["team", "user"]',
            "f: hourly_anomaly.by: 'user' is nothing whose hours are kept: one of",
        ),
        ('[hourly_anomaly]\nby = ["team", "team"]', "f: hourly_anomaly.by: a word stands in it twice"),
        ("[hourly_anomaly]\nby = []", "f: hourly_anomaly.by: it must"),
        ('[hourly_anomaly]\nby = "team"', "f: hourly_anomaly.by: it must be"),
        ('[unknown_price]\nlevel = "info"', "f: unknown_price.level: there is no such field"),
        ("unknown_price = 1", "f: unknown_price: it must be a table"),
    ],
)
def test_a_fault_of_one_of_them_is_told_with_its_table(text: str, fault: str) -> None:
    with pytest.raises(RulesRefused) as refused:
        read(text, file="f")
    (told,) = refused.value.faults
    assert told.startswith(fault)


@pytest.mark.parametrize(
    "text",
    [
        '[hourly_spike]\nthreshold = "3.0"\nclear = "3.0"\nhistory_hours_max = 24\nhistory_hours_min = 24',
        '[hourly_anomaly]\nscore_clear = "3.0"\ncost_usd_min = "0"\nby = ["provider"]',
        "[hourly_spike]\nhistory_hours_max = 8736\nhistory_hours_min = 1",
        '[hourly_spike]\nthreshold = "1.000000000001"\nclear = "1"',
        f'{SMALLEST}thresholds = [{{ at = "0.0001", level = "info" }}, {{ at = "100", level = "info" }}]',
        SMALLEST.replace('"1"', '"0.00000001"'),
        SMALLEST.replace('"b"', f'"{"b" * 64}"'),
        f'{SMALLEST}only = {{ user = ["{"u" * 128}"] }}',
    ],
)
def test_what_is_just_allowed_is_read(text: str) -> None:
    read(text, file="f")
