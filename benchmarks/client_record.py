"""What record() costs the caller: p50, p99 and the longest call, with Kafka up (embedded) and down.

    python benchmarks/client_record.py [--events 100000] [--rate 0]

Each call is timed on its own, in the thread of a host that builds the event just before and does nothing else (--rate
0: as fast as it can; else so many a second). The timer's own cost, about 0.05 us, is in the figures.
"""

from __future__ import annotations

import argparse
import tempfile
import time

from confluent_kafka import Producer

from costream import ProducerStats, UsageEvent, UsageProducer

WARM_UP = 1_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--rate", type=int, default=0, help="events a second; 0 is no pause")
    options = parser.parse_args()
    embedded = Producer({"bootstrap.servers": "none", "test.mock.num.brokers": 1, "log_level": 0})
    (broker,) = embedded.list_topics(timeout=10).brokers.values()
    print(f"{options.events:,} events of {len(an_event(0).to_json())} bytes, rate {options.rate or 'unlimited'}")
    print(f"{'Kafka':<6}{'p50 us':>9}{'p99 us':>9}{'p99.9 us':>10}{'max us':>10}{'close s':>9}  what became of them")
    for name, address in (("up", f"{broker.host}:{broker.port}"), ("down", "127.0.0.1:1")):
        calls, close_s, stats = measure(options.events, address, options.rate)
        calls.sort()
        p50, p99, p999 = (calls[int(len(calls) * share)] / 1_000 for share in (0.5, 0.99, 0.999))
        print(
            f"{name:<6}{p50:>9.1f}{p99:>9.1f}{p999:>10.1f}{calls[-1] / 1_000:>10.0f}{close_s:>9.2f}  {in_words(stats)}"
        )


def an_event(number: int) -> UsageEvent:
    return UsageEvent.create(
        provider="openai",
        model="gpt-5",
        feature="chatbot",
        task_type="answer",
        user_id=f"user-{number % 1_000}",
        team="growth",
        environment="prod",
        metadata={"parent_id": f"http-{number}"},
        duration_ms=812,
        input_tokens=1_200,
        output_tokens=300,
        cache_read_tokens=1_000,
    )


def measure(events: int, address: str, rate: int) -> tuple[list[int], float, ProducerStats]:
    calls = []
    with tempfile.TemporaryDirectory() as spool_dir:
        producer = UsageProducer(bootstrap_servers=address, spool_dir=spool_dir)
        for number in range(WARM_UP):
            producer.record(an_event(number))
        producer.flush(10)
        next_at = time.perf_counter()
        for number in range(events):
            event = an_event(number)
            began = time.perf_counter_ns()
            producer.record(event)
            calls.append(time.perf_counter_ns() - began)
            if rate:
                next_at += 1 / rate
                time.sleep(max(0.0, next_at - time.perf_counter()))
        began_close = time.perf_counter()
        producer.close(30)
        close_s = time.perf_counter() - began_close
    return calls, close_s, producer.stats()


def in_words(stats: ProducerStats) -> str:
    return f"{stats.delivered:,} delivered, {stats.spool_rows:,} on disk, {stats.dropped:,} dropped"


if __name__ == "__main__":
    main()
