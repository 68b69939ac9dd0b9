"""The client in its hosts: servers that patch threads, workers that end without a word, loggers that fail.

Each host is a process of its own, run as its users run it.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from costream import UsageProducer

WAIT_MAX_S = 30.0
NOWHERE = "127.0.0.1:1"
ReadTopic = Callable[[str, str], list[Any]]
StartHost = Callable[..., Any]


def keys(messages: list[Any]) -> set[str]:
    return {message.key for message in messages}


def after_adopting(bootstrap: str, topic: str, read_topic: ReadTopic) -> set[str]:
    """What has arrived once the next process has delivered what it found on disk."""
    with UsageProducer(bootstrap_servers=bootstrap, topic=topic) as producer:
        producer.close(WAIT_MAX_S)
    return keys(read_topic(bootstrap, topic))


# --- servers ---------------------------------------------------------------------------------------------------------

APP = """
import costream
def app(environ, start_response):
    costream.record(provider="openai", model="gpt-5", request_id=environ["PATH_INFO"].strip("/"), input_tokens=1)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"answered"]
costream.record(provider="openai", model="gpt-5", request_id="at import", input_tokens=1)
"""
# How an app comes to be patched: by its worker, or by itself, before or after it imports the client.
PATCHES = {
    "by the worker": APP,
    "before the import": "from gevent import monkey; monkey.patch_all()\n" + APP,
    "after the first record": APP + "from gevent import monkey; monkey.patch_all()\n",
}


@contextmanager
def gunicorn(folder: Path, *options: str, app: str, **environ: str) -> Iterator[str]:
    (folder / "service.py").write_text(app)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [sys.executable, "-m", "gunicorn", "--bind", address, "--workers", "2", "--log-level", "warning"]
    # A gevent worker that is told to end while it starts misses it, whatever the app: gunicorn then waits this long.
    command += ["--graceful-timeout", "10"]
    server = subprocess.Popen([*command, *options, "service:app"], cwd=folder, env=os.environ | environ)
    try:
        until_it_answers(address)
        yield address
        server.send_signal(signal.SIGTERM)
        assert server.wait(WAIT_MAX_S) == 0
    finally:
        server.kill()
        server.wait()


def until_it_answers(address: str) -> None:
    for _ in range(int(WAIT_MAX_S / 0.05)):
        try:
            get(address, "warm-up")
        except (urllib.error.URLError, TimeoutError):  # its port is open before its workers are there
            time.sleep(0.05)
        else:
            return
    pytest.fail(f"{address} did not answer within {WAIT_MAX_S} s")


def get(address: str, name: str) -> None:
    with urllib.request.urlopen(f"http://{address}/{name}", timeout=10) as response:  # a frozen worker answers no more
        assert response.read() == b"answered"


def ask(address: str, requests: int) -> None:
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda number: get(address, f"request-{number}"), range(requests)))


@pytest.mark.slow
@pytest.mark.parametrize("kafka_is", ["up", "down"])
@pytest.mark.parametrize(
    ("options", "patch"),
    [
        (("-k", "gevent", "--preload"), "by the worker"),
        (("-k", "gevent"), "by the worker"),
        (("-k", "gevent", "--preload"), "before the import"),
        (("-k", "gevent"), "after the first record"),
        (("-k", "gthread", "--threads", "4", "--preload"), "by the worker"),
    ],
)
def test_a_server_answers_every_request_and_its_events_arrive(  # noqa: PLR0917 - fixtures
    options: tuple[str, ...],
    patch: str,
    kafka_is: str,
    tmp_path: Path,
    embedded_bootstrap: str,
    topic: str,
    read_topic: ReadTopic,
) -> None:
    address = embedded_bootstrap if kafka_is == "up" else NOWHERE
    environ = {"COSTREAM_KAFKA_BOOTSTRAP_SERVERS": address, "COSTREAM_TOPIC_PREFIX": topic + "."}
    with gunicorn(tmp_path, *options, app=PATCHES[patch], **environ) as server:
        ask(server, 300)
    arrived = after_adopting(embedded_bootstrap, topic + ".usage.events", read_topic)
    assert arrived >= {f"request-{number}" for number in range(300)} | {"at import"}


PATCHED_LIKE_EVENTLET = """
import _thread, importlib.util, os, queue, sys, threading, time
used = []
OURS = os.path.dirname(importlib.util.find_spec("costream").origin) + os.sep
def patched(original, name):
    def greenlets_own(*args, **kwargs):
        if sys._getframe(1).f_code.co_filename.startswith(OURS):
            used.append(name)
        return original(*args, **kwargs)
    return greenlets_own
