"""The client through a process's life: forks, its exit, a SIGKILL, and the next process that finds the spool."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from costream import UsageEvent, UsageProducer

CLOSE_MAX_S = 20.0
NOWHERE = "127.0.0.1:1"  # no service listens on port 1, and none but root's could
ReadTopic = Callable[[str, str], list[Any]]
StartHost = Callable[..., Any]

SPOOL_300 = """
producer = UsageProducer(bootstrap_servers=arg[0], topic=arg[1])
for number in range(300):
    producer.record(event("spooled", number))
while producer.flush(1) or producer.stats().spool_rows < 300:
    pass
say("ready")
"""


def spool_files(folder: str) -> list[Path]:
    return [path for path in Path(folder).iterdir() if path.suffix == ".sqlite"]


def keys(messages: list[Any]) -> set[str]:
    return {message.key for message in messages}


def test_what_a_killed_host_had_spooled_is_delivered_by_the_next_one(
    host: StartHost, embedded_bootstrap: str, topic: str, read_topic: ReadTopic, usage_event: Callable[..., UsageEvent]
) -> None:
    killed = host(SPOOL_300 + "signal.pause()", NOWHERE, topic)
    assert killed.line() == "ready"
    killed.kill()
    with UsageProducer(bootstrap_servers=embedded_bootstrap, topic=topic) as producer:
        producer.record(usage_event())
        producer.close(CLOSE_MAX_S)
    assert len(keys(read_topic(embedded_bootstrap, topic))) == 301
    assert spool_files(os.environ["COSTREAM_SPOOL_DIR"]) == []


def test_the_spool_of_a_living_process_is_left_alone(host: StartHost, embedded_bootstrap: str, topic: str) -> None:
    living = host(SPOOL_300 + "signal.pause()", NOWHERE, topic)
    assert living.line() == "ready"
    with UsageProducer(bootstrap_servers=embedded_bootstrap, topic=topic) as producer:
        producer.close(CLOSE_MAX_S)
    assert producer.stats().delivered == 0
    assert spool_files(os.environ["COSTREAM_SPOOL_DIR"])


def test_the_spool_of_another_topic_is_left_alone(host: StartHost, embedded_bootstrap: str, topic: str) -> None:
    assert host(SPOOL_300, NOWHERE, "another." + topic).ended()[0] == 0
    with UsageProducer(bootstrap_servers=embedded_bootstrap, topic=topic) as producer:
        producer.close(CLOSE_MAX_S)
    assert producer.stats().delivered == 0


@pytest.mark.parametrize("ending", ["", "sys.exit(3)", "raise SystemExit(3)"])
def test_a_host_that_just_ends_delivers_first(
    host: StartHost, embedded_bootstrap: str, topic: str, read_topic: ReadTopic, ending: str
) -> None:
    script = """
producer = UsageProducer(bootstrap_servers=arg[0], topic=arg[1])
for number in range(500):
    producer.record(event("exit", number))
"""
    status, _, err = host(script + ending, embedded_bootstrap, topic).ended()
    assert (status, err) == (3 if ending else 0, "")
    assert len(keys(read_topic(embedded_bootstrap, topic))) == 500


def test_a_host_that_ends_without_kafka_leaves_its_events_on_disk_and_says_so_once_on_stderr(
    host: StartHost, embedded_bootstrap: str, topic: str, read_topic: ReadTopic
) -> None:
    script = """
for number in range(500):
    record(event("exit", number))
"""
    prefix = topic + "."
    environ = {"COSTREAM_KAFKA_BOOTSTRAP_SERVERS": NOWHERE, "COSTREAM_TOPIC_PREFIX": prefix}
    status, _, err = host(script, **environ).ended()
    assert status == 0
    assert len(err.splitlines()) == 1
    assert "does not take usage events" in err
    with UsageProducer(bootstrap_servers=embedded_bootstrap, topic=prefix + "usage.events") as producer:
        producer.close(CLOSE_MAX_S)
    assert len(keys(read_topic(embedded_bootstrap, prefix + "usage.events"))) == 500


def test_an_event_recorded_while_the_interpreter_ends_is_not_lost(
    host: StartHost, embedded_bootstrap: str, topic: str, read_topic: ReadTopic
) -> None:
    script = """
import atexit, costream
os.environ.update(COSTREAM_KAFKA_BOOTSTRAP_SERVERS=arg[0], COSTREAM_TOPIC_PREFIX=arg[1])
atexit.register(lambda: record(event("at exit", 0)))
"""
    status, _, err = host(script, embedded_bootstrap, topic + ".").ended()
    assert (status, err) == (0, "")
    assert keys(read_topic(embedded_bootstrap, topic + ".usage.events")) == {"at exit-0"}


def test_parent_and_forked_child_both_deliver_and_each_its_own(
    host: StartHost, embedded_bootstrap: str, topic: str, read_topic: ReadTopic
) -> None:
    script = """
