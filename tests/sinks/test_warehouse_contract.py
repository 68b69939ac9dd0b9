"""What the stream relies on, on the embedded engine and over HTTP alike."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import product
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sinks.clickhouse import state
from sinks.clickhouse.connect import ClickHouseAddress, Clients, open_client
from sinks.clickhouse.inserter import EngineInserter, ServerInserter
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.rows import MONEY, to_decimal
from sinks.clickhouse.writer import SPLIT_ROWS_MIN, Writer
from sinks.errors import RowCountMismatch, RowRefused, WarehouseRefused, WarehouseUnavailable
from tests.support.properties import examples
from tests.support.warehouse import Embedded, Server, both_ways, free_port
from tests.support.warehouse_rows import PICO, daily, events, hourly, this_hour, units, user_daily

INT64_MAX = 2**63 - 1


@pytest.fixture(scope="session", params=both_ways)
def one_database(request: pytest.FixtureRequest) -> ClickHouseAddress:
    """What the two ways to the engine could do differently is asked of both each time."""
    warehouse: Embedded | Server = request.getfixturevalue(request.param)
    return warehouse.fresh()


# --- writing ---------------------------------------------------------------------------------------------------------


def test_the_writer_returns_the_number_of_rows_that_are_then_there(writer: Writer, reader: Reader) -> None:
    frame = events([{"request_id": f"r-{i}"} for i in range(1_000)])
    assert writer.insert("usage_events", frame) == 1_000
    assert reader.frame("SELECT count() AS n FROM usage_events_rows")["n"].to_list() == [1_000]


def test_an_empty_frame_writes_nothing(writer: Writer) -> None:
    assert writer.insert("usage_events", events([{}]).clear()) == 0


def test_rows_of_one_key_are_each_counted_as_written(writer: Writer, reader: Reader) -> None:
    assert writer.insert("usage_events", events([{}, {}, {}])) == 3
    assert reader.frame("SELECT count() AS n FROM usage_events_rows FINAL")["n"].to_list() == [1]


def test_another_number_of_rows_than_sent_is_an_error_that_names_both(
    writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer._inserters.get(), "insert", lambda *_: 1)
    with pytest.raises(RowCountMismatch, match="of 2 rows sent to usage_events it reports 1 as written"):
        writer.insert("usage_events", events([{}, {"request_id": "r-2"}]))


def test_a_batch_inserted_twice_leaves_every_view_unchanged(writer: Writer, reader: Reader) -> None:
    frames = {
        "usage_events": events([{"request_id": f"r-{i}", "cost_pico": i, "user_id": "u-1"} for i in range(50)]),
        "usage_hourly": hourly([{"source_partition": i, "cost_pico": i, "calls": 3} for i in range(12)]),
        "usage_daily": daily([{"source_partition": i, "cost_pico": i, "calls": 3} for i in range(12)]),
        "usage_user_daily": user_daily([{"source_partition": i, "cost_pico": i} for i in range(12)]),
    }
    for table, frame in frames.items():
        writer.insert(table, frame)
    before = every_view(reader)
    for table, frame in frames.items():
        writer.insert(table, frame)
    assert every_view(reader) == before


def every_view(reader: Reader) -> dict[str, list[str]]:
    names = reader.frame(
        "SELECT name FROM system.tables WHERE database = currentDatabase() AND engine = 'View' ORDER BY name"
    )["name"].to_list()
    assert "usage_hourly" in names
    start, end = this_hour() - timedelta(days=7), this_hour() + timedelta(days=1)
    span = f"(from = '{start}', to = '{end}', zone = 'UTC', currency = 'USD')"
    asked = {name: f"{name}{span}" for name in names if name.endswith("_between")}
    asked["check_cost_threshold_between"] = f"check_cost_threshold_between(threshold = 1, {span[1:]}"
    asked["check_cost_threshold"] = "check_cost_threshold(threshold = 1)"
    asked["user_cost_summary"] = "user_cost_summary(user_id = 'u-1', period_hours = 24)"
    return {name: rows_but_for_the_time_of_storing(reader, asked.get(name, name)) for name in names}


def rows_but_for_the_time_of_storing(reader: Reader, view: str) -> list[str]:
    frame = reader.frame(f"SELECT * FROM {view}")
    return sorted(map(str, frame.drop("stored_at", "since", strict=False).rows()))


def test_a_later_state_of_a_row_wins_and_an_earlier_one_loses_in_any_order(writer: Writer, reader: Reader) -> None:
    for version, calls in ((5, 50), (9, 90), (7, 70)):
        writer.insert("usage_hourly", hourly([{"version": version, "calls": calls}]))
    assert reader.frame("SELECT calls FROM usage_hourly")["calls"].to_list() == [90]


# --- exactness -------------------------------------------------------------------------------------------------------


def test_the_smallest_amount_survives_and_unknown_stays_unknown(writer: Writer, reader: Reader) -> None:
    writer.insert(
        "usage_events", events([{"request_id": "small", "cost_pico": 1}, {"request_id": "x", "cost_pico": None}])
    )
    costs = reader.frame("SELECT request_id, cost_usd FROM usage_events_rows ORDER BY request_id")
    assert costs.rows() == [("small", PICO), ("x", None)]
    assert costs.schema["cost_usd"] == pl.Decimal(18, 12)


def test_a_reported_zero_is_not_unknown(writer: Writer, reader: Reader) -> None:
    writer.insert("usage_events", events([{"input_tokens": 0, "output_tokens": None, "cost_pico": 0}]))
    row = reader.frame("SELECT input_tokens, output_tokens, cost_usd, total_tokens FROM usage_events_rows").row(0)
    assert row == (0, None, Decimal(0), None)


def test_sums_wider_than_an_int64_of_picodollars_are_exact(writer: Writer, reader: Reader) -> None:
    writer.insert("usage_hourly", hourly([{"source_partition": p, "cost_pico": INT64_MAX} for p in range(40)]))
    total = reader.frame("SELECT cost_usd FROM usage_hourly")["cost_usd"][0]
    assert total == 40 * INT64_MAX * PICO


@given(amounts=st.lists(st.none() | st.integers(-INT64_MAX, INT64_MAX), max_size=20))
def test_picodollars_become_decimals_digit_for_digit(amounts: list[int | None]) -> None:
    series = pl.select(to_decimal(pl.lit(pl.Series(amounts, dtype=pl.Int64)))).to_series()
    assert series.dtype == MONEY
    assert series.to_list() == [None if amount is None else Decimal(amount).scaleb(-12) for amount in amounts]


def test_amounts_of_units_travel_in_two_halves_and_come_back_as_integers(writer: Writer, reader: Reader) -> None:
    given = {"images": Decimal(2), "audio_seconds": PICO, "gpu_hours": Decimal("999999999999999999.999999999999")}
    writer.insert("usage_hourly_units", units([{"quantities": given}, {"quantities": given, "source": "topic-2"}]))
    back = of_partition_0(reader, "usage_hourly_units", this_hour()).sort("unit")
    assert {back.schema[name] for name in ("amount_whole", "amount_pico")} == {pl.Int128()}
    assert back.select("unit", "amount_whole", "amount_pico").rows() == [
        ("audio_seconds", 0, 1),
        ("gpu_hours", 10**18 - 1, 10**12 - 1),
        ("images", 2, 0),
    ]


def test_a_list_of_price_versions_and_hostile_text_come_back_as_they_were(writer: Writer, reader: Reader) -> None:
    hostile = "'; DROP TABLE usage_events_rows; --\n\t\\ `é` 🤖"
    writer.insert("usage_events", events([{"request_id": hostile, "user_id": hostile}]))
    versions = pl.Series("price_versions", [["genai-prices 0.2.3", hostile]], dtype=pl.List(pl.String))
    writer.insert("usage_hourly", hourly([{}]).with_columns(versions))
    found = reader.frame("SELECT user_id FROM usage_events_rows WHERE request_id = {id:String}", id=hostile)
    assert found["user_id"].to_list() == [hostile]
    assert reader.frame("SELECT price_versions FROM usage_hourly_rows")["price_versions"].to_list() == [
        versions[0].to_list()
    ]


def test_times_come_back_as_aware_utc_to_the_millisecond(writer: Writer, reader: Reader) -> None:
    moment = this_hour() + timedelta(milliseconds=123)
    writer.insert("usage_events", events([{"occurred_at": moment}]))
    back = reader.frame("SELECT occurred_at, toStartOfHour(occurred_at) AS hour FROM usage_events_rows").row(0)
    assert back == (moment, this_hour())
    assert back[0].utcoffset() == timedelta(0)


# --- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sql", "code"), [("SELECT * FROM nowhere", 60), ("SELEC 1", 62), ("SELECT {missing:String}", 456)]
)
def test_a_wrong_statement_is_refused_with_the_engines_code(reader: Reader, sql: str, code: int) -> None:
    with pytest.raises(WarehouseRefused) as refused:
        reader.frame(sql)
    assert refused.value.code == code


def test_a_frame_that_does_not_fit_the_table_is_refused_and_stores_nothing(writer: Writer, reader: Reader) -> None:
    with pytest.raises(WarehouseRefused):
        writer.insert("usage_events", events([{}]).with_columns(surprise=pl.lit(1)))
    assert reader.frame("SELECT count() AS n FROM usage_events_rows")["n"].to_list() == [0]


@pytest.mark.slow
def test_a_value_that_does_not_fit_is_refused_with_its_row_named_and_the_next_is_stored(
    writer: Writer, reader: Reader
) -> None:
    frame = events([{"request_id": f"r-{i}"} for i in range(300_000)])
    broken = frame.with_columns(
        price_rev=pl.when(pl.int_range(pl.len()) < 299_999).then(pl.lit("1")).otherwise(pl.lit("x"))
    )
    with pytest.raises(RowRefused, match="r-299999"):
        writer.insert("usage_events", broken)
    stored = reader.frame("SELECT countIf(request_id = 'r-299999') AS refused FROM usage_events_rows")
    assert stored["refused"].to_list() == [0]
    assert writer.insert("usage_events", events([{}])) == 1


def test_a_writer_into_a_missing_database_is_refused_with_the_remedy(address: ClickHouseAddress) -> None:
    with (
        closing(Writer(address.with_database("never_created"))) as writer,
        pytest.raises(WarehouseRefused, match="costream migrate up"),
    ):
        writer.insert("usage_events", events([{}]))


def test_what_is_left_open_of_the_engine_is_closed_before_the_process_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker whose handle was still open crashed at its end, every other time."""
    closed: list[str] = []
    monkeypatch.setattr("chdb.connect", lambda folder: SimpleNamespace(close=lambda: closed.append(folder)))
    inserter = EngineInserter(ClickHouseAddress("chdb:///nowhere"))
    assert not closed
    del inserter
    assert [opened.partition("?")[0] for opened in closed] == ["/nowhere"]


