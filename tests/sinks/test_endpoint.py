"""The embedded engine over HTTP: what it serves, whom it admits, what it never does, and that a kill costs nothing."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import http.client
import json
import re
import socket
import subprocess
import threading
import time
import zlib
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlencode

import lz4.frame
import pytest
import zstandard
from aiohttp import web

from sinks.clickhouse.asking import ask
from sinks.clickhouse.connect import ClickHouseAddress, open_client
from sinks.clickhouse.embedded import blocks, endpoint, guard
from sinks.clickhouse.embedded.endpoint import Tokens, serve
from sinks.clickhouse.embedded.requests import INSERT_WITH_DATA, read_vocabulary
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.writer import Writer
from sinks.errors import EndpointNotStarted, WarehouseRefused, WarehouseUnavailable
from tests.support.databases import migrated
from tests.support.warehouse import Endpoint
from tests.support.warehouse_rows import events

WRITE, READ = "write-me", "read-me"


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """An endpoint with both passwords, a database and one event in it."""
    with Endpoint(tmp_path_factory.mktemp("locked"), write_token=WRITE, read_token=READ) as endpoint:
        address = migrated(endpoint.address("costream"))
        writer = Writer(address)
        writer.insert("usage_events", events([{}]))
        writer.close()
        yield endpoint


Answer = tuple[int, bytes, http.client.HTTPMessage]


def call(
    endpoint: Endpoint,
    body: bytes = b"",
    *,
    method: str = "POST",
    token: str = WRITE,
    headers: dict[str, str] | None = None,
    **parameters: str,
) -> Answer:
    """One bare HTTP request, as curl would send it."""
    connection = http.client.HTTPConnection("127.0.0.1", endpoint.port, timeout=30)
    connection.request(
        method, "/?" + urlencode(parameters), body=body, headers={"X-ClickHouse-Key": token} | (headers or {})
    )
    response = connection.getresponse()
    answer = response.status, response.read(), response.headers
    connection.close()
    return answer


def code(answer: Answer) -> int:
    return int(answer[2]["X-ClickHouse-Exception-Code"])


# --- the protocol ----------------------------------------------------------------------------------------------------


def test_it_answers_as_curl_expects(locked: Endpoint) -> None:
    status, body, headers = call(locked, b"SELECT 1 AS a, 'x' AS b FORMAT JSONEachRow")
    assert (status, body) == (200, b'{"a":1,"b":"x"}\n')
    assert headers["X-ClickHouse-Format"] == "JSONEachRow"
    assert call(locked, method="GET", query="SELECT 42")[:2] == (200, b"42\n")
    assert call(locked)[:2] == (200, b"Ok.\n")


def test_ping_needs_no_password(locked: Endpoint) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", locked.port, timeout=30)
    connection.request("GET", "/ping")
    assert connection.getresponse().read() == b"Ok.\n"
    connection.close()


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [
        ("gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("lz4", lz4.frame.compress),
        ("zstd", zstandard.compress),
        ("zstd", lambda data: zstandard.ZstdCompressor(write_content_size=False).compress(data)),
    ],
)
def test_a_compressed_body_is_read(locked: Endpoint, encoding: str, pack: object) -> None:
    body = pack(b"SELECT length('%s')" % (b"x" * 1_001))  # type: ignore[operator]  # each is a function of bytes
    assert call(locked, body, headers={"Content-Encoding": encoding})[:2] == (200, b"1001\n")


def test_a_body_that_is_not_what_it_says_is_refused(locked: Endpoint) -> None:
    for encoding in ("gzip", "lz4", "zstd"):
        assert code(call(locked, b"SELECT 1", headers={"Content-Encoding": encoding})) == 271
    assert code(call(locked, b"SELECT 1", headers={"Content-Encoding": "br"})) == 48


@pytest.mark.parametrize(
    ("encoding", "unpack"), [("zstd", zstandard.decompress), ("lz4", lz4.frame.decompress), ("gzip", gzip.decompress)]
)
def test_a_large_answer_is_compressed_as_the_client_accepts(locked: Endpoint, encoding: str, unpack: object) -> None:
    answer = call(
        locked,
        b"SELECT number FROM numbers(5000)",
        headers={"Accept-Encoding": encoding},
        enable_http_compression="1",
    )
    assert answer[2]["Content-Encoding"] == encoding
    assert unpack(answer[1]).splitlines()[-1] == b"4999"  # type: ignore[operator]  # each is a function of bytes


def test_an_answer_is_compressed_however_small_it_is(locked: Endpoint) -> None:
    answer = call(locked, b"SELECT 1", headers={"Accept-Encoding": "lz4"}, enable_http_compression="1")
    assert (answer[2]["Content-Encoding"], lz4.frame.decompress(answer[1])) == ("lz4", b"1\n")


def test_an_answer_comes_in_blocks_where_a_driver_asks_for_them(locked: Endpoint) -> None:
    sql = b"SELECT number FROM numbers(400000)"
    plain = call(locked, sql)[1]
    answer = call(locked, sql, compress="1")
    assert "Content-Encoding" not in answer[2]
    assert len(answer[1]) < len(plain)
    assert blocks.unpack(answer[1], len(plain)) == plain
    both = call(locked, sql, headers={"Accept-Encoding": "gzip"}, compress="1", enable_http_compression="1")
    assert gzip.decompress(both[1]) == answer[1]


def test_an_error_is_told_in_the_clear(locked: Endpoint) -> None:
    answer = call(locked, b"SELECT x", headers={"Accept-Encoding": "gzip"}, compress="1", enable_http_compression="1")
    assert answer[1].startswith(b"Code: 47.")


def test_a_body_in_blocks_is_read(locked: Endpoint) -> None:
    sent = blocks.pack(b"SELECT ") + blocks.pack(b"length('%s')" % (b"x" * 100_000))
    assert call(locked, sent, decompress="1")[:2] == (200, b"100000\n")
    assert call(locked, gzip.compress(sent), headers={"Content-Encoding": "gzip"}, decompress="1")[1] == b"100000\n"


def test_a_body_that_is_not_in_blocks_is_refused_and_not_run(locked: Endpoint) -> None:
    answer = call(locked, b"DROP DATABASE costream", decompress="1")
    assert (code(answer), answer[0]) == (271, 500)
    assert b"not what decompress=1 says" in answer[1]
    assert call(locked, b"SELECT count() FROM costream.usage_events")[1] == b"1\n"


def test_a_body_whose_blocks_are_larger_than_the_bound_is_refused(locked: Endpoint) -> None:
    large = blocks.pack(b"SELECT 1" + b" " * endpoint.QUESTION_BYTES_MAX)
    assert len(large) < 1_000_000
    assert code(call(locked, large, token=READ, decompress="1")) == 396


def test_the_summary_says_how_many_rows_the_answer_has(locked: Endpoint) -> None:
    """Java's client reads as many rows as it is told, and none without it."""
    for sql, rows in ((b"SELECT number FROM numbers(1000) WHERE number < 3", "3"), (b"SELECT 1 WHERE 0", "0")):
        summary = json.loads(call(locked, sql, default_format="RowBinary")[2]["X-ClickHouse-Summary"])
        assert summary["result_rows"] == rows
        assert int(summary["elapsed_ns"]) > 0