producer = UsageProducer(bootstrap_servers=arg[0], topic=arg[1])
for number in range(100):
    producer.record(event("before", number))
child = os.fork()
name = "parent" if child else "child"
for number in range(100):
    producer.record(event(name, number))
if not child:
    assert producer.flush(20) == 0, producer
    assert producer.stats().delivered == 100, producer
    sys.exit(0)
_, status = os.waitpid(child, 0)
for number in range(100, 200):
    producer.record(event(name, number))
producer.close(20)
assert producer.stats().delivered == 300, producer
sys.exit(os.waitstatus_to_exitcode(status))
"""
    status, _, err = host(script, embedded_bootstrap, topic).ended()
    assert (status, err) == (0, "")
    messages = read_topic(embedded_bootstrap, topic)
    assert len(messages) == len(keys(messages)) == 400


def test_a_child_forked_during_an_outage_has_a_spool_of_its_own_and_the_parents_stays_whole(
    host: StartHost, embedded_bootstrap: str, topic: str, read_topic: ReadTopic
) -> None:
    script = (
        SPOOL_300
        + """
child = os.fork()
name = "parent" if child else "child"
for number in range(100):
    producer.record(event(name, number))
while producer.flush(1):
    pass
if not child:
    assert producer.stats().spool_rows == 100, producer
    sys.exit(0)
_, status = os.waitpid(child, 0)
for number in range(100, 200):
    producer.record(event(name, number))
while producer.flush(1):
    pass
assert producer.stats().spool_rows == 500, producer
sys.exit(os.waitstatus_to_exitcode(status))
"""
    )
    status, _, err = host(script, NOWHERE, topic).ended()
    assert (status, len(err.splitlines())) == (0, 1), err
    owners = {path.name.rpartition("-")[0] for path in spool_files(os.environ["COSTREAM_SPOOL_DIR"])}
    assert len(owners) == 2
    with UsageProducer(bootstrap_servers=embedded_bootstrap, topic=topic) as producer:
        producer.close(CLOSE_MAX_S)
    assert len(keys(read_topic(embedded_bootstrap, topic))) == 600


@pytest.mark.slow
def test_forks_in_the_middle_of_the_work_leave_no_child_hanging(
    host: StartHost, embedded_bootstrap: str, topic: str, read_topic: ReadTopic
) -> None:
    script = """
producer = UsageProducer(bootstrap_servers=arg[0], topic=arg[1], queue_events_max=100_000)
running = True
def load():
    number = 0
    while running:
        number += 1
        producer.record(event("load", number))
        if number % 50 == 0:
            producer.flush(1)
loader = threading.Thread(target=load)
loader.start()
statuses = []
for number in range(20):
    child = os.fork()
    if not child:
        producer.record(event("child", number))
        producer.close(20)
        os._exit(0 if producer.stats().delivered + producer.stats().spool_rows >= 1 else 1)
    statuses.append(os.waitpid(child, 0)[1])
running = False
loader.join()
producer.close(20)
assert not any(statuses), statuses
"""
    status, _, err = host(script, embedded_bootstrap, topic).ended()
    assert (status, err) == (0, "")
    assert {f"child-{number}" for number in range(20)} <= keys(read_topic(embedded_bootstrap, topic))


def test_a_child_of_multiprocessing_delivers_before_it_ends(
    host: StartHost, embedded_bootstrap: str, topic: str, read_topic: ReadTopic
) -> None:
    script = """
import multiprocessing
producer = UsageProducer(bootstrap_servers=arg[0], topic=arg[1])
def work():
    for number in range(100):
        producer.record(event("worker", number))
process = multiprocessing.get_context("fork").Process(target=work)
process.start()
process.join()
sys.exit(process.exitcode)
"""
    status, _, err = host(script, embedded_bootstrap, topic).ended()
    assert (status, err) == (0, "")
    assert len(keys(read_topic(embedded_bootstrap, topic))) == 100


def test_a_handler_that_interrupts_record_may_record_itself(
    host: StartHost, embedded_bootstrap: str, topic: str, read_topic: ReadTopic
) -> None:
    script = """
producer = UsageProducer(bootstrap_servers=arg[0], topic=arg[1])
handled = 0
def handler(*_):
    global handled
    producer.record(event("signal", handled))
    handled += 1
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
number = 0
while handled < 100:
    producer.record(event("loop", number))
    number += 1
signal.setitimer(signal.ITIMER_REAL, 0)
producer.close(20)
stats = producer.stats()
assert stats.recorded == stats.delivered == number + handled, producer
"""
    status, _, err = host(script, embedded_bootstrap, topic).ended()
    assert (status, err) == (0, "")
