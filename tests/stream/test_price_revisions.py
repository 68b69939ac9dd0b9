"""A worker's price book: the newest revision, for what is worked on from then on; and a text for each price stored."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from itertools import count
from threading import Event, Thread
from typing import Any, Final
from uuid import uuid4

import polars as pl
import pytest

from costream.pricing import Linear, PriceBook, Sku
from costream.pricing.texts import price_of
from sinks.clickhouse.price_revisions import PRICES
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.writer import Writer
from sinks.errors import PricesNotUnderstood, WarehouseUnavailable
from stream.price_revisions import PriceRevisions
from stream.runtime.patience import REFUSALS, WAITED_OUT
from stream.runtime.stage import Stage
from stream.runtime.stalls import Stalls
from tests.support.ingest import BOOK, Warehouse, flush_of, ingest_of, run
from tests.support.price_tables import BUILDS
from tests.support.records import NOW, log_of, rfc3339, wire
from tests.support.site import Site
from tests.support.warehouse import Embedded

NEW_ID: Final = count()


@pytest.fixture
def place(clickhouse_embedded: Embedded) -> Iterator[Warehouse]:
    address = clickhouse_embedded.fresh()
    with closing(Reader(address)) as reader, closing(Writer(address)) as writer:
        yield Warehouse(reader, writer)


@pytest.fixture
def source() -> str:
    return f"test-{uuid4()}"


def ours(usd: str, *, unit: str = "input_tokens") -> dict[str, str]:
    """A file with a price per million."""
    entry = f'provider = "openai"\nmodels = ["gpt-4o-mini"]\nsource = "ours"\nrates.{unit}.price = "{usd}"\n'
    return {"rates.toml": f'[[price]]\n{entry}rates.{unit}.per = "1M"\n'}


def publish(warehouse: Warehouse, files: dict[str, str]) -> None:
    told = {"published_by": "ada", "note": "", "build": "t"}
    PRICES.publish(
        warehouse.reader, warehouse.writer, files, new_id=lambda: f"p-{next(NEW_ID)}", pause=lambda: None, **told
    )


class Impatient:
    def insist(self, action: Any, *, doing: str) -> Any:
        return action()


def prices_of(warehouse: Warehouse, bundled: PriceBook = BOOK) -> PriceRevisions:
    stalls = Stalls(Impatient(), clock=lambda: datetime.now(UTC))
    return PriceRevisions(warehouse.reader, bundled, looking=Stage("prices"), stalls=stalls)


def costs(warehouse: Warehouse, source: str) -> dict[str, tuple[Any, ...]]:
    rows = warehouse.rows("usage_events", source)
    return {row["request_id"]: (row["cost_usd"], row["price_source"], row["price_id"]) for row in rows}


# --- which book ------------------------------------------------------------------------------------------------------


def test_a_worker_prices_by_the_newest_revision_and_keeps_what_it_has_priced(place: Warehouse, source: str) -> None:
    prices = prices_of(place)
    worker = ingest_of(place, source, book=BOOK)
    worker._book = prices.book
    log = log_of([wire(f"r-{number}", input_tokens=1_000_000, output_tokens=0) for number in range(4)])
    prices.look()
    run(place, worker, log[:1])
    for number, usd in ((1, "2"), (2, "3")):
        publish(place, ours(usd))
        prices.look()
        run(place, worker, log[number : number + 1])
    publish(place, {})
    prices.look()
    run(place, worker, log)
    found = costs(place, source)
    assert [(float(found[f"r-{n}"][0]), found[f"r-{n}"][1]) for n in range(4)] == [
        (0.15, "list"),
        (2, "override"),
        (3, "override"),
        (0.15, "list"),
    ]
    assert found["r-0"][2] == found["r-3"][2]
    assert len({one[2] for one in found.values()}) == 3


def test_the_book_is_exchanged_only_for_another_revision(place: Warehouse) -> None:
    prices = prices_of(place)
    prices.look()
    assert prices.book() is BOOK
    publish(place, ours("2"))
    assert prices.book() is BOOK
    prices.look()
    book = prices.book()
    assert book is not BOOK
    prices.look()
    assert prices.book() is book


def test_of_two_threads_that_look_the_one_with_the_older_answer_does_not_come_last(
    place: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    prices, has_read, goes_on = prices_of(place), Event(), Event()
    frame = place.reader.frame

    def slow_at_first(sql: str, **parameters: Any) -> Any:
        found = frame(sql, **parameters)
        if not has_read.is_set():
            has_read.set()
            goes_on.wait(10)
        return found

    publish(place, ours("2"))
    monkeypatch.setattr(place.reader, "frame", slow_at_first)
    threads = [Thread(target=prices.look) for _ in range(2)]
    threads[0].start()
    assert has_read.wait(10)
    publish(place, ours("3"))
    threads[1].start()
    threads[1].join(0.5)
    goes_on.set()
    for thread in threads:
        thread.join(10)
    price = prices.book().at(Sku("openai", "gpt-4o-mini"), NOW)
    assert isinstance(price, Linear) and price.brackets[0].rates["input_tokens"] == 3 * 10**6


def test_no_call_is_priced_while_the_newest_revision_is_none_that_this_build_can_read(place: Warehouse) -> None:
    prices = prices_of(place)
    publish(place, ours("2"))
    prices.look()
    later = '[[price]]\nprovider = "openai"\nmodels = ["m"]\nsource = "s"\nsurge = "2"\n'
    row = {"revision": 2, "publication": "of a later build", "file_names": ["later.toml"], "file_texts": [later]}
    kinds = pl.Schema({"revision": pl.UInt32()})
    place.writer.insert("price_revisions", pl.DataFrame([row | {"money_told": 1}], schema_overrides=kinds))
    prices.look()
    with pytest.raises(PricesNotUnderstood, match=r"revision 2 of prices .*later.toml: entry 1 .*surge") as refused:
        prices.book()
    assert isinstance(refused.value, WAITED_OUT) and isinstance(refused.value, REFUSALS)
    assert isinstance(refused.value, WarehouseUnavailable)
    publish(place, ours("4"))
    prices.look()
    assert prices.book().version.count("+own/") == 1


# --- a text for each price -------------------------------------------------------------------------------------------


def test_each_price_that_a_row_names_is_stored_once_and_gives_its_cost(place: Warehouse, source: str) -> None:
    worker = ingest_of(place, source, book=BOOK.with_files(ours("2")))
    models = ["gpt-4o-mini", "gpt-4o", "nobody-knows", "gpt-4o-mini"]
    log = log_of([wire(f"r-{n}", model=model, input_tokens=1_000) for n, model in enumerate(models)])
    first, second = (flush_of(worker, log), flush_of(worker, log_of([wire("r-9", model="gpt-4o")], first=9)))
    assert first.prices["price_id"].n_unique() == first.prices.height == 2
    assert second.prices.is_empty()
    for flush in (first, second):
        place.store(flush)
    texts = dict(place.reader.frame("SELECT price_id, price FROM prices").iter_rows())
    rows = {row["request_id"]: row for row in place.rows("usage_events", source)}
    assert {row["price_id"] for row in rows.values()} == {*texts, ""}
    assert rows["r-2"]["price_id"] == "", "it has no price"
    own = json.loads(texts[rows["r-0"]["price_id"]])
    entries = {entry["id"]: (entry["file"], entry["source"]) for entry in own["entries"]}
    named = [one for one in own["price_version"].split("+") if one in entries]
    assert [entries[one] for one in named] == [("rates.toml", "ours")]
    rules = {rule["by"] for rule in own["charged_as"].values()}
    assert {*named, *rules} == entries.keys(), "and those of the rules that the price has"
    assert rules
    assert price_of(texts[rows["r-1"]["price_id"]]).version == rows["r-1"]["price_version"]


def test_a_worker_that_takes_partitions_over_stores_the_text_again(place: Warehouse, source: str) -> None:
    """What another one was about to store may never have been."""
    worker = ingest_of(place, source)
    assert flush_of(worker, log_of([wire("r-1")])).prices.height == 1
    worker.revoke()
    worker = ingest_of(place, source)
    assert flush_of(worker, log_of([wire("r-1")])).prices.height == 1


def test_what_the_caller_names_is_in_the_event_and_the_rest_of_the_price_in_its_text(
    place: Warehouse, source: str
) -> None:
    named = {"quantities": {"images": "2"}, "unit_prices": {"images": "0.01"}}
    log = log_of([wire("both", **named), wire("alone", model="nobody-knows", **named), wire("list")])
    run(place, ingest_of(place, source), log)
    found = costs(place, source)
    assert [found[one][1] for one in ("both", "alone", "list")] == ["caller", "caller", "list"]
    assert found["both"][2] == found["list"][2] != ""
    assert found["alone"][2] == ""


def test_a_call_that_another_build_has_priced_names_the_text_that_was_stored_with_it(
    place: Warehouse, source: str
) -> None:
    log = log_of([wire(f"r-{n}") for n in range(4)])
    flush = flush_of(ingest_of(place, source, book=BUILDS[0]), log)
    place.writer.insert("prices", flush.prices)
    place.writer.insert("usage_events", flush.events[:2])
    run(place, ingest_of(place, source, book=BUILDS[1]), log)
    texts = dict(place.reader.frame("SELECT price_id, price_version FROM prices").iter_rows())
    found = costs(place, source)
    assert [texts[found[f"r-{n}"][2]] for n in range(4)] == ["first@base"] * 2 + ["second@base"] * 2


# --- a worker --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.kafka
def test_workers_take_a_revision_over_without_a_restart_and_a_start_knows_it_at_once(site: Site) -> None:
    """On a real Kafka: a group of two in the embedded broker falls apart under load."""
    site.create(partitions=4)
    producer = site.producer()

    def paid(request_id: str) -> list[Any]:
        return site.totals.column(f"SELECT toString(cost_usd) FROM usage_events WHERE request_id = '{request_id}'")

    def send(request_id: str) -> None:
        value = wire(request_id, occurred_at=rfc3339(datetime.now(UTC)), input_tokens=10**6, output_tokens=0)
        site.publish(producer, [(request_id, value)])

    with closing(Reader(site.address)) as reader, closing(Writer(site.address)) as writer:
        with site.worker() as one, site.worker() as other:
            send("before")
            one.until(lambda: paid("before") == ["0.15"], "it is priced by the list")
            publish(Warehouse(reader, writer), ours("2"))
            for worker in (one, other):
                worker.until(lambda worker=worker: worker.log("prices taken over"), "it is told")  # type: ignore[misc]
            for number in range(8):  # of both workers' partitions
                send(f"after-{number}")
            one.until(lambda: all(paid(f"after-{n}") == ["2"] for n in range(8)), "priced by the revision")
            assert paid("before") == ["0.15"]
            assert (one.stop(), other.stop()) == (0, 0)
        send("later")
        with site.worker() as worker:
            worker.until(lambda: paid("later") == ["2"], "the first record after a start is priced by it")
            assert worker.stop() == 0
    named = "SELECT price_id FROM usage_events WHERE price_id NOT IN (SELECT price_id FROM prices)"
    assert site.totals.column(named) == []