def test_errors_carry_the_engines_code_and_a_fitting_status(locked: Endpoint) -> None:
    for sql, number, status in (
        (b"SELECT * FROM costream.nowhere", 60, 404),
        (b"SELEC", 62, 400),
        (b"SELECT x", 47, 500),
    ):
        answer = call(locked, sql)
        assert (code(answer), answer[0]) == (number, status)
        assert answer[1].startswith(b"Code: %d." % number)


def test_parameters_arrive_in_the_address_and_in_a_form(locked: Endpoint) -> None:
    assert call(locked, b"SELECT {a:String}", param_a="it's")[1] == b"it\\'s\n"
    client = open_client(locked.address())
    ids = [f"{i}'\\\n\té" for i in range(5_000)]
    assert client.query("SELECT {ids:Array(String)}", parameters={"ids": ids}).result_rows == [(ids,)]
    client.close()


def test_a_setting_of_one_request_does_not_reach_the_next(locked: Endpoint) -> None:
    sql = b"SELECT getSetting('max_threads')"
    before = call(locked, sql)[1]
    for session in ({}, {"session_id": "s-1"}):
        assert call(locked, sql, max_threads="3", **session)[1] == b"3\n"
        assert call(locked, sql, **session)[1] == before


def test_a_session_keeps_its_temporary_tables_to_itself(locked: Endpoint) -> None:
    assert call(locked, b"CREATE TEMPORARY TABLE mine (a Int64)", session_id="s-2")[0] == 200
    assert call(locked, b"SELECT count() FROM mine", session_id="s-2")[1] == b"0\n"
    assert code(call(locked, b"SELECT count() FROM mine", session_id="s-3")) == 60
    assert code(call(locked, b"SELECT count() FROM mine")) == 60


def test_rows_of_any_format_are_inserted_and_counted(locked: Endpoint) -> None:
    call(locked, b"CREATE TABLE costream.t (a Int64, `b (x)` String) ENGINE = Memory")
    inserts = [
        call(locked, b'{"a":1}\n{"a":2}\n', query="INSERT INTO costream.t FORMAT JSONEachRow"),
        call(locked, b"INSERT INTO costream.t (a) FORMAT TSV\n3\n4\n"),
        call(locked, b"INSERT INTO t (a) VALUES (5), (6)", database="costream"),
        call(locked, b"INSERT INTO costream.t SELECT number, '' FROM numbers(2)"),
    ]
    assert [json.loads(answer[2]["X-ClickHouse-Summary"])["written_rows"] for answer in inserts] == ["2"] * 4
    assert call(locked, b"SELECT count() FROM costream.t")[1] == b"8\n"
    call(locked, b"DROP TABLE costream.t")


def test_a_client_that_goes_away_in_the_middle_of_its_request_is_no_error(tmp_path: Path) -> None:
    complaints = (tmp_path / "stderr").open("w+")
    with complaints, Endpoint(tmp_path / "clickhouse", errors=complaints.fileno()) as endpoint:
        for kind in ("text/plain", "multipart/form-data; boundary=b"):
            with socket.create_connection(("127.0.0.1", endpoint.port), timeout=10) as client:
                client.sendall(
                    f"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: 99\r\n\r\n".encode()
                )
        assert call(endpoint, b"SELECT 1", token="")[:2] == (200, b"1\n")
        endpoint.stop()
        complaints.seek(0)
        assert "Traceback" not in complaints.read()


