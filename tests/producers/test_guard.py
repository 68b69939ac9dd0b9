"""A guard says which budgets are used up, at once and from memory; where it cannot tell, calls are allowed."""

from __future__ import annotations

import pickle
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from costream import BudgetGuard, BudgetLimited, CostreamError, InvalidSettings, Limited
from costream.budgets import BudgetState
from costream.delivery import voice
from costream.guarding import reader
from stream.up.broker import EmbeddedBroker
from tests.producers.test_budget_state import DAY, END, state
from tests.support.secure_kafka import PASSWORD, SecureKafkaBroker, login

WAIT_MAX_S = 20.0
NOON = DAY + timedelta(hours=12)
NOBODY = "127.0.0.1:1"  # refuses every connection


class Clock:
    def __init__(self, now: datetime = NOON) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


class Topic:
    """``usage.budgets`` of one test, on either broker."""

    def __init__(self, bootstrap: str, name: str) -> None:
        self.bootstrap, self.name = bootstrap, name
        self._producer = Producer({"bootstrap.servers": bootstrap, "log_level": 0})

    def publish(self, *states: BudgetState, gone: BudgetState | None = None) -> None:
        self.produce(*((each.key, each.to_json()) for each in states), *([(gone.key, None)] if gone else []))

    def produce(self, *messages: tuple[bytes, bytes | None]) -> None:
        for key, value in messages:
            self._producer.produce(self.name, value, key, partition=0)
        assert self._producer.flush(WAIT_MAX_S) == 0

    def guard(self, **named: Any) -> BudgetGuard:
        usual: dict[str, Any] = {
            "bootstrap_servers": self.bootstrap,
            "topic": self.name,
            "enabled": True,
            "clock": Clock(),
        }
        return BudgetGuard(**usual | named)


@pytest.fixture
def budgets(request: pytest.FixtureRequest, bootstrap: str) -> Topic:
    name = f"usage.budgets.{uuid.uuid4().hex[:8]}"
    if request.node.get_closest_marker("kafka"):
        create(bootstrap, name)
    else:  # the embedded one makes what a producer asks for
        Producer({"bootstrap.servers": bootstrap, "log_level": 0}).list_topics(name, timeout=WAIT_MAX_S)
    return Topic(bootstrap, name)


def create(bootstrap: str, name: str) -> None:
    spec = NewTopic(name, num_partitions=1, replication_factor=1, config={"cleanup.policy": "compact"})
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([spec])[name].result(WAIT_MAX_S)