def patch():
    for module, names in {_thread: "start_new_thread allocate_lock RLock get_ident",
                          threading: "Lock RLock Event Condition Semaphore Thread get_ident",
                          queue: "Queue SimpleQueue"}.items():
        for name in names.split():
            setattr(module, name, patched(getattr(module, name), f"{module.__name__}.{name}"))
"""


@pytest.mark.parametrize("order", ["patch() ; import costream", "import costream ; patch()"])
def test_the_client_takes_nothing_that_a_host_has_patched_whichever_comes_first(
    order: str, embedded_bootstrap: str, topic: str, read_topic: ReadTopic
) -> None:
    script = f"""
import confluent_kafka, pydantic, logging, sqlite3
{PATCHED_LIKE_EVENTLET}
{order}
for number in range(100):
    costream.record(provider="openai", model="gpt-5", request_id=f"patched-{{number}}")
assert costream.flush(20) == 0
assert costream.stats().delivered == 100, costream.stats()
costream.get_default_producer().close(20)
assert not used, used
"""
    environ = {"COSTREAM_KAFKA_BOOTSTRAP_SERVERS": embedded_bootstrap, "COSTREAM_TOPIC_PREFIX": topic + "."}
    done = subprocess.run(
        [sys.executable, "-c", script], env=os.environ | environ, capture_output=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert len(keys(read_topic(embedded_bootstrap, topic + ".usage.events"))) == 100


@pytest.mark.parametrize("patch", ["before", "after"])
def test_under_gevent_log_lines_are_spoken_by_the_hosts_greenlets_and_none_of_them_hangs(patch: str) -> None:
    """Taken by a thread of ours, the lock of a handler would not be handed back to the greenlets that wait for it."""
    script = f"""
import logging, time
from gevent import monkey
if {patch!r} == "before": monkey.patch_all()
import costream
from costream.delivery import voice
if {patch!r} == "after": monkey.patch_all()
import gevent
said = []
class Slow(logging.Handler):
    def emit(self, record):
        gevent.sleep(0.0005)
        said.append(record.name)
logging.getLogger().addHandler(Slow())
logging.getLogger().setLevel(logging.INFO)
def work():
    for number in range(50):
        logging.getLogger("service").info("answered")
        gevent.sleep(0)
def complain():
    for number in range(200):
        voice.say(logging.WARNING, "kind", "a complaint")
        voice.lend_a_thread()
        gevent.sleep(0.0005)
crew = [gevent.spawn(work) for _ in range(10)] + [gevent.spawn(complain)]
assert len(gevent.joinall(crew, timeout=20)) == 11, "greenlets hang"
voice.wait(5)
assert (said.count("service"), said.count("costream")) == (500, 200), (said.count("service"), said.count("costream"))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")


# --- workers that end without a word ---------------------------------------------------------------------------------

TASKS = """
import os
from celery import Celery
app = Celery("tasks", broker="filesystem://")
app.conf.update(
    broker_transport_options={"data_folder_in": "queue", "data_folder_out": "queue", "control_folder": "control"},
    worker_prefetch_multiplier=1, task_ignore_result=True, worker_send_task_events=False,
)
@app.task
def call(number):
    import costream
    costream.record(provider="openai", model="gpt-5", request_id=f"task-{number}", input_tokens=number)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("kafka_is", "tasks"), [("up", 200), ("down", 60)])
def test_celery_workers_that_are_recycled_every_ten_tasks_lose_nothing(  # noqa: PLR0917 - fixtures
    kafka_is: str, tasks: int, tmp_path: Path, embedded_bootstrap: str, topic: str, read_topic: ReadTopic
) -> None:
    (tmp_path / "tasks.py").write_text(TASKS)
    (tmp_path / "queue").mkdir()
    (tmp_path / "control").mkdir()
    address = embedded_bootstrap if kafka_is == "up" else NOWHERE
    environ = os.environ | {"COSTREAM_KAFKA_BOOTSTRAP_SERVERS": address, "COSTREAM_TOPIC_PREFIX": topic + "."}
    send = f"import tasks\nfor number in range({tasks}): tasks.call.delay(number)"
    subprocess.run([sys.executable, "-c", send], cwd=tmp_path, check=True, timeout=60)
    options = ["-P", "prefork", "-c", "4", "--max-tasks-per-child=10", "-l", "error", "--without-gossip"]
    command = [sys.executable, "-m", "celery", "-A", "tasks", "worker", *options, "--without-mingle"]
    worker = subprocess.Popen(command, cwd=tmp_path, env=environ)
    try:
        deadline = time.monotonic() + 120
        while any((tmp_path / "queue").iterdir()):
            assert time.monotonic() < deadline, "the tasks are not worked off"
            time.sleep(0.1)
        time.sleep(1)  # the last ones run
        worker.send_signal(signal.SIGTERM)
        worker.wait(60)
    finally:
        worker.kill()
        worker.wait()
    arrived = after_adopting(embedded_bootstrap, topic + ".usage.events", read_topic)
    assert arrived == {f"task-{number}" for number in range(tasks)}


@pytest.mark.parametrize("kafka_is", [pytest.param("up", marks=pytest.mark.slow), "down"])
def test_a_forked_child_that_ends_by_os_exit_right_after_its_call_loses_nothing(
    kafka_is: str, host: StartHost, embedded_bootstrap: str, topic: str, read_topic: ReadTopic
) -> None:
    script = """
