"""The home of an id is where Kafka's own default partitioner would send it, so that everybody agrees."""

from __future__ import annotations

import polars as pl
from confluent_kafka import Consumer, Producer, TopicPartition
from hypothesis import example, given
from hypothesis import strategies as st

from stream.dedup.home import home_partitions, murmur2
from stream.up.broker import EmbeddedBroker
from tests.support.ingest import Warehouse
from tests.support.properties import examples
from tests.support.records import until

PARTITIONS = 7
# As org.apache.kafka.common.utils.UtilsTest has them, in its signed 32 bits.
APACHE_KAFKA = {
    "21": -973932308,
    "foobar": -790332482,
    "a-little-bit-long-string": -985981536,
    "a-little-bit-longer-string": -1486304829,
    "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    "abc": 479470107,
}


def reference(data: bytes) -> int:
    """murmur2 as Apache Kafka has it, one byte after the other."""
    mask, multiplier = 0xFFFFFFFF, 0x5BD1E995
    value = 0x9747B28C ^ len(data)
    for at in range(0, len(data) // 4 * 4, 4):
        word = int.from_bytes(data[at : at + 4], "little") * multiplier & mask
        word = (word ^ word >> 24) * multiplier & mask
        value = (value * multiplier & mask) ^ word
    tail = data[len(data) // 4 * 4 :]
    if tail:
        value = (value ^ int.from_bytes(tail, "little")) * multiplier & mask
    value = (value ^ value >> 13) * multiplier & mask
    return value ^ value >> 15


def test_the_vectors_of_apache_kafka_come_out() -> None:
    hashes = murmur2(pl.Series(list(APACHE_KAFKA))).tolist()
    assert hashes == [value & 0xFFFFFFFF for value in APACHE_KAFKA.values()]


@examples(200)
@given(st.lists(st.text(max_size=40), max_size=30))
@example([])
@example([""])
@example(["é", "\x00", "😀", "x" * 128])
def test_a_whole_column_hashes_as_each_of_its_texts_alone(texts: list[str]) -> None:
    expected = [reference(text.encode()) for text in texts]
    assert murmur2(pl.Series(texts, dtype=pl.String)).tolist() == expected


def test_a_slice_or_a_column_in_pieces_hashes_its_own_texts() -> None:
    column = pl.Series(["aaa", "b", "cc", "dddd", "e"])
    assert murmur2(column[2:4]).tolist() == [reference(b"cc"), reference(b"dddd")]
    pieces = pl.concat([column[3:], column[:1]], rechunk=False)
    assert murmur2(pieces).tolist() == [reference(text.encode()) for text in pieces]


def test_librdkafka_sends_each_id_to_its_home() -> None:
    ids = [f"{at}-{'é' * (at % 5)}" for at in range(500)]
    with EmbeddedBroker({"homes": PARTITIONS}) as broker:
        producer = Producer({"bootstrap.servers": broker.bootstrap_servers, "partitioner": "murmur2_random"})
        for request_id in ids:
            producer.produce("homes", key=request_id)
        assert producer.flush(20) == 0
        found = read_keys(broker.bootstrap_servers, count=len(ids))
    homes = home_partitions(pl.Series(ids), PARTITIONS).tolist()
    assert found == {request_id.encode(): home for request_id, home in zip(ids, homes, strict=True)}
    assert set(homes) == set(range(PARTITIONS))


def read_keys(bootstrap_servers: str, *, count: int) -> dict[bytes, int]:
    """The partition of every key on the topic."""
    consumer = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": "homes", "enable.auto.commit": False})
    consumer.assign([TopicPartition("homes", partition, 0) for partition in range(PARTITIONS)])
    found: dict[bytes, int] = {}

    def all_read() -> bool:
        messages = consumer.consume(1_000, timeout=0.2)
        found.update({message.key(): message.partition() for message in messages if not message.error()})
        return len(found) == count

    until(all_read, "every record was read")
    consumer.close()
    return found


def test_clickhouse_reads_an_id_back_by_the_same_home(warehouse: Warehouse) -> None:
    ids = [f"request-{at}-{'ü' * (at % 6)}" for at in range(300)]
    sql = "SELECT toInt64(kafkaMurmurHash(arrayJoin({ids:Array(String)})) % 12) AS home"
    assert warehouse.reader.frame(sql, ids=ids)["home"].to_list() == home_partitions(pl.Series(ids), 12).tolist()
