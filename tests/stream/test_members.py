"""Nobody changes the tables of a worker that is alive."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
from confluent_kafka import Consumer
from typer.testing import CliRunner

from costream.topics import EVENTS
from sinks.clickhouse import migrate
from sinks.clickhouse.connect import ClickHouseAddress
from stream.cli import migrate as command
from stream.runtime import topics
from stream.runtime.members import WorkersAlive, WorkersUnknown, require_no_worker
from stream.runtime.settings import Settings
from tests.support.databases import drop_database
from tests.support.records import until
from tests.support.site import Site
from tests.support.warehouse import Server, free_port, settings_of


def settings_at(site: Site) -> Settings:
    return Settings.model_validate(told(site))


def told(site: Site) -> dict[str, str]:
    return {
        "kafka_bootstrap_servers": site.bootstrap_servers,
        "topic_prefix": site.prefix,
        "consumer_group": f"{site.prefix}workers",
    }


@contextmanager
def alive(site: Site) -> Iterator[None]:
    """Someone who is in the group."""
    settings = settings_at(site)
    topics.create(settings)
    with closing(
        Consumer(
            {
                "bootstrap.servers": site.bootstrap_servers,
                "group.id": settings.consumer_group,
                "client.id": "worker-of-before",
            }
        )
    ) as consumer:
        consumer.subscribe([settings.topic(EVENTS)])
        until(lambda: (consumer.poll(0.1), consumer.assignment())[1], "the worker is in the group")
        yield


def test_a_worker_that_is_alive_is_named_and_one_that_left_is_not(site: Site) -> None:
    settings = settings_at(site)
    require_no_worker(settings)  # no such group yet
    with alive(site), pytest.raises(WorkersAlive, match=r"1 worker of the group '.*workers' is alive") as refused:
        require_no_worker(settings)
    assert [member.client_id for member in refused.value.members] == ["worker-of-before"]
    assert re.search(r"worker-of-before on [0-9.]+\)", str(refused.value))
    require_no_worker(settings)  # a group without members


@pytest.mark.slow  # it takes its time to be sure
def test_where_kafka_does_not_tell_nothing_is_taken_for_granted() -> None:
    nobody = Settings(kafka_bootstrap_servers=f"127.0.0.1:{free_port()}")
    with pytest.raises(WorkersUnknown, match="say so with --workers-stopped"):
        require_no_worker(nobody)


@pytest.mark.slow
def test_an_upgrade_waits_for_the_workers_to_stop_and_a_new_warehouse_for_nobody(
    site: Site, clickhouse_endpoint: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    address: ClickHouseAddress = clickhouse_endpoint.unmade()
    for name, value in (settings_of(address) | told(site)).items():
        monkeypatch.setenv(f"COSTREAM_{name.upper()}", value)
    run = CliRunner().invoke
    with alive(site):
        assert run(command.app, ["up", "--target", "6"]).output.startswith("applied: 1")
        refused = run(command.app, ["up"])
        assert (refused.exit_code, "worker-of-before" in refused.stderr) == (1, True)
        assert [step.state for step in migrate.status(address)].count("pending") >= 3
        assert run(command.app, ["up", "--target", "6"]).output == "applied: nothing to do\n"
        assert run(command.app, ["up", "--target", "7", "--workers-stopped"]).output == "applied: 7\n"
    assert run(command.app, ["up"]).output.startswith("applied: 8")
    assert run(command.app, ["up"]).exit_code == 0
    drop_database(address)