def half_open(port: int, sent: bytes) -> bytes:
    """What a client gets that stops in the middle of its request; empty is a closed connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(sent)
        return client.recv(65_536)


async def test_a_request_that_never_gets_whole_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "IDLE_SECONDS_MAX", 0.2)
    monkeypatch.setattr(endpoint, "BODY_SECONDS_MAX", 0.2)
    runner = endpoint._runner(SimpleNamespace(timezone="UTC"), endpoint.Pools(), Tokens())  # type: ignore[arg-type]  # no statement gets to the engine
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]
        head = b"POST / HTTP/1.1\r\nHost: localhost\r\n"
        ends = await asyncio.gather(
            *(asyncio.to_thread(half_open, port, sent) for sent in (b"", b"GET /?que", head, head + b"X: y\r\n")),
            asyncio.to_thread(half_open, port, head + b"Content-Length: 99\r\n\r\nSELECT"),
        )
        assert ends[:4] == [b""] * 4
        assert b"X-ClickHouse-Exception-Code: 209" in ends[4]
    finally:
        await runner.cleanup()


def test_a_statement_that_is_not_utf_8_is_refused_in_words(locked: Endpoint) -> None:
    answer = call(locked, b"SELECT '\xff'")
    assert (code(answer), b"not UTF-8" in answer[1]) == (62, True)
    call(locked, b"CREATE TABLE IF NOT EXISTS costream.octets (a String) ENGINE = Memory")
    assert call(locked, b"INSERT INTO costream.octets FORMAT TSV\n\xff\n")[0] == 200
    assert call(locked, b"SELECT hex(a) FROM costream.octets")[1] == b"FF\n"


def test_who_only_reads_sends_no_more_than_a_statement(locked: Endpoint) -> None:
    long = b"SELECT length('%s')" % (b"x" * endpoint.QUESTION_BYTES_MAX)
    form = b'--b\r\nContent-Disposition: form-data; name="query"\r\n\r\n' + long + b"\r\n--b--\r\n"
    kind = {"Content-Type": "multipart/form-data; boundary=b"}
    assert code(call(locked, long, token=READ)) == 396
    assert code(call(locked, gzip.compress(long), token=READ, headers={"Content-Encoding": "gzip"})) == 396
    assert code(call(locked, form, token=READ, headers=kind)) == 396
    rows = b"INSERT INTO costream.octets FORMAT TSV\n" + b"x" * endpoint.QUESTION_BYTES_MAX
    call(locked, b"CREATE TABLE IF NOT EXISTS costream.octets (a String) ENGINE = Memory")
    assert call(locked, rows)[0] == 200


def test_a_fault_of_the_engines_sink_is_answered_as_a_server_would(locked: Endpoint) -> None:
    for definition, number in (
        ("(n UInt8, CONSTRAINT c CHECK n < 2) ENGINE = MergeTree ORDER BY n", 469),
        (
            "(n UInt8) ENGINE = MergeTree ORDER BY n SETTINGS min_free_disk_bytes_to_perform_insert = 1000000000000000",
            243,
        ),
        ("(n UInt8) ENGINE = MergeTree PARTITION BY n ORDER BY n", 252),
    ):
        call(locked, f"CREATE OR REPLACE TABLE costream.faulty {definition}".encode())
        rows = b"\n".join(b"%d" % n for n in range(200))
        values = b", ".join(b"(%d)" % n for n in range(200))
        for insert in (b"FORMAT TSV\n" + rows, b"VALUES " + values, b"SELECT toUInt8(number) FROM numbers(200)"):
            answer = call(locked, b"INSERT INTO costream.faulty " + insert)
            assert (answer[0], code(answer)) == (500, number)
            assert answer[1].startswith(b"Code: %d. DB::Exception: " % number)
        assert call(locked, b"SELECT count() FROM costream.faulty")[1] == b"0\n"


def test_many_requests_at_once_each_get_their_own_answer(locked: Endpoint) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = pool.map(lambda i: call(locked, b"SELECT %d" % i)[1], range(64))
    assert list(answers) == [b"%d\n" % i for i in range(64)]


@pytest.mark.parametrize(
    ("statement", "head", "data"),
    [
        (b"INSERT INTO t FORMAT CSV\n1", b"INSERT INTO t ", b"1"),
        (b"insert into `a b`.t (`c(d)`) format CSV 1", None, None),
        (b"INSERT INTO db.t (a, b) FORMAT Native\n\x01\x02", b"INSERT INTO db.t (a, b) ", b"\x01\x02"),
        (b"INSERT INTO t SELECT 'x FORMAT CSV '", None, None),
    ],
)
def test_the_rows_of_an_insert_begin_after_its_format(statement: bytes, head: bytes | None, data: bytes | None) -> None:
    found = INSERT_WITH_DATA.match(statement)
    assert (found and found[1]) == head
    assert (found and statement[found.end() :]) == data


# --- whom it admits --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("token", ["", "wrong", WRITE + "x", "é"])
def test_a_wrong_password_is_refused(locked: Endpoint, token: str) -> None:
    basic = "Basic " + b64encode(f"default:{token}".encode()).decode()
    answer = call(locked, b"SELECT 1", token="", headers={"Authorization": basic})
    assert (answer[0], code(answer)) == (403, 516)


def test_a_wrong_password_reads_as_such_to_the_user(locked: Endpoint) -> None:
    with pytest.raises(WarehouseRefused, match="COSTREAM_CLICKHOUSE_PASSWORD"):
        open_client(locked.address(password="wrong"))


def test_a_garbled_authorization_header_is_refused_not_a_crash(locked: Endpoint) -> None:
    for garbled in ("Basic ////", "Basic é", "Bearer x", "Basic"):
        header = {"Authorization": garbled.encode().decode("latin-1")}
        assert code(call(locked, b"SELECT 1", token="", headers=header)) == 516


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://example.org"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},  # a page of another port of this machine
        {"Sec-Fetch-Site": "same-origin"},  # the endpoint has no pages: an answer taken for one
        {"Host": "example.org"},  # a name that resolves to this machine, once the page is loaded
        {"Host": "example.org:8123"},
        {"Host": "localhost.example.org"},
        {"Host": "127.0.0.1.example.org"},
        {"Host": "192.0.2.1:8123"},
        {"Host": "[::2]:8123"},
        {"Host": ""},
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_web_page_is_refused_even_with_the_password(locked: Endpoint, method: str, headers: dict[str, str]) -> None:
    answer = call(locked, method=method, headers=headers, query="SELECT 1")
    assert (answer[0], code(answer)) == (403, 497)


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "localhost"},
        {"Host": "LOCALHOST:9000"},  # a port forwarded from another
        {"Host": "127.0.0.1"},
        {"Host": "127.1.2.3:8123"},
        {"Host": "[::1]:8123"},
        {"Sec-Fetch-Site": "none"},  # typed by a person into the address line
    ],
)
def test_this_machine_by_any_of_its_names_is_served(locked: Endpoint, headers: dict[str, str]) -> None:
    assert call(locked, b"SELECT 1", headers=headers)[:2] == (200, b"1\n")


def test_the_reader_reads_and_does_nothing_else(locked: Endpoint) -> None:
    assert call(locked, b"SELECT count() FROM costream.usage_events", token=READ)[1] == b"1\n"
    for sql in (
        b"SYSTEM STOP MERGES",
        b"SYSTEM START MERGES costream.usage_events",
        b"SYSTEM STOP TTL MERGES",
        b"OPTIMIZE TABLE costream.usage_events FINAL",
        b"DELETE FROM costream.usage_events WHERE 1",
        b"CREATE TEMPORARY TABLE x (a Int64)",
        b"WITH 'x' AS x INSERT INTO costream.usage_events (request_id) SELECT x",
        b"INSERT INTO costream.usage_events (request_id) SELECT 'x'",
        b"INSERT INTO costream.usage_events (request_id) VALUES ('x')",
        b"INSERT INTO costream.usage_events (request_id) FORMAT TSV\nx\n",
        b"DROP TABLE costream.usage_events",
        b"ALTER TABLE costream.usage_events DELETE WHERE 1",
        b"TRUNCATE TABLE costream.usage_events",
        b"CREATE TABLE costream.x (a Int64) ENGINE = Memory",
        b"SET readonly = 0",
        b"SELECT 1 SETTINGS readonly = 0",
    ):
        assert code(call(locked, sql, token=READ)) == 164, sql
    assert code(call(locked, b"DROP TABLE costream.usage_events", token=READ, readonly="0")) == 164
    assert code(call(locked, query="DROP TABLE costream.usage_events", method="GET")) == 164
    assert call(locked, b"SELECT count() FROM costream.usage_events")[1] == b"1\n"


def test_the_reader_may_use_our_own_reader(locked: Endpoint) -> None:
    reader = Reader(locked.address(password=READ))
    assert reader.frame("SELECT count() AS n FROM usage_events WHERE model = {m:String}", m="gpt-4o-mini")["n"][0] == 1
    assert reader.frame("SELECT * FROM feature_cost_summary").height == 0
    reader.close()
    assert ask(locked.address(password=READ), "SELECT 1 AS a", output="CSVWithNames") == b'"a"\n1\n'


def test_the_reader_does_not_see_what_others_ask(locked: Endpoint) -> None:
    for sql in (b"SELECT query FROM system.processes", b"SHOW PROCESSLIST"):
        assert code(call(locked, sql, token=READ)) == 497
        assert call(locked, sql)[0] == 200


@pytest.mark.parametrize("token", [WRITE, READ])
@pytest.mark.parametrize(
    "settings",
    [
        {"final": "1"},
        # what drivers send by themselves: clickhouse-connect, JDBC, the Node client, Grafana's plugin
        {"compress": "0", "date_time_input_format": "best_effort", "cast_string_to_dynamic_use_inference": "1"},
        {"decompress": "0", "max_result_rows": "0", "result_overflow_mode": "throw", "max_execution_time": "0"},
        {"extremes": "0", "session_timezone": "Asia/Kolkata", "async_insert": "0", "wait_for_async_insert": "1"},
        {"send_progress_in_http_headers": "0", "wait_end_of_query": "1", "readonly": "1"},
        {"readonly": "2", "max_execution_time": "60", "output_format_json_quote_64bit_integers": "1"},
        {"cancel_http_readonly_queries_on_client_close": "1", "http_write_exception_in_output_format": "0"},
        {"log_comment": "it's \\ mine", "enable_http_compression": "1", "max_threads": "100000", "role": "x"},
    ],
)
def test_the_harmless_settings_that_clients_send_are_taken(
    locked: Endpoint, token: str, settings: dict[str, str]
) -> None:
    assert call(locked, b"SELECT 1 FROM costream.usage_events", token=token, **settings)[:2] == (200, b"1\n")


def test_the_driver_may_send_a_harmless_setting_with_the_readers_password(locked: Endpoint) -> None:
    client = open_client(locked.address(password=READ), settings={})
    sql = "SELECT getSetting('final'), count() FROM costream.usage_events"
    assert client.query(sql, settings={"final": 1}).result_rows == [(True, 1)]
    client.close()


@pytest.mark.parametrize(
    ("asked", "granted"), [({}, 60), ({"max_execution_time": "5"}, 5), ({"max_execution_time": "900"}, 60)]
)
def test_a_question_may_take_less_than_its_bound_and_never_more(
    locked: Endpoint, asked: dict[str, str], granted: int
) -> None:
    sql = b"SELECT toUInt64(getSetting('max_execution_time'))"
    assert call(locked, sql, token=READ, **asked)[1] == b"%d\n" % granted
    assert call(locked, method="GET", query=sql.decode(), **asked)[1] == b"%d\n" % granted
    for text in ("max_execution_time = 61", "max_execution_time = 0", "max_memory_usage = 0", "max_threads = 65"):
        assert code(call(locked, sql + b" SETTINGS " + text.encode(), token=READ)) == 497
    assert call(locked, sql + b" SETTINGS max_execution_time = 7", token=READ)[1] == b"7\n"


@pytest.mark.slow
def test_questions_without_an_end_are_ended_and_keep_no_write_waiting(locked: Endpoint) -> None:
    endless = [
        b"SELECT count() FROM system.numbers WHERE sipHash64(number) = 0",
        b"SELECT number FROM system.numbers",
        b"SELECT groupArray(number) FROM system.numbers",
    ]
    call(locked, b"CREATE TABLE IF NOT EXISTS costream.quick (a Int64) ENGINE = MergeTree ORDER BY a")
    with ThreadPoolExecutor(8) as pool:
        waiting = [
            pool.submit(call, locked, sql, token=READ, max_execution_time="3", max_memory_usage="300000000")
            for sql in endless * 2
        ]
        began = time.monotonic()
        assert call(locked, b"INSERT INTO costream.quick VALUES (1)")[0] == 200
        assert time.monotonic() - began < 3
        ends = {code(answer.result()) for answer in waiting}
    assert ends <= {159, 396, 241}  # time, result or memory, whichever bound comes first


def test_a_question_may_not_write_even_with_the_writers_password(locked: Endpoint) -> None:
    with pytest.raises(WarehouseRefused, match="readonly"):
        ask(locked.address(), "TRUNCATE TABLE usage_events", output="CSV")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_only_a_loopback_address_is_served(tmp_path: Path, host: str) -> None:
    with pytest.raises(EndpointNotStarted, match="not a loopback address"):
        serve(str(tmp_path), port=0, host=host, on_ready=lambda _: None)
    assert not list(tmp_path.iterdir())


def test_tokens_admit_what_they_are_for() -> None:
    both = Tokens(write="w", read="r")
    assert [both.admits(given) for given in ("w", "r", "", "x")] == ["write", "read", None, None]
    assert Tokens().admits("") == "write"
    assert Tokens(write="w").admits("") is None


# --- what it never does ----------------------------------------------------------------------------------------------

REACHES_OUT = [
    "SELECT * FROM file('{file}')",
    "SELECT * FROM `file`('{file}')",
    "SELECT * FROM/**/file/* */('{file}')",
    "SELECT file('{file}')",
    "SELECT FILE('{file}')",
    "file('{file}')",
    "SELECT * FROM default.`{file}`",
    'SELECT * FROM "default"."{file}"',
    "USE default",
    "SELECT * FROM view(SELECT * FROM file('{file}'))",
    "SELECT (SELECT * FROM file('{file}'))",
    "SELECT 1 WHERE 'x' IN (SELECT * FROM file('{file}'))",
    "WITH a AS (SELECT * FROM file('{file}')) SELECT * FROM a",
    "EXPLAIN SELECT * FROM file('{file}')",
    "DESCRIBE TABLE file('{file}')",
    "SELECT 1; SELECT * FROM file('{file}')",
    "SELECT * FROM merge('default', '.*')",
    "SELECT * FROM loop(default, `{file}`)",
    "SELECT * FROM url('http://127.0.0.1:1/', CSV)",
    "SELECT * FROM s3('http://127.0.0.1:1/b/k')",
    "SELECT * FROM remote('127.0.0.1:1', system.one)",
    "SELECT * FROM executable('id', TSV, 'a String')",
    "SELECT * FROM mysql('127.0.0.1:1', 'd', 't', 'u', 'p')",
    "SELECT * FROM python(x)",
    "SELECT * FROM sqlite('{file}', 't')",
    "SELECT 1 INTO OUTFILE '{out}'",
    "INSERT INTO FUNCTION file('{out}', CSV, 'a Int64') SELECT 1",
    "INSERT INTO costream.usage_events (request_id) SELECT * FROM file('{file}')",
    "INSERT INTO costream.usage_events FROM INFILE '{file}' FORMAT TSV",
    "CREATE TABLE costream.x (a String) ENGINE = File(TSV, '{file}')",
    "CREATE TABLE costream.x (a String) ENGINE = URL('http://127.0.0.1:1/', CSV)",
    "CREATE TABLE costream.x AS file('{file}')",
    "CREATE TABLE costream.x (a Int64) ENGINE = MergeTree ORDER BY a SETTINGS disk = disk(type = local, path = '/')",
    "CREATE VIEW costream.x AS SELECT * FROM file('{file}')",
    "CREATE DATABASE x ENGINE = Filesystem('/etc')",
    "CREATE DATABASE x ENGINE = MySQL('127.0.0.1:1', 'd', 'u', 'p')",
    "CREATE DICTIONARY costream.x (a Int64) PRIMARY KEY a SOURCE(FILE(PATH '{file}' FORMAT CSV)) LAYOUT(FLAT())",
    "CREATE FUNCTION f AS (x) -> file(x)",
    "ATTACH TABLE costream.x FROM '{file}' (a Int64) ENGINE = Memory",
    "BACKUP TABLE costream.usage_events TO File('{out}')",
    "RESTORE TABLE costream.usage_events FROM File('{out}')",
    "SYSTEM SHUTDOWN",
    "KILL QUERY WHERE 1",
    "CREATE USER x",
    "GRANT ALL ON *.* TO default",
    "SELECT 1 FORMAT Template SETTINGS format_template_resultset = '{file}'",
    "SELECT aiGenerate('x')",
    # a function is called without its brackets
    "SELECT * APPLY(file) FROM (SELECT '{file}')",
    "SELECT * APPLY file FROM (SELECT '{file}')",
    "SELECT COLUMNS('a') APPLY(`file`) FROM (SELECT '{file}' AS a)",
    "SELECT arrayMap(file, ['{file}'])",
    "SELECT arrayMap(`fi\\x6ce`, ['{file}'])",
    "WITH file AS f SELECT f('{file}')",
    "WITH x -> file(x) AS f SELECT f('{file}')",
    # a quote inside a quoted name hides what follows
    "SELECT 1 AS `a'b`, file('{file}') AS `c'd`",
    "SELECT 'a`b', file('{file}') AS c, '`'",
    # tables and dictionaries named by text, or without a dot
    "SELECT hasColumnInTable('default', '{file}', 'c1')",
    "SELECT joinGet('default.`{file}`', 'c1', 'a')",
    "SELECT joinGetOrNull('default.`{file}`', 'c1', 'a')",
    "SELECT dictGet('default.x', 'a', 1)",
    "SELECT dictGetStringOrDefault('default.x', 'a', 1, '')",
    "SELECT 'x' IN default.`{file}`",
    "SHOW COLUMNS FROM `{file}` FROM default",
    "SHOW INDEX FROM `{file}` IN default",
    "SHOW CREATE TABLE default.`{file}`",
    "EXISTS TABLE default.`{file}`",
    "CHECK TABLE default.`{file}`",
    "CREATE TABLE costream.x CLONE AS default.`{file}`",
    "CREATE TABLE costream.x (a String DEFAULT file('{file}')) ENGINE = Memory",
    "CREATE TABLE costream.x (a String) ENGINE = Merge(default, '.*')",
    "CREATE TABLE costream.x (a String) ENGINE = Buffer(default, `{file}`, 1, 1, 1, 1, 1, 1, 1)",
    "ALTER TABLE costream.usage_events UPDATE error = file('{file}') WHERE 1",
    "ALTER TABLE costream.usage_events ADD CONSTRAINT c CHECK throwIf(1, file('{file}'))",
    "ALTER TABLE costream.usage_events FREEZE WITH NAME '../../{out}'",
    "ALTER TABLE costream.usage_events FETCH PARTITION ID '1' FROM '/x'",
    "ALTER TABLE costream.usage_events MOVE PARTITION ID '1' TO DISK 'd'",
    "ALTER TABLE costream.usage_events MODIFY SETTING storage_policy = 'x'",
    "ALTER TABLE costream.usage_events MODIFY SETTING disk = '{out}'",
    # settings that hold expressions, name files or change how text is read
    "SELECT 1 SETTINGS additional_result_filter = 'throwIf(1, file(''{file}''))'",
    "SELECT 1 SETTINGS `additional_result_filter` = 'throwIf(1, file(''{file}''))'",
    "SELECT 1 FORMAT TSV SETTINGS max_threads = 1, additional_result_filter = 'throwIf(1, file(''{file}''))'",
    "SELECT '`' SETTINGS additional_result_filter = '`' || file('{file}')",
    "SELECT '`' AS a SETTINGS log_comment = '`', additional_result_filter = 'throwIf(1, file(''{file}''))'",
    "SELECT (SELECT 1 SETTINGS additional_result_filter = 'throwIf(1, file(''{file}''))')",
    "SELECT 1 SETTINGS max_threads = {'a':1}, additional_result_filter = 'throwIf(1, file(''{file}''))'",
    "SELECT 1 FROM costream.usage_events SETTINGS additional_table_filters = {'costream.usage_events': '1'}",
    "SHOW TABLES SETTINGS additional_result_filter = 'throwIf(1, file(''{file}''))'",
    "SET additional_result_filter = 'throwIf(1, file(''{file}''))'",
    "SET dialect = 'prql'",
    "SET implicit_table_at_top_level = 'default.`{file}`'",
    "SELECT 1 AS a FORMAT ProtobufSingle SETTINGS output_format_schema = '{out}'",
    "SELECT 1 AS a FORMAT CapnProto SETTINGS format_schema = '{file}:M'",
    "SELECT 1 SETTINGS url_base = 'http://127.0.0.1:1/'",
    "SELECT 1 SETTINGS brand_new_setting = 1",
    "INSERT INTO costream.t (a) SETTINGS input_format_values_interpret_expressions = 1 VALUES (file('{file}'))",
    "INSERT INTO costream.t (a) SETTINGS input_format_record_errors_file_path = '{out}' FORMAT TSV\n1",
    "INSERT INTO costream.t SELECT a FROM input('a String') FORMAT Values ('x'); SELECT file('{file}')",
    "INSERT INTO costream.t (a) /* x */ VALUES (file('{file}'))",
    # what shows the machine, or what others are doing
    "SELECT * FROM system.stack_trace",
    "SELECT * FROM system.certificates",
    "SELECT * FROM system.zookeeper WHERE path = '/'",
    "SELECT showCertificate('127.0.0.1', 1)",
    "SELECT addressToLine(1)",
    "SELECT logTrace('x')",
    "SELECT sleepEachRow(3) FROM numbers(100)",
    "SELECT __getScalar('x')",
]


@pytest.fixture(scope="module")
def secret(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("outside") / "secret.tsv"
    file.write_text("TOP-SECRET\n")
    return file


@pytest.mark.parametrize("token", [WRITE, READ])
@pytest.mark.parametrize("template", REACHES_OUT)
def test_a_statement_that_reaches_outside_is_refused(locked: Endpoint, secret: Path, template: str, token: str) -> None:
    out = secret.parent / "written"
    sql = template.replace("{file}", str(secret)).replace("{out}", str(out))
    status, body, headers = call(locked, sql.encode(), token=token, database="costream")
    assert status >= 400, body
    assert headers["X-ClickHouse-Exception-Code"] in ("497", "62") + (("164",) if token == READ else ()), body
    assert b"TOP-SECRET" not in body
    assert not out.exists()


def test_a_request_cannot_reach_outside_by_its_parameters(locked: Endpoint, secret: Path) -> None:
    file, filter_ = str(secret), f"throwIf(1, file('{secret}'))"
    call(locked, b"CREATE TABLE IF NOT EXISTS costream.t (a String) ENGINE = Memory")
    tries = [
        call(locked, b"UNION ALL SELECT file('%s')" % file.encode(), query="SELECT 'x'", token=READ),
        call(locked, b"; SELECT file('%s')" % file.encode(), query="SELECT 'x'", token=READ),
        call(locked, b"SELECT file('%s')" % file.encode(), query=";", token=READ),
        call(locked, b"SELECT file('%s')" % file.encode(), query="EXPLAIN", token=READ),
        call(locked, b"SELECT 1", additional_result_filter=filter_, token=READ),
        call(locked, method="GET", query="SELECT 1", additional_result_filter=filter_, token=READ),
        call(locked, b"SELECT 1 FROM costream.usage_events", additional_table_filters="{'costream.usage_events':'1'}"),
        call(locked, b"SELECT 1 AS a", default_format="ProtobufSingle", output_format_schema=str(secret.parent / "o")),
        call(locked, b"INSERT INTO costream.t FORMAT Values (file('%s'))" % file.encode()),
        call(locked, b"INSERT INTO costream.t VALUES (file('%s')), (file('%s'))" % (file.encode(), file.encode())),
        call(locked, b"INSERT INTO costream.t VALUES ('x') UNION ALL SELECT file('%s')" % file.encode()),
        call(locked, b"INSERT INTO costream.t FORMAT TSV", input_format_record_errors_file_path="/x"),
        call(locked, b"SELECT * FROM {d:Identifier}.{t:Identifier}", param_d="default", param_t=file),
        call(locked, b"SELECT * FROM `%s`" % file.encode(), database="default"),
        call(locked, b"SELECT * FROM `%s`" % file.encode()),
        call(locked, b"SELECT 1 FORMAT Template", format_template_resultset=file),
        call(locked, b"SELECT 1", default_format="Template", format_template_resultset=file),
        call(locked, b'from s"%s"' % file.encode(), dialect="prql"),
        call(locked, b"INSERT INTO costream.usage_events (request_id) VALUES (file('%s'))" % file.encode()),
        call(locked, b"(file('%s'))" % file.encode(), query="INSERT INTO costream.usage_events (request_id) VALUES"),
    ]
    for answer in tries:
        assert answer[0] >= 400, answer[1]
        assert b"TOP-SECRET" not in answer[1]
    assert call(locked, b"SELECT count() FROM costream.usage_events")[1] == b"1\n"
    assert call(locked, b"SELECT count() FROM costream.t WHERE a LIKE '%SECRET%'")[1] == b"0\n"
    assert [path.name for path in secret.parent.iterdir()] == ["secret.tsv"]


def test_a_statement_behind_the_rows_of_an_insert_is_no_statement(locked: Endpoint, secret: Path) -> None:
    call(locked, b"CREATE TABLE IF NOT EXISTS costream.u (a String) ENGINE = Memory")
    for rows in (b"('x'); SELECT file('%s')" % str(secret).encode(), b"('x'); DROP TABLE costream.u", b"('y');"):
        assert b"SECRET" not in call(locked, b"INSERT INTO costream.u VALUES " + rows)[1]
    assert call(locked, b"SELECT count() FROM costream.u WHERE a = 'y'")[1] == b"1\n"


VOCABULARY = guard.Vocabulary(frozenset({"file", "url", "numbers"}), table_settings=frozenset({"fsync_after_insert"}))


@pytest.mark.parametrize(
    "canonical",
    [
        "SELECT 'file(x) INTO OUTFILE default.x' AS `url(y)` FROM costream.t",
        "INSERT INTO t (a, b) FORMAT Arrow",
        "CREATE TABLE t (`a` Int64) ENGINE = ReplacingMergeTree(a) ORDER BY a SETTINGS fsync_after_insert = 1",
        "SELECT * FROM numbers(3)",
        "(SELECT 1) UNION ALL (SELECT 2)",
        "EXPLAIN indexes = 1 SELECT 1",
    ],
)
def test_ordinary_statements_pass_whatever_their_text_looks_like(canonical: str) -> None:
    guard.check(canonical, VOCABULARY, reading=False)


def test_a_table_function_nobody_has_judged_is_refused() -> None:
    with pytest.raises(guard.Refused, match="brandNew"):
        guard.check("SELECT * FROM brandNew('x')", guard.Vocabulary(frozenset({"brandnew"})), reading=True)


# --- every function and setting of this engine -----------------------------------------------------------------------


def test_every_function_that_the_guard_lets_through_was_judged(locked: Endpoint) -> None:
    """A new version brings new functions: read what they do, refuse what reaches out, then put their number here."""
    sql = b"SELECT name, categories FROM system.functions WHERE NOT is_aggregate ORDER BY name FORMAT TSV"
    functions = [line.split("\t") for line in call(locked, sql)[1].decode().splitlines()]
    vocabulary = read_vocabulary(lambda query: guard.names(call(locked, query.encode())[1].decode()))
    admitted = [name for name, _ in functions if is_admitted(f"SELECT {name}(1)", vocabulary)]
    refused = {name for name, _ in functions} - set(admitted)
    assert {name for name, category in functions if category in ("AI", "Dictionary", "Introspection")} <= refused
    assert {"file", "FQDN", "fullHostName", "joinGet", "hasColumnInTable", "AIGenerate", "sleep"} <= refused
    reaching = re.compile(r"file|url$|http|dict|zookeeper|joinget|remote|exec|python|shell|cert|table", re.IGNORECASE)
    assert {name for name in admitted if reaching.search(name)} == JUDGED_HARMLESS
    assert hashlib.sha256("\n".join(admitted).encode()).hexdigest()[:16] == "15fb495e6ed1d115"


# Their names sound like reaching out: they work on the text they are given, or say how much room is left.
JUDGED_HARMLESS = guard.names("""
    currentProfiles currentRequestURL defaultProfiles enabledProfiles filesystemAvailable filesystemCapacity
    filesystemUnreserved getMaxTableNameLengthForDatabase pgTableIsVisible pg_table_is_visible randomPrintableASCII""")


def is_admitted(canonical: str, vocabulary: guard.Vocabulary) -> bool:
    try:
        guard.check(canonical, vocabulary, reading=True)
    except guard.Refused:
        return False
    return True


def test_no_setting_that_a_request_may_set_holds_more_than_a_word_of_format(locked: Endpoint) -> None:
    sql = b"SELECT name, toString(type) FROM system.settings FORMAT TSV"
    kinds = dict(line.split("\t") for line in call(locked, sql)[1].decode().splitlines())
    admitted = {name for name in kinds if setting_is_admitted(name)}
    texts = {name for name in admitted if kinds[name] in ("String", "Map", "URI")}
    assert texts == JUDGED_TEXTS
    assert not {"readonly", "dialect", "additional_result_filter", "url_base", "format_schema"} & (
        admitted - {"readonly"}
    )


JUDGED_TEXTS = guard.names("""
    bool_false_representation bool_true_representation format_csv_null_representation format_custom_field_delimiter
    format_custom_result_after_delimiter format_custom_result_before_delimiter format_custom_row_after_delimiter
    format_custom_row_before_delimiter format_custom_row_between_delimiter
    format_json_object_each_row_column_for_object_name format_tsv_null_representation input_format_mysql_dump_table_name
    input_format_orc_reader_time_zone_name log_comment network_compression_method output_format_image_terminal_mode
    output_format_orc_writer_time_zone_name output_format_pretty_grid_charset output_format_sql_insert_table_name""")


def setting_is_admitted(name: str) -> bool:
    try:
        guard.check_setting(name)
    except guard.Refused:
        return False
    return True


# --- kills and ends --------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_killed_endpoint_comes_back_on_its_folder_and_port_with_every_acknowledged_row(tmp_path: Path) -> None:
    endpoint = Endpoint(tmp_path)
    with endpoint:
        address = migrated(endpoint.address())
        writer, reader = Writer(address), Reader(address)
        acknowledged = 0
        for round_ in range(3):
            acknowledged += writer.insert("usage_events", events([{"request_id": f"{round_}-{i}"} for i in range(500)]))
            endpoint.kill()
            with pytest.raises(WarehouseUnavailable):
                writer.insert("usage_events", events([{"request_id": "not acknowledged"}]))
            endpoint.start()
        assert reader.frame("SELECT count() AS n FROM usage_events FINAL")["n"][0] == acknowledged
        writer.close()
        reader.close()


@pytest.mark.slow  # a query gets its seconds to end, and its thread gets some after that
def test_sigterm_ends_it_cleanly_with_a_query_under_way(tmp_path: Path) -> None:
    endpoint = Endpoint(tmp_path).start()
    slow = threading.Thread(target=ended, args=(endpoint, b"SELECT count() FROM numbers(100000000000)"))
    slow.start()
    while b"100000000000" not in call(endpoint, b"SELECT query FROM system.processes")[1]:
        pass  # until the engine says that the query runs; bounded by the timeout of each call
    assert endpoint.stop() == 0
    slow.join(30)
    assert not slow.is_alive()


def ended(endpoint: Endpoint, sql: bytes) -> None:
    try:
        call(endpoint, sql)
    except (OSError, http.client.HTTPException):
        return


def test_a_folder_or_a_port_in_use_ends_it_at_once(locked: Endpoint, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="exit status 1"):
        Endpoint(locked.folder, errors=subprocess.DEVNULL).start()
    second = Endpoint(tmp_path, errors=subprocess.DEVNULL)
    second.port = locked.port
    with pytest.raises(AssertionError, match="exit status 1"):
        second.start()


@pytest.mark.slow
def test_three_writers_share_one_warehouse_at_once(locked: Endpoint) -> None:
    address: ClickHouseAddress = locked.fresh()
    writers = [Writer(address) for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        sent = pool.map(
            lambda n: sum(
                writers[n].insert("usage_events", events([{"request_id": f"{n}-{batch}-{i}"} for i in range(50)]))
                for batch in range(4)
            ),
            range(3),
        )
        assert sum(sent) == 600
    reader = Reader(address)
    assert reader.frame("SELECT count() AS n FROM usage_events FINAL")["n"][0] == 600
    reader.close()
    for writer in writers:
        writer.close()