def test_a_missing_database_is_refused_with_the_remedy(address: ClickHouseAddress) -> None:
    with pytest.raises(WarehouseRefused, match="costream migrate up"):
        open_client(address.with_database("never_created"))


def test_nobody_listening_is_unavailable_and_the_next_attempt_connects_anew() -> None:
    clients = Clients(ClickHouseAddress(f"http://127.0.0.1:{free_port()}"))
    for _ in range(2):
        with pytest.raises(WarehouseUnavailable, match="does not answer"), clients.use():
            raise AssertionError("there is no client to use")


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", WarehouseUnavailable),
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", WarehouseUnavailable),
        ("HTTP/1.1 500 Error\r\nX-ClickHouse-Exception-Code: 202\r\nContent-Length: 0\r\n\r\n", WarehouseUnavailable),
        ("HTTP/1.1 500 Error\r\nX-ClickHouse-Exception-Code: 62\r\nContent-Length: 0\r\n\r\n", WarehouseRefused),
        ("", WarehouseUnavailable),
    ],
)
def test_what_answers_decides_whether_it_is_worth_repeating(answer: str, error: type[Exception]) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        threading.Thread(target=answer_every, args=(server, answer.encode()), daemon=True).start()
        with pytest.raises(error):
            open_client(ClickHouseAddress(f"http://127.0.0.1:{server.getsockname()[1]}"))