import costream
for number in range(8):
    child = os.fork()
    if not child:
        costream.record(provider="openai", model="gpt-5", request_id=f"child-{number}")
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
"""
    address = embedded_bootstrap if kafka_is == "up" else NOWHERE
    environ = {"COSTREAM_KAFKA_BOOTSTRAP_SERVERS": address, "COSTREAM_TOPIC_PREFIX": topic + "."}
    status, _, err = host(script, **environ).ended()
    assert status == 0, err
    arrived = after_adopting(embedded_bootstrap, topic + ".usage.events", read_topic)
    assert arrived == {f"child-{number}" for number in range(8)}


def test_os_exit_in_a_process_that_recorded_nothing_is_the_interpreters_own(host: StartHost) -> None:
    script = """
import costream, time
began = time.monotonic()
child = os.fork()
if not child:
    os._exit(9)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
producer = UsageProducer(bootstrap_servers="127.0.0.1:1")
child = os.fork()
if not child:
    os._exit(9)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
assert time.monotonic() - began < 1
assert threading.active_count() == 1
os._exit(5)
"""
    assert host(script).ended()[0] == 5


def test_children_of_a_pool_deliver_before_they_end(
    host: StartHost, embedded_bootstrap: str, topic: str, read_topic: ReadTopic
) -> None:
    script = """
import multiprocessing, costream
def work(number):
    costream.record(provider="openai", model="gpt-5", request_id=f"pool-{number}")
pool = multiprocessing.get_context("fork").Pool(3, maxtasksperchild=10)
pool.map(work, range(60), chunksize=1)
pool.close()
pool.join()
"""
    environ = {"COSTREAM_KAFKA_BOOTSTRAP_SERVERS": embedded_bootstrap, "COSTREAM_TOPIC_PREFIX": topic + "."}
    status, _, err = host(script, **environ).ended()
    assert (status, err) == (0, "")
    arrived = keys(read_topic(embedded_bootstrap, topic + ".usage.events"))
    assert arrived == {f"pool-{number}" for number in range(60)}


# --- signals ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_handler_may_record_at_any_point_of_a_first_record_of_flush_stats_and_close(
    host: StartHost, embedded_bootstrap: str, topic: str, read_topic: ReadTopic
) -> None:
    script = """
import costream, itertools, random, time
from costream import producer as module
handled = itertools.count()
def handler(*_):
    costream.record(provider="openai", model="gpt-5", request_id=f"signal-{next(handled)}")
signal.signal(signal.SIGALRM, handler)
loops = 0
def loop(times, interval):
    global loops
    signal.setitimer(signal.ITIMER_REAL, random.uniform(0.00002, interval), interval)
    for _ in range(times):
        costream.record(provider="openai", model="gpt-5", request_id=f"loop-{loops}")
        loops += 1
        costream.stats()
    costream.flush(0.001)
for _ in range(25):  # each time a first record; some are closed while handlers go on recording to the next
    before = module._default.pop("default", None)
    loop(20, 0.0005)
    before.close(5) if before and random.random() < 0.2 else None
end = time.monotonic() + 1.5
while time.monotonic() < end:
    loop(500, 0.0003)
    time.sleep(0.02)
