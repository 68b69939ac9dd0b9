"""The embedded engine over HTTP: what it serves, whom it admits, what it never does, and that a kill costs nothing."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
import subprocess
import threading
import zlib
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlencode

import lz4.frame
import pytest
import zstandard

from sinks.clickhouse import guard
from sinks.clickhouse.connect import ClickHouseAddress, open_client
from sinks.clickhouse.embedded import INSERT_WITH_DATA
from sinks.clickhouse.endpoint import Tokens, serve
from sinks.clickhouse.reader import Reader, ask
from sinks.clickhouse.writer import Writer
from sinks.errors import EndpointNotStarted, WarehouseRefused, WarehouseUnavailable
from tests.support.warehouse import Endpoint, migrated
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
                    f"POST / HTTP/1.1\r\nHost: h\r\nContent-Type: {kind}\r\nContent-Length: 99\r\n\r\n".encode()
                )
        assert call(endpoint, b"SELECT 1", token="")[:2] == (200, b"1\n")
        endpoint.stop()
        complaints.seek(0)
        assert "Traceback" not in complaints.read()


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


def test_a_web_page_is_refused_even_with_the_password(locked: Endpoint) -> None:
    assert code(call(locked, b"SELECT 1", headers={"Origin": "https://example.org"})) == 497


def test_the_reader_reads_and_does_nothing_else(locked: Endpoint) -> None:
    assert call(locked, b"SELECT count() FROM costream.usage_events", token=READ)[1] == b"1\n"
    for sql in (
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
    assert headers["X-ClickHouse-Exception-Code"] in ("497", "62"), body
    assert b"TOP-SECRET" not in body
    assert not out.exists()


def test_a_request_cannot_reach_outside_by_its_parameters(locked: Endpoint, secret: Path) -> None:
    file = str(secret)
    tries = [
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
    guard.check(canonical, table_functions=frozenset({"file", "url", "numbers"}))


def test_a_table_function_nobody_has_judged_is_refused() -> None:
    with pytest.raises(guard.Refused, match="brandNew"):
        guard.check("SELECT * FROM brandNew('x')", table_functions=frozenset({"brandnew"}))


# --- kills and ends --------------------------------------------------------------------------------------------------


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
