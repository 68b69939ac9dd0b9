"""How old an event has to be to outlive its process: ``python -m tests.producers.durable``.

Processes record one event, or a steady stream of them, and kill themselves by SIGKILL at random moments after the last
one. What has reached Kafka by then, or the disk, is safe. Printed, for each way of recording and for Kafka up, away and
silent: the age of the oldest event that was lost. It starts some hundred processes: a few minutes.
"""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path
from typing import Final

from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

from costream import UsageProducer

RUNS: Final = 40
ONE: Final = """
import costream, os, signal, sys, time
wait, name, count = float(sys.argv[1]), sys.argv[2], int(sys.argv[3])
at = {}
for number in range(count):
    costream.record(provider="p", model="m", request_id=f"{name}-{number}")
    at[number] = time.monotonic()
    time.sleep(0.005)
time.sleep(wait)
end = time.monotonic()
print(" ".join(f"{name}-{number}:{(end - moment) * 1000:.0f}" for number, moment in at.items()), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def killed(name: str, wait: float, count: int, environ: dict[str, str]) -> dict[str, int]:
    """The ages in ms that its events had when the process was killed."""
    command = [sys.executable, "-c", ONE, str(wait), name, str(count)]
    done = subprocess.run(command, env=os.environ | environ, capture_output=True, text=True, check=False, timeout=60)
    return {key: int(age) for key, age in (pair.split(":") for pair in done.stdout.split())}


def safe(bootstrap: str, topic: str, spool: Path) -> set[str]:
    with UsageProducer(bootstrap_servers=bootstrap, topic=topic, spool_dir=spool) as next_one:
        next_one.record(provider="p", model="m", request_id="next")
        next_one.close(60)
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": uuid.uuid4().hex, "log_level": 0})
    partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
    spans = [TopicPartition(topic, one, OFFSET_BEGINNING) for one in partitions]
    total = sum(high - low for low, high in (consumer.get_watermark_offsets(span) for span in spans))
    consumer.assign(spans)
    found = {consumer.poll(10).key().decode() for _ in range(total)}
    consumer.close()
    return found


def oldest_lost_ms(bootstrap: str, kafka: str, count: int, waits_s: float) -> tuple[int, int, int]:
    topic = f"durable.{uuid.uuid4().hex[:8]}.usage.events"
    with tempfile.TemporaryDirectory() as folder:
        spool = Path(folder) / "spool"
        environ = {
            "COSTREAM_KAFKA_BOOTSTRAP_SERVERS": kafka,
            "COSTREAM_TOPIC_PREFIX": topic.removesuffix("usage.events"),
            "COSTREAM_SPOOL_DIR": str(spool),
        }
        ages: dict[str, int] = {}
        for number in range(RUNS):
            ages |= killed(f"run{number}", random.uniform(0, waits_s), count, environ)
        lost = (
            [age for key, age in ages.items() if key not in safe_now]
            if (safe_now := safe(bootstrap, topic, spool))
            else []
        )
    return max(lost, default=0), len(lost), len(ages)


def main() -> None:
    owner = Producer({"bootstrap.servers": "none", "test.mock.num.brokers": 1, "log_level": 0})
    (broker,) = owner.list_topics(timeout=10).brokers.values()
    bootstrap = f"{broker.host}:{broker.port}"
    with socket.socket() as silent:  # takes connections and says nothing
        silent.bind(("127.0.0.1", 0))
        silent.listen(1_000)
        kafkas = {"up": bootstrap, "away": "127.0.0.1:1", "silent": f"127.0.0.1:{silent.getsockname()[1]}"}
        for kafka, address in kafkas.items():
            for count, kind in ((1, "the first event of a process"), (200, "200 events a second")):
                age, lost, of = oldest_lost_ms(bootstrap, address, count, 0.15)
                sys.stdout.write(f"Kafka {kafka:6} {kind:28}: {lost} of {of} lost, the oldest {age} ms old\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main()