def answer_every(server: socket.socket, answer: bytes) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        with connection:
            connection.recv(65_536)
            connection.sendall(answer)


@pytest.mark.parametrize(
    "build",
    [
        lambda: ClickHouseAddress("localhost:8123"),
        lambda: ClickHouseAddress("http://"),
        lambda: ClickHouseAddress("chdb://"),
        lambda: ClickHouseAddress("http://localhost:8123", database="default"),
    ],
)
def test_an_address_that_names_no_place_is_refused_when_it_is_made(build: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match=r"write|neither|name"):
        build()


def test_an_address_does_not_show_its_password() -> None:
    assert "secret" not in repr(ClickHouseAddress("http://localhost:8123", password="secret"))


# --- what keeps rows from being stored -------------------------------------------------------------------------------

# How a table is made, and where its engine fails once it has read every row that it was sent.
SINK_FAULTS = {
    "a violated constraint": ("(n UInt32, CONSTRAINT small CHECK n < 900) ENGINE = MergeTree ORDER BY n", 469),
    "a failing column": ("(n UInt32, m UInt8 MATERIALIZED throwIf(n = 999)) ENGINE = MergeTree ORDER BY n", 395),
    "no room left": (
        "(n UInt32) ENGINE = MergeTree ORDER BY n"
        " SETTINGS min_free_disk_bytes_to_perform_insert = 1000000000000000",  # more than any disk has
        243,
    ),
    "too many parts": ("(n UInt32) ENGINE = MergeTree ORDER BY n SETTINGS parts_to_throw_insert = 1", 252),
    "memory": ("(n UInt32) ENGINE = MergeTree ORDER BY n", 241),
}
TO_BE_WAITED_OUT = ("no room left", "too many parts", "memory")


