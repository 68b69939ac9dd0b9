"""The limit: fetch and decode JSON to a dict, and nothing else. By aiokafka, and by librdkafka (confluent-kafka).

python -m benchmarks.raw aiokafka|confluent BOOTSTRAP TOPIC GROUP SECONDS EVENTS
"""

from __future__ import annotations

import sys

import msgspec
import uvloop
from aiokafka import AIOKafkaConsumer
from confluent_kafka import Consumer

from benchmarks.stopwatch import Stopwatch

FETCH_MAX = 10_000


async def by_aiokafka(bootstrap_servers: str, topic: str, group: str, watch: Stopwatch) -> None:
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=bootstrap_servers, group_id=group, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        over = False
        while not over:
            fetched = await consumer.getmany(timeout_ms=1_000, max_records=FETCH_MAX)
            events = [msgspec.json.decode(record.value) for records in fetched.values() for record in records]
            over = bool(events) and watch.tick(len(events))
    finally:
        await consumer.stop()


def by_confluent(bootstrap_servers: str, topic: str, group: str, watch: Stopwatch) -> None:
    consumer = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": group, "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    try:
        over = False
        while not over:
            events = [
                msgspec.json.decode(message.value() or b"") for message in consumer.consume(FETCH_MAX, timeout=0.5)
            ]
            over = bool(events) and watch.tick(len(events))
    finally:
        consumer.close()


if __name__ == "__main__":
    client, address, name, consumer_group, seconds, count = sys.argv[1:]
    stopwatch = Stopwatch(seconds=float(seconds), events=int(count))
    if client == "aiokafka":
        uvloop.run(by_aiokafka(address, name, consumer_group, stopwatch))
    else:
        by_confluent(address, name, consumer_group, stopwatch)
    print(stopwatch.result())
