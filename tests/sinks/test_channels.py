"""Each channel against a receiver on loopback: the exact form, how it fails, and that no secret gets out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from costream.alerts import Alert
from sinks.channels import http
from sinks.channels.email import Email
from sinks.channels.http import Slack, Webhook
from sinks.channels.notice import NotDelivered, NotDeliveredToAll, Notice
from sinks.channels.services import Service, Sms, without_secrets
from tests.support.receivers import PASSWORD, USER, HttpReceiver, MailServer, mail_server
from tests.support.told import alert

WHEN = datetime(2026, 3, 2, 10, 0, 5, tzinfo=UTC)
SECRET = "T0SECRET/B0SECRET"


@pytest.fixture
def receiver() -> Iterator[HttpReceiver]:
    with HttpReceiver() as receiver:
        yield receiver


@pytest.fixture
def mail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MailServer]:
    with mail_server(tmp_path) as server:
        monkeypatch.setenv("SSL_CERT_FILE", server.ca_file)
        yield server


def notice(**changes: Any) -> Notice:
    about: Alert = alert("5e1f", timestamp=WHEN, **changes)
    return Notice("5e1f-1-0", about, f"[{about.level.value.upper()}] {about.title}", f"{about.message}\n")


def email_to(server: MailServer, *recipients: str, **changes: Any) -> Email:
    given: dict[str, Any] = {"security": "starttls", "username": USER, "password": PASSWORD} | changes
    return Email("127.0.0.1", server.port, sender="costream@example.com", recipients=recipients, **given)


# --- mail ---


def test_one_mail_goes_to_all_recipients_encrypted_and_logged_in(mail: MailServer) -> None:
    email_to(mail, "a@example.com", "b@example.com", subject_prefix="[product] AI Cost Alert").send(
        notice(level="critical")
    )
    (got,) = mail.got
    assert (got.sender, got.recipients) == ("costream@example.com", ["a@example.com", "b@example.com"])
    assert got.message["Subject"] == "[product] AI Cost Alert [CRITICAL] Hourly cost is 4.2x the usual"
    assert got.message["To"] == "a@example.com, b@example.com"
    assert got.message["Date"].datetime == WHEN
    assert got.message["Message-ID"] == "<5e1f-1-0@costream>"
    assert got.message["References"] == "<5e1f@costream>"
    assert got.message["Auto-Submitted"] == "auto-generated"
    assert got.message.get_content().strip() == "The 60 minutes 09:00-10:00 UTC cost 4.20 USD."


def test_a_subject_of_many_languages_arrives_as_it_is(mail: MailServer) -> None:
    email_to(mail, "a@example.com").send(notice(title="비용이 예산을 넘었습니다 — 523,450 ₩", message="사용자 김"))
    (got,) = mail.got
    assert got.message["Subject"] == "[WARNING] 비용이 예산을 넘었습니다 — 523,450 ₩"
    assert got.message.get_content().strip() == "사용자 김"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"password": "wrong-word"}, "did not let user alerts in (535)"),
        ({"security": "none", "username": None}, "answered 530"),
        ({"security": "tls"}, "did not take the mail: "),
    ],
)
def test_without_the_right_login_or_encryption_nothing_is_sent(
    mail: MailServer, changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(NotDelivered) as told:
        email_to(mail, "a@example.com", **changes).send(notice())
    assert f"the mail server 127.0.0.1:{mail.port} {reason}" in str(told.value)
    assert "wrong-word" not in str(told.value)
    assert not mail.got


def test_a_certificate_of_nobody_we_trust_is_refused_before_the_password_is_sent(
    mail: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(NotDelivered, match="certificate"):
        email_to(mail, "a@example.com").send(notice())
    assert not mail.got


def test_some_recipients_that_are_refused_do_not_send_it_to_the_others_twice(mail: MailServer) -> None:
    mail.refuses = {"gone@example.com"}
    with pytest.raises(NotDeliveredToAll, match=r"gone@example\.com: 550 no such mailbox"):
        email_to(mail, "a@example.com", "gone@example.com").send(notice())
    assert [got.recipients for got in mail.got] == [["a@example.com"]]


def test_recipients_that_are_all_refused_have_nothing(mail: MailServer) -> None:
    mail.refuses = {"gone@example.com"}
    with pytest.raises(NotDelivered, match=r"refused every recipient: gone@example\.com: 550") as told:
        email_to(mail, "gone@example.com").send(notice())
    assert not isinstance(told.value, NotDeliveredToAll)


def test_a_mail_server_that_refuses_the_mail_or_is_away_is_said(mail: MailServer) -> None:
    mail.answer = "451 try later"
    with pytest.raises(NotDelivered, match="answered 451 try later"):
        email_to(mail, "a@example.com").send(notice())
    with pytest.raises(NotDelivered, match="did not take the mail"):
        Email("127.0.0.1", 9, "starttls", "a@b.c", ["a@b.c"]).send(notice())


def test_a_server_of_ones_own_without_encryption_takes_mail_too(tmp_path: Path) -> None:
    with mail_server(tmp_path, encrypted=False) as server:
        email_to(server, "a@example.com", security="none", username=None).send(notice())
        assert len(server.got) == 1


@pytest.mark.parametrize("line", ["x\r\nBcc: victim@example.com", "x\nSubject: forged", "x\r\n\r\nforged body"])
def test_no_title_can_forge_a_header(mail: MailServer, line: str) -> None:
    about = notice(title=line)
    with pytest.raises(ValueError, match=r"linefeed|carriage return|newline"):
        email_to(mail, "a@example.com").send(about)
    assert not mail.got


# --- Slack ---


@pytest.mark.parametrize(
    ("level", "colour"), [("info", "good"), ("warning", "warning"), ("critical", "danger"), ("emergency", "#ff0000")]
)
def test_the_message_to_slack(receiver: HttpReceiver, level: str, colour: str) -> None:
    slack = Slack(f"{receiver.url}/services/{SECRET}", "#cost-alerts", "Cost Alert Bot", ":money_with_wings:")
    slack.send(notice(level=level))
    (got,) = receiver.got
    assert got.path == f"/services/{SECRET}"
    assert got.headers["Content-Type"] == "application/json"
    assert got.json == {
        "channel": "#cost-alerts",
        "username": "Cost Alert Bot",
        "icon_emoji": ":money_with_wings:",
        "attachments": [
            {
                "color": colour,
                "title": f"[{level.upper()}] Hourly cost is 4.2x the usual",
                "text": "The 60 minutes 09:00-10:00 UTC cost 4.20 USD.\n",
                "ts": 1772445605,
                "mrkdwn_in": [],
            }
        ],
    }


# --- webhooks ---


def test_a_webhook_gets_the_bytes_of_the_topic_with_a_key_and_a_token(receiver: HttpReceiver) -> None:
    about = notice()
    Webhook(f"{receiver.url}/alerts?team=a", "t0ken").send(about)
    (got,) = receiver.got
    assert got.body == about.alert.to_json()
    assert json.loads(got.body)["alert_id"] == "5e1f"
    assert (got.path, got.headers["Idempotency-Key"]) == ("/alerts?team=a", "5e1f-1-0")
    assert got.headers["Authorization"] == "Bearer t0ken"


def test_without_a_token_none_is_sent(receiver: HttpReceiver) -> None:
    Webhook(receiver.url).send(notice())
    assert "Authorization" not in receiver.got[0].headers


@pytest.mark.parametrize("status", [500, 503, 429, 404, 400, 301, 302, 307])
def test_what_is_no_success_is_said_with_the_answer_and_no_address(receiver: HttpReceiver, status: int) -> None:
    receiver.does, receiver.says = status, b"no_service"
    with pytest.raises(NotDelivered) as told:
        Slack(f"{receiver.url}/services/{SECRET}", "#c", "u", ":e:").send(notice())
    assert str(told.value) == f"Slack answered {status} no_service"
    assert receiver.asked == 1, "no redirect is followed, and nothing is repeated"


@pytest.mark.parametrize(("does", "reason"), [("hang", "did not answer in time"), ("cut", "the connection broke")])
def test_a_receiver_that_hangs_or_cuts_the_connection_is_said(
    receiver: HttpReceiver, does: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "TIMEOUT", 0.3)
    receiver.does = does
    with pytest.raises(NotDelivered) as told:
        Webhook(f"{receiver.url}/{SECRET}", "t0ken-secret").send(notice())
    assert reason in str(told.value)
    assert not {"SECRET", "t0ken", "127.0.0.1"} & set(str(told.value).replace("/", " ").split())


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:9/T0SECRET", "https://127.0.0.1:9/T0SECRET", "nonsense T0SECRET", ""]
)
def test_an_address_where_nobody_is_or_that_is_none_is_said_without_it(address: str) -> None:
    with pytest.raises(NotDelivered) as told:
        Slack(address, "#c", "u", ":e:").send(notice())
    assert "T0SECRET" not in str(told.value)


# --- by Apprise ---


def test_a_text_message_goes_to_the_number_by_the_gateway(receiver: HttpReceiver) -> None:
    receiver.says = b'{"result": {"status": "ok", "message_id": "1"}}'
    gateway = receiver.url.replace("http://", "smseagle://t0ken-secret@")
    Sms(gateway, "+821012345678").send(notice(level="critical"))
    (got,) = receiver.got
    assert got.json["params"]["to"] == "+821012345678"
    assert "The 60 minutes" in got.json["params"]["message"]


def test_any_service_that_apprise_knows_gets_title_and_text(receiver: HttpReceiver) -> None:
    Service(receiver.url.replace("http://", "json://")).send(notice())
    (got,) = receiver.got
    assert got.json["title"] == "[WARNING] Hourly cost is 4.2x the usual"
    assert got.json["message"].strip() == "The 60 minutes 09:00-10:00 UTC cost 4.20 USD."
    assert got.json["type"] == "warning"


def test_a_service_that_fails_is_said_without_the_secret(receiver: HttpReceiver) -> None:
    receiver.does = 500
    with pytest.raises(NotDelivered) as told:
        Service(receiver.url.replace("http://", "json://user:pass-word-secret@") + "/T0SECRET").send(notice())
    assert "500" in str(told.value)
    assert not {"pass-word-secret", "T0SECRET"} & set(str(told.value).replace("/", " ").split())
    for url in ("nonsense", "", "twilio://", "json://127.0.0.1:9/T0SECRET"):
        with pytest.raises(NotDelivered) as told:
            Service(url).send(notice())
        assert "T0SECRET" not in str(told.value)


def test_what_a_service_says_of_its_secret_is_hidden() -> None:
    said = "token T0SECRET of me@example.com is no token: T0SECRET"
    assert without_secrets(said, "x://T0SECRET:pass@example.com/me") == "token … of me@… is no token: …"


# --- secrets ---


def test_no_channel_shows_its_secret() -> None:
    channels = [
        Slack("https://hooks.test/T0SECRET", "#c", "u", ":e:"),
        Webhook("https://hooks.test/T0SECRET", "T0SECRET"),
        Sms("twilio://T0SECRET", "+1234"),
        Service("json://T0SECRET"),
        Email("mail", 587, "starttls", "a@b.c", ["a@b.c"], "user", "T0SECRET"),
    ]
    assert "T0SECRET" not in repr(channels)