def until(holds: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + WAIT_MAX_S
    while not holds():
        assert time.monotonic() < deadline, f"not within {WAIT_MAX_S} s: {what}"
        time.sleep(0.01)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    voice.wait(5)
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


# --- switched off ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", [None, "false", "off", "0", "maybe"])
def test_it_is_off_unless_it_is_switched_on_and_then_it_makes_no_thread_and_no_connection(
    word: str | None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if word is not None:
        monkeypatch.setenv("COSTREAM_BUDGET_GUARD", word)
    monkeypatch.setattr("costream.guard._connect", lambda config: pytest.fail("connected"))
    monkeypatch.setattr("costream.guarding.reader.start_thread", lambda work: pytest.fail("started a thread"))
    with BudgetGuard(bootstrap_servers=NOBODY) as guard:
        assert guard.check(user_id="ann") is None
        guard.require(user_id="ann")
        assert not guard.ready(0.0)
    told = warnings(caplog)
    assert [text for text in told if "the guard stays off" in text] == (told if word == "maybe" else [])
    assert len(told) == (word == "maybe")


@pytest.mark.parametrize(("variables", "is_on"), [
    ({"COSTREAM_BUDGET_GUARD": "true"}, True),
    ({"COSTREAM_BUDGET_GUARD": "on", "COSTREAM_ENABLED": "false"}, False),
])  # fmt: skip
def test_the_environment_switches_it_on_unless_the_client_is_off(
    variables: dict[str, str], is_on: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = list[Any]()
    monkeypatch.setattr("costream.guarding.reader.start_thread", lambda work: started.append(work) or True)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    guard = BudgetGuard(bootstrap_servers=NOBODY)
    guard.close(0)
    assert bool(started) == is_on


def test_settings_that_break_a_rule_are_an_error_that_names_them() -> None:
    with pytest.raises(InvalidSettings, match=r"no guard was made: kafka = \(hidden\): .*auto.offset.reset cannot be"):
        BudgetGuard(kafka={"auto.offset.reset": "latest"})


def test_the_topic_has_the_prefix_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COSTREAM_TOPIC_PREFIX", "eu.")
    assert repr(BudgetGuard()) == "BudgetGuard(topic='eu.usage.budgets', off)"


# --- what it says ----------------------------------------------------------------------------------------------------


def test_a_call_of_a_budget_that_is_used_up_is_limited_and_others_are_allowed(budgets: Topic) -> None:
    budgets.publish(state(), state(subject={"user_id": "carol"}, limited=False), state(subject={"user_id": "dan"}))
    budgets.publish(gone=state(subject={"user_id": "dan"}))
    with budgets.guard() as guard:
        assert guard.ready(WAIT_MAX_S)
        limited = guard.check(user_id="ann", provider="openai", model="gpt-5", input_tokens=3)  # type: ignore[call-arg]
        assert limited == Limited(
            budget="user_daily_budget",
            subject={"user_id": "ann"},
            spent=state().spent,
            amount=state().amount,
            limit=state().limit,
            currency="USD",
            resets_at=END,
        )
        assert limited.resets_at is not None
        assert limited.resets_at.utcoffset() == timedelta(0)
        assert [guard.check(user_id=name) for name in ("bob", "carol", "dan")] == [None] * 3
        with pytest.raises(BudgetLimited) as refused:
            guard.require(user_id="ann")
        guard.require(user_id="bob")
    assert isinstance(refused.value, CostreamError)
    assert refused.value.limited == limited
    assert str(refused.value) == (
        "budget user_daily_budget of user_id ann is limited until 2026-12-01 00:00:00 UTC: 9.512 USD of 10 were spent, "
        "and from 9.5 on calls are refused"
    )
    assert pickle.loads(pickle.dumps(refused.value)).limited == limited


def test_what_comes_later_is_followed(budgets: Topic) -> None:
    with budgets.guard() as guard:
        assert guard.ready(WAIT_MAX_S)
        assert guard.check(user_id="ann") is None
        budgets.publish(state())
        until(lambda: guard.check(user_id="ann"), "it is limited")
        budgets.publish(state(limited=False))
        until(lambda: not guard.check(user_id="ann"), "it is taken back")
        budgets.publish(state())
        until(lambda: guard.check(user_id="ann"), "it is limited again")
        budgets.publish(gone=state())
        until(lambda: not guard.check(user_id="ann"), "it is over")


def test_a_limit_lifts_by_the_clock_without_a_message(budgets: Topic) -> None:
    budgets.publish(state())
    clock = Clock(END - timedelta(milliseconds=1))
    with budgets.guard(clock=clock) as guard:
        assert guard.ready(WAIT_MAX_S)
        assert guard.check(user_id="ann")
        clock.now = END
        assert guard.check(user_id="ann") is None


def test_what_a_later_message_takes_back_refuses_no_call_while_the_topic_is_read(budgets: Topic) -> None:
    budgets.publish(*(state(limited=number % 2 == 0) for number in range(500)), state(limited=False))
    with budgets.guard() as guard:
        while not guard.ready():
            assert guard.check(user_id="ann") is None
        assert guard.check(user_id="ann") is None


# --- it fails open ---------------------------------------------------------------------------------------------------


def test_what_is_not_understood_limits_nobody_and_is_said_once(
    budgets: Topic, caplog: pytest.LogCaptureFixture
) -> None:
    ours = state()
    other_version = ours.to_json().replace(b'"schema_version":1', b'"schema_version":2')
    no_field = state(subject={"user_id": "bob"}, only={"region": ("eu",)})
    budgets.publish(ours)
    budgets.produce(
        (b"k", b"\xff{"),
        (b"k", b"x" * 200_000),
        (ours.key, other_version),
        (no_field.key, no_field.to_json()),
        (b"another", state(subject={"user_id": "eve"}).to_json()),
    )
    with budgets.guard() as guard:
        assert guard.ready(WAIT_MAX_S)
        assert [guard.check(user_id=name) for name in ("ann", "bob", "eve")] == [None] * 3
        (told,) = warnings(caplog)
    assert f"a message on '{budgets.name}' is not understood and limits nobody: value: it is not JSON" in told


def test_without_kafka_everything_is_allowed_nobody_waits_and_it_is_said_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "ANSWER_S", 0.2)
    monkeypatch.setattr(reader, "RETRY_S", (0.01,))
    with BudgetGuard(bootstrap_servers=NOBODY, enabled=True) as guard:
        for _ in range(100):
            assert guard.check(user_id="ann") is None
        until(lambda: warnings(caplog), "it is said")
        time.sleep(1)
        assert not guard.ready()
        (told,) = warnings(caplog)
    assert "which budgets are limited is not known, so that calls are allowed: 'usage.budgets' at 127.0.0.1:1: " in told


def test_with_the_contact_the_limits_are_forgotten_and_they_are_read_anew_when_it_is_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with EmbeddedBroker({"usage.budgets": 1}) as broker:
        topic = Topic(broker.bootstrap_servers, "usage.budgets")
        topic.publish(state())
        with topic.guard() as guard:
            assert guard.ready(WAIT_MAX_S)
            assert guard.check(user_id="ann")
            broker.set_reachable(False)
            until(lambda: not guard.check(user_id="ann"), "it is allowed")
            assert not guard.ready()
            broker.set_reachable(True)
            assert guard.ready(WAIT_MAX_S)
            assert guard.check(user_id="ann")
        (told,) = warnings(caplog)
    assert "calls are allowed" in told


def test_a_topic_that_was_made_anew_is_read_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "PROBE_S", 0.2)
    monkeypatch.setattr(reader, "RETRY_S", (0.01,))
    with EmbeddedBroker({"usage.budgets": 1}) as broker:
        topic = Topic(broker.bootstrap_servers, "usage.budgets")
        topic.publish(state(), state(subject={"user_id": "bob"}))
        with topic.guard() as guard:
            assert guard.ready(WAIT_MAX_S)
            broker.delete_topic("usage.budgets")
            broker.create_topic("usage.budgets", 1)
            until(lambda: not guard.check(user_id="ann"), "what stood there is forgotten")


@pytest.mark.kafka
def test_a_topic_that_is_missing_is_said_not_made_and_read_once_it_is_there(
    kafka_bootstrap: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "RETRY_S", (0.2,))
    topic = Topic(kafka_bootstrap, f"usage.budgets.{uuid.uuid4().hex[:8]}")
    with topic.guard() as guard:
        until(lambda: warnings(caplog), "it is said")
        assert f"there is no topic '{topic.name}': `costream topics create` creates it" in warnings(caplog)[0]
        create(kafka_bootstrap, topic.name)
        topic.publish(state())
        assert guard.ready(WAIT_MAX_S)
        assert guard.check(user_id="ann")


@pytest.mark.slow
@pytest.mark.kafka
def test_it_needs_the_right_to_read_the_topic_and_no_other(
    secure_kafka: SecureKafkaBroker, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "RETRY_S", (0.2,))
    name = f"usage.budgets.{uuid.uuid4().hex[:8]}"
    user = f"user-{name}"
    secure_kafka.add_user(user, PASSWORD)
    secure_kafka.admin.create_topics([NewTopic(name, num_partitions=1, replication_factor=1)])[name].result(WAIT_MAX_S)
    producer = Producer({"bootstrap.servers": secure_kafka.bootstrap_servers, "log_level": 0, **secure_kafka.client})
    producer.produce(name, state().to_json(), state().key)
    assert producer.flush(WAIT_MAX_S) == 0
    for setting, value in login(user).items():
        monkeypatch.setenv(f"COSTREAM_{setting.upper()}", str(value))
    with BudgetGuard(
        bootstrap_servers=secure_kafka.bootstrap_servers, topic=name, enabled=True, clock=Clock()
    ) as guard:
        until(lambda: warnings(caplog), "it is said")
        assert f"this user may not read topic '{name}': grant Read on it" in warnings(caplog)[0]
        assert guard.check(user_id="ann") is None
        secure_kafka.grant("topic", name, "Read", user=user)
        assert guard.ready(WAIT_MAX_S)
        assert guard.check(user_id="ann")


class Hostile:
    def __str__(self) -> str:
        raise RuntimeError("no text")

    def __hash__(self) -> int:
        raise RuntimeError("no hash")


@pytest.mark.parametrize("value", [Hostile(), object(), {}, "\ud800", "x" * 10**6, b"\xff", -1, float("inf"), True])
def test_no_value_of_a_caller_breaks_it_or_hides_another_limit(budgets: Topic, value: Any) -> None:
    budgets.publish(state(), state(budget="daily_budget", subject={}, period_end=END + timedelta(days=1)))
    with budgets.guard() as guard:
        assert guard.ready(WAIT_MAX_S)
        for field in ("user_id", "provider", "model", "operation", "team"):
            limited = guard.check(**{field: value})
            assert limited is not None
            assert limited.budget == "daily_budget"


def test_a_clock_or_a_table_of_names_that_fails_and_a_misspelt_field_cost_no_call(
    budgets: Topic, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("broken")

    today = datetime.now(UTC)
    now = {"period_start": today - timedelta(hours=1), "period_end": today + timedelta(hours=1)}
    budgets.publish(state(**now), state(budget="models", subject={"model": "m"}, **now))
    with budgets.guard(clock=broken, canonical=broken) as guard:
        assert guard.ready(WAIT_MAX_S)
        assert guard.check(user_id="ann"), "by the clock of the system"
        assert guard.check(user_id="ann", provider="p", model="m") is None
        assert guard.check(usr_id="ann") is None  # type: ignore[call-arg]
    told = " ".join(warnings(caplog))
    assert "the clock of a guard cannot be used (RuntimeError: broken)" in told
    assert "whether a call is limited cannot be told, it is allowed: RuntimeError" in told
    assert "'usr_id', which no event has" in told


def test_more_limits_than_it_keeps_are_allowed_and_it_is_said_once(
    budgets: Topic, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "LIMITS_MAX", 10)
    budgets.publish(*(state(subject={"user_id": f"u-{number}"}) for number in range(30)))
    with budgets.guard() as guard:
        assert guard.ready(WAIT_MAX_S)
        assert sum(guard.check(user_id=f"u-{number}") is not None for number in range(30)) == 10
        (told,) = warnings(caplog)
    assert "more than 10 limits hold" in told


# --- processes -------------------------------------------------------------------------------------------------------

FORKED = """
from costream import BudgetGuard
noon = datetime(2026, 11, 30, 12, tzinfo=UTC)
guard = BudgetGuard(bootstrap_servers=arg[0], topic=arg[1], enabled=True, clock=lambda: noon)
assert guard.ready(20)
child = os.fork()
if child == 0:
    say("child " + str(guard.check(user_id="ann") is not None))
    assert guard.ready(20)
    say("read " + str(guard.check(user_id="ann") is not None) + " " + str(guard.check(user_id="bob")))
    if os.fork() == 0:
        assert guard.ready(20), "a grandchild that asks for nothing else reads as well"
        os._exit(0)
    assert os.wait()[1] == 0
    guard.close()
    os._exit(0)
_, status = os.waitpid(child, 0)
say("parent " + str(guard.check(user_id="ann") is not None) + " " + str(status))
"""


def test_a_forked_child_knows_what_its_parent_knew_and_reads_by_itself(
    budgets: Topic, host: Callable[..., Any]
) -> None:
    budgets.publish(state())
    child = host(FORKED, budgets.bootstrap, budgets.name)
    code, out, err = child.ended()
    assert (code, err) == (0, "")
    assert out.splitlines() == ["child True", "read True None", "parent True 0"]


def test_it_ends_with_its_process_and_closed_it_allows_everything(budgets: Topic, host: Callable[..., Any]) -> None:
    budgets.publish(state())
    guard = budgets.guard()
    assert guard.ready(WAIT_MAX_S)
    guard.close()
    assert guard.check(user_id="ann") is None
    guard.close()
    open_at_the_end = (
        "from costream import BudgetGuard\nguard = BudgetGuard(bootstrap_servers=arg[0], topic=arg[1], enabled=True)\n"
    )
    for ending in ("assert guard.ready(20)\n", "os._exit(0)\n"):
        assert host(open_at_the_end + ending, budgets.bootstrap, budgets.name).ended() == (0, "", "")


@pytest.mark.kafka
def test_it_leaves_no_trace_of_its_group(kafka_bootstrap: str) -> None:
    group = f"guard-{uuid.uuid4().hex[:8]}"
    topic = Topic(kafka_bootstrap, f"usage.budgets.{group}")
    create(kafka_bootstrap, topic.name)
    topic.publish(state())
    with topic.guard(kafka={"group.id": group}) as guard:
        assert guard.ready(WAIT_MAX_S)
    admin = AdminClient({"bootstrap.servers": kafka_bootstrap})
    groups = admin.list_consumer_groups(request_timeout=10).result().valid
    assert group not in {found.group_id for found in groups}
