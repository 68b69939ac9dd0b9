"""Channels in files of rules: what is taken, every fault, and which channels a rule is told on."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from costream.alerts import Level
from costream.pricing.money import DayRates
from stream.notify.receivers import Receivers, receivers_of
from stream.notify.secrets import Secrets
from stream.rulebook.entries import RulesRefused
from stream.rulebook.rulebook import Rulebook, load
from tests.support.told import alert

MAIL = '[[channel.email]]\nsmtp_server = "mail.example.com"\nrecipients = ["a@example.com"]\n'
SMS = '[[channel.sms]]\nphone_numbers = ["+821012345678", "+821012345679"]\n'
PUSH = '[[channel.mobile_push]]\nendpoints = ["https://push.example.com/1"]\n'
HOOK = '[[channel.webhook]]\nurl = "https://hooks.example.com/x"\n'
ALL = f"[[channel.slack]]\n{MAIL}{SMS}{PUSH}{HOOK}"


def rules(*texts: str) -> Rulebook:
    return load({f"f{number}": text for number, text in enumerate(texts, 1)}, zone="UTC", rates=DayRates(()))


def faults(text: str) -> tuple[str, ...]:
    with pytest.raises(RulesRefused) as refused:
        rules(text)
    return refused.value.faults


def told(text: str, **about: Any) -> set[str]:
    """The kinds that are told of an alert."""
    receivers = Receivers.of(rules(text))
    return {one.entry.kind for one in receivers.all if one.is_told(alert("a", **about), receivers.routes)}


def test_each_kind_needs_what_only_the_team_knows_and_nothing_else() -> None:
    entries = {one.entry.kind: one.entry for one in rules(ALL).channels}
    assert set(entries) == {"slack", "email", "sms", "mobile_push", "webhook"}
    slack, mail = entries["slack"].model_dump(), entries["email"].model_dump()
    assert (slack["channel"], slack["username"]) == ("#cost-alerts", "Cost Alert Bot")
    assert (slack["icon_emoji"], slack["webhook_secret"]) == (":money_with_wings:", "slack_webhook")
    assert (mail["smtp_port"], mail["security"]) == (587, "starttls")
    assert all(entry.name == kind for kind, entry in entries.items())


@pytest.mark.parametrize("level", ["info", "warning", "critical", "emergency"])
def test_by_default_a_text_message_is_for_critical_and_above_and_the_others_for_all(level: str) -> None:
    usual = {"slack", "email", "mobile_push", "webhook"}
    assert told(ALL, level=level) == (usual if level in {"info", "warning"} else usual | {"sms"})


@pytest.mark.parametrize(
    ("rule", "kinds"),
    [
        ("monthly_cost_exceeded", {"slack", "email"}),
        ("user_cost_exceeded", {"slack"}),
        ("hourly_cost_exceeded", {"slack", "email"}),
        ("daily_budget", {"slack", "email", "mobile_push", "webhook", "sms"}),
    ],
)
def test_what_is_shipped_is_told_where_the_documents_say(rule: str, kinds: set[str]) -> None:
    about = {"rule": "budget", "metadata": {"budget": rule, "first_window": ""}, "level": "critical"}
    assert told(ALL, **about) == kinds


def test_a_channel_that_is_off_or_below_its_level_is_not_told_even_by_a_rule_that_names_it() -> None:
    named = '[hourly_spike]\nchannels = ["slack", "sms"]\n'
    assert told(f"{ALL}{named}", level="warning") == {"slack"}
    assert told(f"{ALL.replace('[[channel.slack]]', '[[channel.slack]]' + chr(10) + 'on = false')}{named}") == set()


def test_a_channel_of_one_team_gets_only_what_its_rules_tell() -> None:
    text = (
        '[[channel.slack]]\n[[channel.slack]]\nname = "search_slack"\nby_default = false\nchannel = "#search"\n'
        '[[budget]]\nname = "search"\nperiod = "day"\namount = "5"\nchannels = ["search_slack"]\n'
    )
    receivers = Receivers.of(rules(text))

    def names(**about: Any) -> set[str]:
        return {one.name for one in receivers.all if one.is_told(alert("a", **about), receivers.routes)}

    assert names() == {"slack"}
    assert names(rule="budget", metadata={"budget": "search"}) == {"search_slack"}


def test_alerts_about_the_pipeline_have_channels_of_their_own() -> None:
    named = '[pipeline]\nchannels = ["slack"]\n'
    stall = {"rule": "stall", "scope": "pipeline", "level": "critical"}
    assert told(ALL, **stall) == {"slack", "email", "mobile_push", "webhook", "sms"}
    assert told(ALL + named, **stall) == {"slack"}
    assert told(f"{ALL}[pipeline]\nchannels = []\n", **stall) == set()
    assert told(ALL + named, level="critical") == {"slack", "email", "mobile_push", "webhook", "sms"}
    assert faults('[pipeline]\nchannels = ["pager"]\n')[0].startswith(
        "rule pipeline: channels: there is no channel 'pager'"
    )
    assert "on: there is no such field" in faults("[pipeline]\non = false\n")[0]


def test_each_number_and_endpoint_is_told_by_itself_and_the_ledger_names_none_of_them() -> None:
    (sms,) = (one.entry for one in rules(SMS).channels)
    names = [one.name for one in receivers_of(sms)]
    assert len(set(names)) == 2
    assert all(name.startswith("sms/") and "8210" not in name for name in names)


def test_a_channel_takes_the_place_of_one_with_its_name_in_a_file_before() -> None:
    found = rules(MAIL, MAIL.replace("a@", "b@")).channels
    assert [(one.file, one.entry.model_dump()["recipients"]) for one in found] == [("f2", ("b@example.com",))]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[[channel.slak]]", "f1: channel.slak: there is no such field"),
        ("[channel.slack]", "f1: channel.slack: it must be a list"),
        ("[[channel.email]]", "f1: channel.email 1: recipients: it is required"),
        (f'{MAIL}username = "u"\nsecurity = "none"', "would travel in the open"),
        (f"{MAIL}smtp_port = 0", "f1: channel.email 1: smtp_port: it must be at least 1"),
        (f'{MAIL}subject_prefix = "a\\nBcc: x"', "subject_prefix: 'a\\nBcc: x' is not one line of text"),
        (f'{MAIL}sender = "a@b\\r\\nBcc: x"', "is no address such as finance@example.com"),
        (f'{MAIL}password = "secret"', "f1: channel.email 1: password: there is no such field"),
        ('[[channel.slack]]\nwebhook_secret = "https://hooks"', "'https://hooks' is no name"),
        ("[[channel.slack]]\n[[channel.slack]]", "slack: a name stands for one channel, and here for two"),
        ('[[channel.slack]]\nname = "email"', "email: that names all channels of another kind, and no slack"),
        ('[[channel.slack]]\ntitle = "{% for %}"', "title: no Jinja template: line 1: "),
        ("[[channel.slack]]\nremind_hours = -1", "remind_hours: it must be at least 0"),
        ('[[channel.slack]]\nquiet = { start = "22", end = "07:00", zone = "UTC" }', "'22' is no time of day such as"),
        ('[[channel.slack]]\nquiet = { start = "22:00", end = "07:00", zone = "Seoul" }', "quiet.zone: "),
        ('[[channel.slack]]\nquiet = { start = "22:00", end = "07:00" }', "quiet.zone: it is required"),
        ("[[channel.slack]]\nhourly_max = 0", "hourly_max: it must be at least 1"),
        ('[[channel.slack]]\nfrom_level = "loud"', "from_level: 'loud' is no level: one of info, warning"),
        ('[[channel.sms]]\nphone_numbers = ["12; drop"]', "'12; drop' is no phone number such as +821012345678"),
        ('[[channel.mobile_push]]\nendpoints = ["ftp://x"]', "'ftp://x' is no address such as https://"),
        ('[[channel.webhook]]\nurl = "https://u:p@example.com"', "with a user or a password in it is a secret"),
        (
            "[[channel.webhook]]",
            "url: give the address, or the name of the secret that it is (url_secret), and",
        ),
        (f'{HOOK}url_secret = "x"', "and not both"),
        ("[[channel.service]]", "f1: channel.service 1: url_secret: it is required"),
        ('[hourly_spike]\nchannels = ["nobody"]', "rule hourly_spike: channels: there is no channel 'nobody': one of"),
    ],
)
def test_every_fault_is_told_with_its_place(text: str, fault: str) -> None:
    assert any(fault in line for line in faults(text)), faults(text)


def test_quiet_hours_reach_the_lane() -> None:
    text = '[[channel.slack]]\nquiet = { start = "22:00", end = "07:00", zone = "Asia/Seoul", below = "emergency" }'
    (receiver,) = Receivers.of(rules(text)).all
    quiet = receiver.limits(datetime.now(UTC)).quiet
    assert quiet is not None
    assert quiet.holds_back(Level.CRITICAL, datetime(2026, 3, 2, 13, tzinfo=UTC))
    assert not quiet.holds_back(Level.CRITICAL, datetime(2026, 3, 2, 12, 59, tzinfo=UTC))


def test_no_fault_shows_what_was_meant_to_be_secret() -> None:
    assert "p4ss" not in json.dumps(faults('[[channel.webhook]]\nurl = "https://u:p4ss@example.com"'))


def test_a_secret_is_looked_for_in_the_environment_and_then_in_its_file(tmp_path: Any) -> None:
    (tmp_path / "slack_webhook").write_text(" https://of-file\n")
    assert Secrets({}, tmp_path).get("slack_webhook") == "https://of-file"
    assert Secrets({"COSTREAM_SECRET_SLACK_WEBHOOK": "https://of-environment"}, tmp_path).get("slack_webhook") == (
        "https://of-environment"
    )
    assert not Secrets({}, tmp_path).has("smtp_password")
    (tmp_path / "smtp_password").write_bytes(b"\xff\n")
    assert not Secrets({}, tmp_path).has("smtp_password")
