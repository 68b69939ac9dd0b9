"""What comes back from the warehouse's address: from the engine, or from a gateway that answers in its place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing

import polars as pl
import pytest

from sinks.clickhouse.connect import ClickHouseAddress, Clients
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.writer import SPLIT_ROWS_MIN, Writer
from sinks.errors import RowRefused, WarehouseRefused, WarehouseTooSmall, WarehouseUnavailable
from tests.support.lying_proxy import Answer, Lie, LyingProxy, honest
from tests.support.warehouse import Endpoint
from tests.support.warehouse_rows import events

PAGE = b"<html><head><title>%d</title></head><body><center><h1>nginx</h1></center></body></html>"


@pytest.fixture
def address(clickhouse_endpoint: Endpoint) -> ClickHouseAddress:
    return clickhouse_endpoint.fresh()


@pytest.fixture
def proxy(address: ClickHouseAddress) -> Iterator[LyingProxy]:
    with LyingProxy(address.url) as proxy:
        yield proxy


@pytest.fixture
def through(proxy: LyingProxy, address: ClickHouseAddress) -> ClickHouseAddress:
    return ClickHouseAddress(proxy.url, database=address.database, user=address.user, password=address.password)


def page(status: int) -> Lie:
    return lambda body, ask: Answer(status, PAGE % status, {"Content-Type": "text/html"})


def says(status: int, body: bytes = b"", **headers: str) -> Lie:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _, ask: Answer(status, body, named)


def cut(body: bytes, ask: Callable[[], Answer]) -> Answer:
    whole = ask()
    return Answer(whole.status, whole.body[: len(whole.body) // 2], whole.headers, length=len(whole.body) + 1)


def cut_and_called_whole(body: bytes, ask: Callable[[], Answer]) -> Answer:
    whole = ask()
    return Answer(whole.status, whole.body[: len(whole.body) // 2], whole.headers)


def bare(body: bytes, ask: Callable[[], Answer]) -> Answer:
    """Without what ClickHouse says in headers."""
    whole = ask()
    kept = {name: value for name, value in whole.headers.items() if not name.lower().startswith("x-clickhouse")}
    return Answer(whole.status, whole.body, kept)


def acknowledged_too_soon(body: bytes, ask: Callable[[], Answer]) -> Answer:
    """The gateway took the rows and says so; the server never saw them."""
    return Answer(200, b"", {"Content-Type": "text/plain"})


GATEWAY: dict[str, Lie] = {
    **{f"page {status}": page(status) for status in (400, 401, 403, 404, 408, 429, 500, 502, 503, 504)},
    "moved": says(301, Location="http://127.0.0.1:1/"),
    "found": says(302, Location="http://127.0.0.1:1/login"),
    "empty 200": says(200),
    "a page with 200": page(200),
    "a summary that is no JSON": says(200, X_ClickHouse_Summary="<html>"),
    "a summary of other rows": says(200, X_ClickHouse_Summary='{"written_rows": "1"}'),
    "a summary without rows": says(200, X_ClickHouse_Summary='{"read_rows": "2"}'),
    "a summary that is a list": says(200, X_ClickHouse_Summary="[]"),
    "acknowledged too soon": acknowledged_too_soon,
}
READ_ONLY_LIES: dict[str, Lie] = {"cut": cut, "cut and called whole": cut_and_called_whole}


@pytest.mark.parametrize("lie", GATEWAY.values(), ids=GATEWAY.keys())
def test_no_answer_of_a_gateway_acknowledges_rows_and_all_are_waited_out(
    proxy: LyingProxy, through: ClickHouseAddress, address: ClickHouseAddress, lie: Lie
) -> None:
    frame = events([{"request_id": f"r-{number}"} for number in range(2)])
    with closing(Writer(through)) as writer, closing(Reader(address)) as reader:
        writer.insert("usage_events", events([{"request_id": "before"}]))
        proxy.lie = lie
        with pytest.raises(WarehouseUnavailable):
            writer.insert("usage_events", frame)
        with pytest.raises(WarehouseUnavailable):  # and not another error by a client that was opened behind it
            writer.insert("usage_events", frame)
        proxy.lie = honest
        assert writer.insert("usage_events", frame) == 2
        assert reader.frame("SELECT uniqExact(request_id) AS n FROM usage_events_rows")["n"].to_list() == [3]


@pytest.mark.parametrize("lie", [*GATEWAY.values(), *READ_ONLY_LIES.values()], ids=[*GATEWAY, *READ_ONLY_LIES])
def test_no_answer_of_a_gateway_is_taken_for_a_result(proxy: LyingProxy, through: ClickHouseAddress, lie: Lie) -> None:
    with closing(Reader(through)) as reader:
        sql = "SELECT number FROM numbers(10000)"
        assert reader.frame(sql).height == 10_000
        proxy.lie = lie
        with pytest.raises(WarehouseUnavailable):
            reader.frame(sql)
        with pytest.raises(WarehouseUnavailable):
            reader.frame(sql)
        proxy.lie = honest
        assert reader.frame(sql).height == 10_000


def test_rows_are_stored_through_a_gateway_that_takes_the_headers_off_but_never_acknowledged(
    proxy: LyingProxy, through: ClickHouseAddress
) -> None:
    with closing(Writer(through)) as writer:
        writer.insert("usage_events", events([{}]))
        proxy.lie = bare
        with pytest.raises(WarehouseUnavailable, match="of 1 rows sent to usage_events it reports 0 as written"):
            writer.insert("usage_events", events([{"request_id": "again"}]))


def test_an_error_is_known_by_its_text_where_a_gateway_takes_its_number_off(
    proxy: LyingProxy, through: ClickHouseAddress
) -> None:
    with closing(Reader(through)) as reader:
        reader.frame("SELECT 1 AS one")
        proxy.lie = bare
        with pytest.raises(WarehouseRefused) as refused:
            reader.frame("SELECT * FROM nowhere")
    assert refused.value.code == 60


def test_a_page_is_told_in_one_line_of_bounded_length(proxy: LyingProxy, through: ClickHouseAddress) -> None:
    proxy.lie = says(502, b"<p>\n" * 100_000)
    with pytest.raises(WarehouseUnavailable) as told, closing(Clients(through)) as clients, clients.use():
        raise AssertionError("there is no client to use")
    assert len(str(told.value)) < 1_000
    assert "\n" not in str(told.value)


# --- too large -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "refusal",
    [
        says(413, PAGE % 413),
        says(500, b"Code: 241. DB::Exception: Memory limit exceeded", X_ClickHouse_Exception_Code="241"),
        says(
            500,
            b"Code: 252. DB::Exception: Too many partitions for single INSERT block",
            X_ClickHouse_Exception_Code="252",
        ),
    ],
    ids=["413", "memory", "partitions"],
)
def test_an_insert_that_is_too_large_goes_in_by_halves(
    proxy: LyingProxy, through: ClickHouseAddress, address: ClickHouseAddress, refusal: Lie
) -> None:
    rows = SPLIT_ROWS_MIN * 20
    whole = events([{"request_id": f"r-{number}"} for number in range(rows)])
    with closing(Writer(through)) as writer, closing(Reader(address)) as reader:
        writer.insert("usage_events", whole[:1])
        inserts: list[int] = []

        def only_small(body: bytes, ask: Callable[[], Answer]) -> Answer:
            inserts.append(len(body))
            return refusal(body, ask) if len(body) > max(inserts) / 3 else ask()

        proxy.lie = only_small
        assert writer.insert("usage_events", whole) == rows
        assert reader.frame("SELECT uniqExact(request_id) AS n FROM usage_events_rows")["n"].to_list() == [rows]
        proxy.lie = refusal
        with pytest.raises(WarehouseTooSmall):
            writer.insert("usage_events", whole[:10])


# --- one row ---------------------------------------------------------------------------------------------------------


def test_a_row_that_does_not_fit_is_named(clickhouse_endpoint: Endpoint, address: ClickHouseAddress) -> None:
    frame = events([{"request_id": f"r-{number}", "source_offset": number} for number in range(50)])
    broken = frame.with_columns(
        price_rev=pl.when(pl.col("source_offset") == 37).then(pl.lit("x")).otherwise(pl.lit("0"))
    )
    with closing(Writer(address)) as writer, pytest.raises(RowRefused) as refused:
        writer.insert("usage_events", broken)
    assert refused.value.row["request_id"] == "r-37"
    assert "the row of usage_events with source=" in str(refused.value)
    assert "source_offset=37" in str(refused.value)
