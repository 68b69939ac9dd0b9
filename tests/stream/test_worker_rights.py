"""A worker on a broker with users and ACLs: it names the right or the login that it lacks, waits, and goes on once that
is mended, before the first record and in the middle of them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from sinks.clickhouse.reader import Reader
from stream.audit import audit
from stream.runtime import topics
from stream.runtime.rights import NEEDED, RightMissing
from stream.runtime.settings import Settings
from stream.watch.alert_topic import PublishedAlerts
from tests.support.secure_kafka import ADMIN, ADMIN_PASSWORD, PASSWORD, SecureKafkaBroker, login
from tests.support.site import PARTITIONS, Events, now_events
from tests.support.warehouse import Server
from tests.support.worker import Totals, WorkerProcess, group_offsets, producer_of

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

EXIT_OK = 0
SAID_SECONDS = 5.0
STARTED_SECONDS = 60.0  # of a Python with all that a worker imports and builds, on a busy machine
RIGHTS = [(name, operation.name.capitalize()) for name, operations in NEEDED.items() for operation in operations]


class Site:
    """Topics of one test on the secured broker, and the user of its worker, who may do nothing yet."""

    def __init__(self, broker: SecureKafkaBroker) -> None:
        self.broker, self.user = broker, f"user-{uuid4().hex[:8]}"
        self.prefix = f"{self.user}."
        self.group = f"{self.prefix}costream"
        broker.add_user(self.user, PASSWORD)
        topics.create(self.settings(ADMIN, ADMIN_PASSWORD, mechanism="PLAIN"), partitions=PARTITIONS)

    def settings(self, user: str = "", password: str = PASSWORD, *, mechanism: str = "SCRAM-SHA-512") -> Settings:
        given = login(user or self.user, password) | {"kafka_sasl_mechanism": mechanism}
        servers = self.broker.bootstrap_servers
        return Settings(kafka_bootstrap_servers=servers, topic_prefix=self.prefix, consumer_group=self.group, **given)  # type: ignore[arg-type]  # texts are parsed

    def topic(self, name: str) -> str:
        return self.prefix + name

    def grant_all(self) -> None:
        for name, operation in RIGHTS:
            self.broker.grant("topic", self.topic(name), operation, user=self.user)
        self.broker.grant("group", self.group, "Read", user=self.user)

    def revoke(self, name: str, operation: str) -> None:
        self.broker.revoke("topic", self.topic(name), operation, user=self.user)

    def grant(self, name: str, operation: str) -> None:
        self.broker.grant("topic", self.topic(name), operation, user=self.user)

    def worker(self, server: Server, *, password: str = PASSWORD) -> WorkerProcess:
        return WorkerProcess(
            self.broker.bootstrap_servers, server.fresh(), prefix=self.prefix, **login(self.user, password)
        )

    def acknowledged(self) -> int:
        """Records that the group has committed."""
        servers, events = self.broker.bootstrap_servers, self.topic("usage.events")
        return sum(max(0, at) for at in group_offsets(servers, self.group, events, PARTITIONS, **self.broker.client))

    def publish(self, events: Events) -> None:
        producer = producer_of(self.broker.bootstrap_servers, **self.broker.client)
        for request_id, value in events:
            producer.produce(self.topic("usage.events"), value, request_id)
        assert producer.flush(30) == 0


@pytest.fixture
def site(secure_kafka: SecureKafkaBroker) -> Site:
    return Site(secure_kafka)


def says(worker: WorkerProcess, *words: str, events: tuple[str, ...] = ("stalled", "still stalled")) -> bool:
    """Whether an error line has all of these words."""
    lines = [line for event in events for line in worker.log(event) if line["level"] == "error"]
    return any(all(word in line["error"] for word in words) for line in lines)


def ready(worker: WorkerProcess) -> bool:
    return worker.page("/readyz")[0] == 200


def soon(condition: Callable[[], bool], what: str) -> None:
    """Within five seconds, or the test is about something else."""
    deadline = time.monotonic() + SAID_SECONDS
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


@pytest.mark.parametrize(("name", "operation"), RIGHTS)
def test_each_right_on_a_topic_that_alone_is_missing_is_named_with_the_command_that_grants_it(
    site: Site, name: str, operation: str
) -> None:
    site.grant_all()
    admin = topics.Admin(site.settings())
    soon(lambda: held(admin), "all is granted")
    site.revoke(name, operation)
    soon(lambda: not held(admin), "one is missing")
    with pytest.raises(RightMissing) as refused:
        admin.require_topics()
    assert f"refuses '{site.user}': grant `{operation} on topic {site.topic(name)}`, as by" in str(refused.value)
    command = f"--add --allow-principal User:{site.user} --operation {operation} --topic {site.topic(name)}`"
    assert command in str(refused.value)
    assert len(refused.value.rights) == 1


def held(admin: topics.Admin) -> bool:
    try:
        admin.require_topics()
    except RightMissing:
        return False
    return True


def test_a_worker_names_what_it_lacks_one_after_the_other_and_goes_on_by_itself(
    site: Site, clickhouse_endpoint: Server
) -> None:
    with site.worker(clickhouse_endpoint) as worker:
        worker.until(lambda: worker.log("health"), "it starts", seconds=STARTED_SECONDS)
        soon(lambda: says(worker, f"`Read and Write on topic {site.topic('usage.events')}`"), "topics are named")
        assert not says(worker, "there is no topic"), "whoever may not see it does not know"
        for name, operation in RIGHTS:
            site.grant(name, operation)
        worker.until(lambda: says(worker, f"`Read on group {site.group}`"), "then the group is named", seconds=10)
        assert f"Kafka at {site.broker.bootstrap_servers} refuses '{site.user}'" in worker.page("/readyz")[1]
        site.broker.grant("group", site.group, "Read", user=site.user)
        worker.until(lambda: ready(worker), "it goes on by itself")
        (unchecked,) = worker.log("settings of topics are unchecked")
        assert site.topic("usage.deadletter") in unchecked["topics"]
        assert worker.stop() == EXIT_OK


def test_a_worker_that_waits_for_a_right_can_be_stopped(site: Site, clickhouse_endpoint: Server) -> None:
    with site.worker(clickhouse_endpoint) as worker:
        worker.until(lambda: worker.log("stalled"), "it waits", seconds=STARTED_SECONDS)
        told_at = time.monotonic()
        assert worker.stop() == EXIT_OK
        assert time.monotonic() - told_at < SAID_SECONDS


def test_a_wrong_password_is_said_to_be_one_and_waited_out(site: Site, clickhouse_endpoint: Server) -> None:
    site.grant_all()
    with site.worker(clickhouse_endpoint, password="wrong") as worker:
        worker.until(lambda: worker.log("health"), "it starts", seconds=STARTED_SECONDS)
        soon(
            lambda: says(
                worker,
                f"Kafka at {site.broker.bootstrap_servers} refuses the login of user '{site.user}' by SCRAM-SHA-512",
                "COSTREAM_KAFKA_SASL_PASSWORD",
            ),
            "it is said",
        )
        assert not any("does not answer" in line["error"] for line in worker.log("stalled"))
        site.broker.add_user(site.user, "wrong")
        worker.until(lambda: ready(worker), "it goes on once the broker takes it")
        assert worker.stop() == EXIT_OK


@pytest.fixture
def running(site: Site, clickhouse_endpoint: Server) -> Iterator[tuple[Site, WorkerProcess, Totals]]:
    site.grant_all()
    with site.worker(clickhouse_endpoint) as worker:
        totals = Totals(worker.address)
        site.publish(now_events(50))
        worker.until(lambda: totals.counted()[:3] == (50,) * 3, "it works")
        yield site, worker, totals
        totals.close()


@pytest.mark.parametrize(
    ("name", "operation"),
    [
        ("usage.events", "Read"),
        ("usage.rollups", "Read"),
        ("usage.rollups", "Write"),
        ("usage.deadletter", "Write"),
    ],
)
def test_a_right_that_is_taken_away_is_named_and_nothing_is_lost_until_it_is_granted_again(
    running: tuple[Site, WorkerProcess, Totals], name: str, operation: str
) -> None:
    site, worker, totals = running
    site.revoke(name, operation)
    site.publish([*now_events(50), ("junk", b"junk")])
    worker.until(lambda: says(worker, f"grant `{operation} on topic {site.topic(name)}`"), "it is named", seconds=20)
    status, body = worker.page("/readyz")
    assert status == 503
    assert f"{operation} on topic" in body
    assert "costream_stalled 1.0" in worker.page("/metrics")[1]
    assert site.acknowledged() < 101, "what is not read or not published is not acknowledged"
    site.grant(name, operation)
    worker.until(lambda: totals.counted() == (100, 100, 100, 0, 1), "it goes on")
    worker.until(lambda: ready(worker), "and is ready")
    assert "costream_stalled 0.0" in worker.page("/metrics")[1]
    site.publish(now_events(10))
    worker.until(lambda: totals.counted() == (110, 110, 110, 0, 1), "and works as before")
    assert worker.stop() == EXIT_OK
    assert audit(Reader(worker.address), retention=timedelta(days=90)).holds


def test_alerts_that_nobody_may_read_are_said_to_be_forbidden(site: Site) -> None:
    """By whoever reads them: the watch of a worker that begins its turn, and `costream alerts`."""
    site.grant_all()
    soon(lambda: not refusal_of_alerts(site), "all is granted")
    site.revoke("usage.alerts", "Write")  # whoever may write may describe, and is told later
    site.revoke("usage.alerts", "Read")
    soon(lambda: f"grant `Read on topic {site.topic('usage.alerts')}`" in refusal_of_alerts(site), "it is named")
    site.grant("usage.alerts", "Write")
    soon(lambda: f"grant `Read on topic {site.topic('usage.alerts')}`" in refusal_of_alerts(site), "it is named")


def refusal_of_alerts(site: Site) -> str:
    try:
        PublishedAlerts(site.settings()).read(datetime.now(UTC))
    except RightMissing as refused:
        return str(refused)
    return ""


def test_a_group_that_is_taken_away_is_named_and_joined_again(
    running: tuple[Site, WorkerProcess, Totals],
) -> None:
    site, worker, totals = running
    site.broker.revoke("group", site.group, "Read", user=site.user)
    worker.until(lambda: says(worker, f"grant `Read on group {site.group}`"), "it is named", seconds=20)
    assert worker.page("/readyz")[0] == 503
    site.publish(now_events(50))
    site.broker.grant("group", site.group, "Read", user=site.user)
    worker.until(lambda: totals.counted()[:3] == (100,) * 3 and ready(worker), "it goes on")
    assert json.loads(worker.page("/readyz")[1])["partitions"] == list(range(PARTITIONS))
    assert worker.stop() == EXIT_OK
    assert audit(Reader(worker.address), retention=timedelta(days=90)).holds