@pytest.mark.parametrize("fault", SINK_FAULTS)
def test_rows_that_the_engine_could_not_store_are_an_error_and_the_same_batch_is_stored_once_it_can(
    address: ClickHouseAddress, writer: Writer, reader: Reader, fault: str
) -> None:
    definition, code = SINK_FAULTS[fault]
    client = open_client(address)
    for sql in ("DROP TABLE IF EXISTS faulty_rows", f"CREATE TABLE faulty_rows {definition}"):
        client.command(sql)
    if fault == "too many parts":
        client.command("SYSTEM STOP MERGES")
        client.command("INSERT INTO faulty_rows SELECT 1000")
    before = count_of(reader, "faulty_rows")
    rows = SPLIT_ROWS_MIN if fault == "memory" else 1_000  # more of them would go in by halves
    frame = pl.DataFrame({"n": pl.Series(range(rows), dtype=pl.UInt32)})
    if fault == "memory":
        bound_memory(writer, "1")
    with pytest.raises(WarehouseUnavailable if fault in TO_BE_WAITED_OUT else WarehouseRefused, match=f"Code: {code}"):
        writer.insert("faulty", frame)
    left = 900 if fault == "a violated constraint" else before  # those before the row that is named
    assert count_of(reader, "faulty_rows") == left
    if fault == "memory":
        bound_memory(writer, "0")
    else:
        client.command("DROP TABLE faulty_rows")
        client.command("CREATE TABLE faulty_rows (n UInt32) ENGINE = MergeTree ORDER BY n")
    client.command("SYSTEM START MERGES")
    assert writer.insert("faulty", frame) == count_of(reader, "faulty_rows") == rows
    client.command("DROP TABLE faulty_rows")
    client.close()


def test_an_insert_of_more_partitions_than_the_engine_takes_at_once_goes_in_by_halves(
    address: ClickHouseAddress, writer: Writer, reader: Reader
) -> None:
    client = open_client(address)
    client.command("CREATE TABLE spread_rows (n UInt32) ENGINE = MergeTree PARTITION BY n ORDER BY n")
    frame = pl.DataFrame({"n": pl.Series(range(250), dtype=pl.UInt32)})
    assert writer.insert("spread", frame) == count_of(reader, "spread_rows") == 250
    client.command("DROP TABLE spread_rows")
    client.close()


def count_of(reader: Reader, table: str) -> int:
    return int(reader.frame(f"SELECT count() AS n FROM {table}").item())


def bound_memory(writer: Writer, limit_bytes: str) -> None:
    """What one insert of this thread may take; 0 is no bound."""
    inserter = writer._inserters.get()
    if isinstance(inserter, EngineInserter):
        inserter._handle.query(f"SET max_memory_usage = {limit_bytes}, max_untracked_memory = 1")
    else:
        assert isinstance(inserter, ServerInserter)
        for name, value in (("max_memory_usage", limit_bytes), ("max_untracked_memory", "1")):
            inserter._client.set_client_setting(name, value)