signal.setitimer(signal.ITIMER_REAL, 0)
assert costream.flush(20) == 0
say(f"{loops} {next(handled)}")
"""
    environ = {"COSTREAM_KAFKA_BOOTSTRAP_SERVERS": embedded_bootstrap, "COSTREAM_TOPIC_PREFIX": topic + "."}
    running = host(script, COSTREAM_QUEUE_EVENTS_MAX="500000", **environ)
    out = running.line()
    status, _, err = running.ended()
    assert status == 0, err
    assert "Traceback" not in err, err
    loops, handled = map(int, out.split())
    assert handled > 100
    arrived = after_adopting(embedded_bootstrap, topic + ".usage.events", read_topic)
    assert arrived == {f"loop-{n}" for n in range(loops)} | {f"signal-{n}" for n in range(handled)}


def test_recording_imports_nothing(host: StartHost) -> None:
    """An import in a caller's thread is an ImportError in the handler that interrupts it."""
    script = """
import builtins, costream
callers = threading.get_ident()
real = builtins.__import__
def watched(name, *args, **kwargs):
    if threading.get_ident() == callers:
        say(f"imported {name}")
    return real(name, *args, **kwargs)
builtins.__import__ = watched
costream.record(provider="openai", model="gpt-5", error=ValueError("no"), metadata={"a": [1]}, user_id=17)
costream.record(event("strict", 1))
costream.record(nonsense=1)
costream.stats()
costream.flush(0)
builtins.__import__ = real
say("end")
"""
    status, out, _ = host(script, COSTREAM_KAFKA_BOOTSTRAP_SERVERS=NOWHERE).ended()
    assert (status, out) == (0, "end\n")


# --- loggers and clocks of the host ----------------------------------------------------------------------------------

LOGGERS = {
    "raises": "raise OSError('the log server is away')",
    "ends the program": "sys.exit('the log server is away')",
    "is interrupted": "raise KeyboardInterrupt",
    "hangs": "threading.Event().wait(60)",
}


@pytest.mark.parametrize("fault", LOGGERS)
def test_a_log_handler_that_fails_ends_no_delivery(
    fault: str, host: StartHost, embedded_bootstrap: str, topic: str, read_topic: ReadTopic
) -> None:
    script = f"""
import logging, costream
class Broken(logging.Handler):
    called = 0
    def emit(self, record):
        Broken.called += 1
        {LOGGERS[fault]}
logging.getLogger().addHandler(Broken())
logging.getLogger().setLevel(logging.DEBUG)
producer = UsageProducer(bootstrap_servers=arg[0], topic=arg[1])
producer.record(nonsense=1)  # so that it has to complain
for number in range(500):
    producer.record(event("first", number))
assert producer.flush(20) == 0
for number in range(20):
    producer.record(event("second", number))
assert producer.flush(20) == 0
stats = producer.stats()
assert (stats.recorded, stats.delivered, stats.refused) == (521, 520, 1), stats
assert Broken.called
producer.close()
os._exit(0)  # logging itself waits at exit for a handler that hangs
"""
    status, _, err = host(textwrap.dedent(script), embedded_bootstrap, topic).ended()
    assert status == 0, err
    assert len(keys(read_topic(embedded_bootstrap, topic))) == 521  # with the report of the one that was refused


def test_what_is_lost_is_said_once_on_stderr_where_nobody_has_configured_logging(host: StartHost) -> None:
    script = """
import costream
for number in range(3):
    costream.record(provider="openai", model="gpt-5", input_tokens=-1)
costream.flush(5)
"""
    status, _, err = host(script, COSTREAM_KAFKA_BOOTSTRAP_SERVERS=NOWHERE).ended()
    refused = [line for line in err.splitlines() if "is refused" in line]
    assert (status, len(refused)) == (0, 1), err
    assert "input_tokens = -1" in refused[0]


@pytest.mark.parametrize("listener", ["logging.basicConfig(filename=os.devnull)", "log.setLevel(logging.CRITICAL)"])
def test_whoever_has_configured_logging_gets_nothing_on_stderr(host: StartHost, listener: str) -> None:
    script = f"""
import costream, logging
log = logging.getLogger("costream")
{listener}
costream.record(provider="openai", model="gpt-5", input_tokens=-1)
costream.flush(5)
"""
    assert host(script, COSTREAM_KAFKA_BOOTSTRAP_SERVERS=NOWHERE).ended() == (0, "", "")
