"""A worker tells people: by mail over TLS and on Slack, each once, whoever is killed and whichever channel is away."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from sinks.clickhouse.reader import Reader
from sinks.clickhouse.writer import Writer
from stream.up.broker import EmbeddedBroker
from tests.support.ingest import Warehouse
from tests.support.receivers import PASSWORD, USER, HttpReceiver, mail_server
from tests.support.rules import publish_rules
from tests.support.warehouse import Server
from tests.support.worker import TOPICS, WorkerProcess, send_calls

pytestmark = pytest.mark.slow

CHANNELS = """
[[channel.slack]]
[[channel.email]]
smtp_server = "127.0.0.1"
smtp_port = {port}
sender = "costream@example.com"
recipients = ["finance@example.com", "platform@example.com"]
username = "{user}"
from_level = "critical"
subject_prefix = "[product] AI Cost Alert"
"""


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker(TOPICS) as broker:
        yield broker


@pytest.fixture
def place(clickhouse_endpoint: Server) -> Iterator[Warehouse]:
    address = clickhouse_endpoint.fresh()
    with closing(Reader(address)) as reader, closing(Writer(address)) as writer:
        yield Warehouse(reader, writer)


def subjects(slack: HttpReceiver) -> list[str]:
    return [posted.json["attachments"][0]["title"] for posted in slack.got]


def test_people_are_told_once_over_a_kill_and_an_outage_of_a_channel(
    broker: EmbeddedBroker, place: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile = "ann<!channel> {{ 7*7 }}"
    with HttpReceiver() as slack, mail_server(tmp_path) as mail:
        monkeypatch.setenv("SSL_CERT_FILE", mail.ca_file)
        secrets = tmp_path / "secrets"
        secrets.mkdir()
        (secrets / "smtp_password").write_text(PASSWORD)
        (secrets / "slack_webhook").write_text(f"{slack.url}/services/T0SECRET")
        publish_rules(place, CHANNELS.format(port=mail.port, user=USER))
        settings = {"secrets_dir": secrets, "dashboard_url": "https://grafana.example.com/d/cost"}
        with WorkerProcess(broker.bootstrap_servers, place.reader.address, **settings) as worker:
            send_calls(broker.bootstrap_servers, 60, user_id=hostile)
            worker.until(lambda: subjects(slack), "Slack is told", seconds=90)
            assert not mail.got, "a warning is none of its levels"
            slack.does = 500
            send_calls(broker.bootstrap_servers, 6, user_id=hostile)
            worker.until(lambda: mail.got and slack.asked > 1, "mail arrives though Slack fails", seconds=90)
            worker.process.kill()
            worker.ended()
            assert "T0SECRET" not in worker.log_path.read_text()
            assert PASSWORD not in worker.log_path.read_text()
        slack.does = 200
        with WorkerProcess(broker.bootstrap_servers, place.reader.address, **settings) as worker:
            worker.until(lambda: len(slack.got) >= 2, "Slack is told what it missed", seconds=90)
            assert worker.stop() == 0
        shutil.rmtree(secrets)

    assert [title.split("]")[0] for title in subjects(slack)] == ["[WARNING", "[CRITICAL"]
    text = slack.got[0].json["attachments"][0]["text"]
    assert "&lt;!channel&gt;" in text
    assert "<!channel>" not in text
    assert "<https://grafana.example.com/d/cost?from=" in text
    assert 1 <= len(mail.got) <= 2, "a kill repeats one message at the most"
    for got in mail.got:
        assert got.recipients == ["finance@example.com", "platform@example.com"]
        assert str(got.message["Subject"]).startswith("[product] AI Cost Alert [CRITICAL] ")
        assert got.message["Bcc"] is None
    assert len({str(got.message["Message-ID"]) for got in mail.got}) == 1
    told = "SELECT channel, level, outcome FROM alert_deliveries WHERE rule = 'budget' ORDER BY channel, level"
    assert place.reader.frame(told).rows() == [
        ("email", "critical", "delivered"),
        ("slack", "critical", "delivered"),
        ("slack", "warning", "delivered"),
    ]