# --- threads ---------------------------------------------------------------------------------------------------------


def test_threads_write_and_read_at_once_and_nothing_is_lost(writer: Writer, reader: Reader) -> None:
    def insert(worker: int) -> int:
        return sum(
            writer.insert("usage_events", events([{"request_id": f"{worker}-{batch}-{i}"} for i in range(20)]))
            for batch in range(5)
        )

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(insert, range(4))) == 400
        counts = list(
            pool.map(lambda _: reader.frame("SELECT count() AS n FROM usage_events_rows FINAL")["n"][0], range(4))
        )
    assert counts == [400] * 4


# --- what is read back -----------------------------------------------------------------------------------------------

IDS = [f"id-{i}" for i in range(200)] + ["é", "🤖🤖", "日本語", "with 'quotes' and \\", "\u00a0"]


def home(request_id: str, partitions: int) -> int:
    """Kafka's default partitioner: toPositive(murmur2(key)) % partitions, written down anew to compare with."""
    return (murmur2(request_id.encode()) & 0x7FFFFFFF) % partitions


def murmur2(key: bytes) -> int:
    m, mask = 0x5BD1E995, 0xFFFFFFFF
    h = 0x9747B28C ^ len(key)
    for at in range(0, len(key) // 4 * 4, 4):
        k = int.from_bytes(key[at : at + 4], "little") * m & mask
        h = (h * m & mask) ^ ((k ^ k >> 24) * m & mask)
    tail = key[len(key) // 4 * 4 :]
    if tail:
        h = (h ^ int.from_bytes(tail, "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    return h ^ h >> 15


def test_the_engine_gives_every_key_the_home_that_kafka_gives_it(reader: Reader) -> None:
    @examples(60)
    @given(keys=st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=128), max_size=30))
    def check(keys: list[str]) -> None:
        frame = reader.frame("SELECT kafkaMurmurHash(arrayJoin({keys:Array(String)})) AS hash", keys=keys)
        assert frame["hash"].to_list() == [murmur2(key.encode()) & 0x7FFFFFFF for key in keys]

    check()


def test_recent_ids_are_those_at_home_in_the_partitions_and_those_read_from_them(
    writer: Writer, reader: Reader
) -> None:
    rows = [{"request_id": name, "source": "old topic", "source_partition": 5} for name in IDS]
    stray = next(name for name in (f"stray-{i}" for i in range(99)) if home(name, 6) not in (1, 2))
    rows.append({"request_id": stray, "source": "topic-1", "source_partition": 2})
    writer.insert("usage_events", events(rows))
    found = pl.concat(
        state.recent_ids(
            reader, partitions=[1, 2], partition_count=6, source="topic-1", since=this_hour() - timedelta(days=7)
        )
    )
    assert set(found["request_id"]) == {name for name in IDS if home(name, 6) in (1, 2)} | {stray}


def test_recent_ids_come_once_each_in_blocks_of_whole_hours_from_the_moment_asked_for(
    writer: Writer, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state, "BLOCK_ROWS_MAX", 5)
    at = [this_hour() - timedelta(hours=i % 4, milliseconds=-i) for i in range(16)]
    frame = events([{"request_id": f"r-{i}", "occurred_at": at[i]} for i in range(16)])
    writer.insert("usage_events", frame)
    writer.insert("usage_events", frame)
    since = this_hour() - timedelta(hours=2)
    blocks = list(state.recent_ids(reader, partitions=[0], partition_count=1, source="x", since=since))
    assert len(blocks) > 1
    found = pl.concat(blocks)
    assert sorted(found["request_id"]) == sorted(f"r-{i}" for i in range(16) if at[i] >= since)
    starts = [block["occurred_at"].dt.truncate("1h").min() for block in blocks]
    assert starts == sorted(starts)


def test_an_event_read_back_has_the_streams_own_types_and_values(writer: Writer, reader: Reader) -> None:
    moment = this_hour() + timedelta(milliseconds=7)
    row = {
        "occurred_at": moment,
        "reported_cost_pico": 1,
        "revenue_pico": None,
        "duration_ms": 12,
        "cache_read_tokens": 3,
        "quantities": '{"images":"1"}',
        "source_offset": 2**40,
    }
    writer.insert("usage_events", events([row]))
    frame = state.stored_ids(reader, request_ids=["r-1", "r-2"], hours=[moment])
    assert frame.schema["occurred_at"] == pl.Datetime("ms", "UTC")
    assert {frame.schema[name] for name in ("reported_cost_pico", "source_offset", "input_tokens")} == {pl.Int64()}
    stored = frame.row(0, named=True)
    assert {name: stored[name] for name in row} == row
    assert (stored["input_tokens"], stored["reasoning_tokens"]) == (100, None)


def test_stored_ids_looks_only_into_the_hours_asked_for_however_many_ids(writer: Writer, reader: Reader) -> None:
    names = [f"{i:05d}" + "x" * 100 for i in range(2_000)]  # more than one question's worth of bytes
    before = this_hour() - timedelta(hours=1)
    writer.insert("usage_events", events([{"request_id": name} for name in names]))
    writer.insert("usage_events", events([{"request_id": names[0], "occurred_at": before, "cost_pico": 5}]))
    found = state.stored_ids(reader, request_ids=names, hours=[this_hour() + timedelta(minutes=59)])
    assert sorted(found["request_id"]) == names
    assert state.stored_ids(reader, request_ids=[names[0]], hours=[before])["request_id"].to_list() == [names[0]]
    assert state.stored_ids(reader, request_ids=[], hours=[before]).is_empty()


def test_rollup_rows_read_back_are_the_latest_of_these_partitions_and_hours_alone(
    writer: Writer, reader: Reader
) -> None:
    now = this_hour()
    rows = [
        {"version": 3, "cost_pico": 30},
        {"version": 4, "cost_pico": 2**70},
        {"source_partition": 1, "cost_pico": 7},
        {"source": "topic-2", "cost_pico": 7},
        {"hour": now - timedelta(hours=1), "cost_pico": 7},
    ]
    writer.insert("usage_hourly", hourly(rows))
    found = of_partition_0(reader, "usage_hourly", now)
    assert found.select("hour", "source_partition", "version", "cost_pico").rows() == [(now, 0, 4, 2**70)]
    assert found.schema["cost_pico"] == pl.Int128
    assert of_partition_0(reader, "usage_hourly").is_empty()


def of_partition_0(reader: Reader, table: str, *buckets: Any) -> pl.DataFrame:
    """The rows of these hours, days or blocks, as a worker reads them back."""
    return state.rollup_rows(
        reader, state.ROLLUPS[table], source="topic-1", partitions=[0], buckets=buckets, limit=1_000
    )


NAMES = ("it's", 'a"b', "back\\slash", "tab\tline", "ü🙂", "[1,'2')", "")


def test_rollup_rows_are_found_by_their_keys_whatever_these_are_called(writer: Writer, reader: Reader) -> None:
    now, before = this_hour(), this_hour() - timedelta(hours=1)
    rows = [
        {"hour": hour, "model": name, "feature": name, "source_partition": partition, "calls": calls}
        for calls, (hour, name, partition) in enumerate(product((now, before), NAMES, (0, 1)))
    ]
    units_of = [row | {"quantities": {"images": Decimal(row["calls"]), "gpu_hours": PICO}} for row in rows]
    writer.insert("usage_hourly", hourly([*rows, rows[0] | {"source": "other", "calls": 77}]))
    writer.insert("usage_hourly_units", units(units_of))
    for table in ("usage_hourly", "usage_hourly_units"):
        spec = state.ROLLUPS[table]
        asked = {"source": "topic-1", "partitions": [0, 1], "buckets": [now, before]}
        stored = state.rollup_rows(reader, spec, limit=1_000, **asked)
        assert state.rollup_rows(reader, spec, limit=3, **asked).height == 3
        keys = stored.select("source_partition", spec.bucket, *spec.labels)
        assert pl.concat(state.rollup_keys(reader, spec, **asked)).sort(pl.all()).rows() == (
            keys.select(spec.bucket, *spec.labels, "source_partition").sort(pl.all()).rows()
        )
        some = keys.filter((pl.col("hour") == now) == (pl.col("source_partition") == 0))
        found = state.rollup_rows_of(reader, spec, source="topic-1", keys=some)
        by = keys.columns
        assert found.sort(by).equals(stored.join(some, on=by, how="semi").sort(by))
        assert some.height < stored.height


def test_rows_of_more_keys_than_one_question_takes_are_found(
    writer: Writer, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Days and users in lists of several parameters and questions; blocks of offsets in none that is quoted."""
    monkeypatch.setattr(state, "KEY_BYTES_MAX", 200)
    monkeypatch.setattr(state, "PARTS_MAX", 2)
    monkeypatch.setattr(state, "VALUES_MAX", 2)
    today = this_hour().date()
    days = [today, today - timedelta(days=1), today - timedelta(days=2)]
    rows = [{"day": day, "user_id": f"u'{n}\\", "source_partition": n % 2} for day in days for n in range(20)]
    writer.insert("usage_user_daily", user_daily(rows))
    keys = pl.DataFrame(rows[::2], schema_overrides={"source_partition": pl.Int64})
    found = state.rollup_rows_of(reader, state.ROLLUPS["usage_user_daily"], source="topic-1", keys=keys)
    assert found.select(keys.columns).sort(pl.all()).equals(keys.sort(pl.all()))
    blocks = {"source": "topic-1", "source_partition": 0, "offset_block": range(30), "received": 7, "version": 1}
    writer.insert("ingest_ledger", pl.DataFrame(blocks, strict=False))
    places = pl.DataFrame({"offset_block": [3, 4, 29, 77], "source_partition": 0})
    found = state.rollup_rows_of(reader, state.ROLLUPS["ingest_ledger"], source="topic-1", keys=places)
    assert sorted(found["offset_block"]) == [3, 4, 29]


def test_user_rows_and_the_ledger_read_back_by_partition(writer: Writer, reader: Reader) -> None:
    today = this_hour().date()
    writer.insert("usage_user_daily", user_daily([{"version": 2, "cost_pico": 9}, {"source_partition": 1}]))
    users = of_partition_0(reader, "usage_user_daily", today)
    assert users.select("day", "user_id", "cost_pico", "version").rows() == [(today, "u-1", 9, 2)]
    blocks = {"source": "topic-1", "source_partition": 0, "offset_block": [4, 5], "received": [10, 20], "version": 1}
    writer.insert("ingest_ledger", pl.DataFrame(blocks))
    every = of_partition_0(reader, "ingest_ledger", 4, 5).sort("offset_block")
    assert every.select("offset_block", "received").rows() == [(4, 10), (5, 20)]
    assert of_partition_0(reader, "ingest_ledger", 5)["received"].to_list() == [20]
    assert of_partition_0(reader, "ingest_ledger").is_empty()


def test_original_bytes_of_a_dead_letter_survive(writer: Writer, reader: Reader) -> None:
    value = bytes(range(256))
    row = {"source": ["t"], "source_partition": [0], "source_offset": [1], "value": [value]}
    at = pl.Series("received_at", [datetime.now(UTC)], dtype=pl.Datetime("ms", "UTC"))
    writer.insert("dead_letters", pl.DataFrame(row).with_columns(at))
    assert reader.frame("SELECT hex(value) AS value FROM dead_letters_rows")["value"].to_list() == [value.hex().upper()]


def test_a_frame_in_pieces_keeps_each_rows_names(writer: Writer, reader: Reader) -> None:
    """Columns of few values travel as dictionaries, and each piece of a frame could have had one of its own."""
    pieces = [
        events([{"request_id": f"{model}-{n}", "model": model, "team": team} for n in range(3)])
        for model, team in (("b", ""), ("a", "x"), ("ü", "y"))
    ]
    frame = pl.concat(pieces, rechunk=False)
    assert frame.n_chunks() == 3
    assert writer.insert("usage_events", frame) == 9
    stored = reader.frame("SELECT request_id, model, team FROM usage_events_rows FINAL ORDER BY request_id").rows()
    teams = {"b": "", "a": "x", "ü": "y"}
    assert stored == sorted((f"{model}-{n}", model, team) for model, team in teams.items() for n in range(3))
