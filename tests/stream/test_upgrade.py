"""Every release's warehouse becomes the newest, also where a flush was torn: replayed, it is what it would have been.

A new migration is covered by what stands here. Only a release that wrote the same rows in another form needs a line in
tests/support/releases.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any, Final
from uuid import uuid4

import pytest

from sinks.clickhouse import migrate
from sinks.clickhouse.connect import create_database
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.writer import Writer
from stream.audit import audit
from tests.support.databases import drop_database
from tests.support.filling import Filling
from tests.support.ingest import SHIPPED, TABLES, Warehouse, ingest_of, run
from tests.support.price_tables import AS_SENT
from tests.support.records import NOW, FakeRecord, log_of, wire
from tests.support.releases import FIRST, LAST_AS_SENT, LAST_WITH_MAPS, ORDER, Release
from tests.support.warehouse import Embedded

pytestmark = pytest.mark.slow

VERSIONS: Final = sorted(
    int(file.name.split("_")[0]) for file in migrate.FOLDER.glob("*.sql") if not file.name.endswith(".down.sql")
)
BATCH: Final = 12
TORN_AT: Final = 3  # so many batches are stored; of the next one the first tables only
# Of a letter, and of a call: empty in rows of the releases that did not keep it.
NOT_KEPT_BEFORE: Final = ("headers_bytes", "price_id")


@pytest.fixture(params=[version for version in VERSIONS if FIRST <= version < VERSIONS[-1]])
def version(request: pytest.FixtureRequest) -> int:
    """The newest migration of an earlier release."""
    return int(request.param)


@pytest.fixture
def place(clickhouse_embedded: Embedded) -> Iterator[Warehouse]:
    """A warehouse of its own, without a table so far."""
    with unmade(clickhouse_embedded) as warehouse:
        yield warehouse


@contextmanager
def unmade(engine: Embedded) -> Iterator[Warehouse]:
    address = engine.unmade()
    create_database(address)
    with closing(Reader(address)) as reader, closing(Writer(address)) as writer:
        yield Warehouse(reader, writer)
    drop_database(address)


def a_log(source: str) -> list[FakeRecord]:
    """Events of two hours and users with units, errors, no price; repeats, conflicts and junk between them."""
    values: list[bytes] = []
    for number in range(30):
        fields: dict[str, Any] = {
            "feature": f"f{number % 2}",
            "user_id": f"u{number % 3}",
            "occurred_at": f"2026-11-23T1{number % 2}:30:00Z",
            "model": "nobody-knows" if number % 7 == 0 else "gpt-4o-mini",
            "status": "error" if number % 5 == 0 else "ok",
            "quantities": {"images": "0.000000000001", "audio_seconds": str(number)} if number % 3 else None,
        }
        values.append(wire(f"{source}-{number}", **fields))
        if number % 4 == 0:
            values += [values[-1], wire(f"{source}-{number}", **fields | {"output_tokens": 7}), b"junk %d" % number]
    return log_of(values)


def cells(warehouse: Warehouse, source: str) -> dict[str, list[dict[str, Any]]]:
    tables = [table for table in TABLES if table != "budget_spend"]  # which is filled in
    return {table: warehouse.rows(table, source, without=NOT_KEPT_BEFORE) for table in tables}


def spends(warehouse: Warehouse, source: str) -> list[tuple[Any, ...]]:
    """What each subject of a budget has spent, whoever added it up."""
    rows = warehouse.reader.frame(
        "SELECT spending, subject, period_start, day, sum(calls), sum(unpriced_calls), sum(cost_usd) "
        "FROM budget_spend_rows FINAL WHERE endsWith(source, {source:String}) GROUP BY ALL ORDER BY ALL",
        source=source,
    )
    return rows.rows()


def figures(warehouse: Warehouse, source: str) -> dict[str, list[dict[str, Any]]]:
    """The cells; of a unit its amount, whose row is another one after it stood in a map."""
    units = [row | {"amount": row.pop("amount_whole") * 10**12 + row.pop("amount_pico"), "version": 0} for row in
        warehouse.rows("usage_hourly_units", source)]  # fmt: skip
    return cells(warehouse, source) | {"usage_hourly_units": units}


def broken(warehouse: Warehouse) -> list[str]:
    report = audit(warehouse.reader, clock=lambda: NOW, pause=lambda: None)
    assert report.check("usage_hourly").compared > 0
    return [check.name for check in report.checks if not check.holds]


def test_after_an_upgrade_a_torn_flush_is_replayed_to_what_it_would_have_been_without_one(
    warehouse: Warehouse, place: Warehouse, version: int
) -> None:
    """A log for each table behind which a flush was torn, each read again from another offset. One release has every
    second of these places, the next one the others."""
    migrate.up(place.reader.address, target=version)
    logs = {f"test-{uuid4()}": torn for torn in range(version % 2, len(ORDER) + 1, 2)}
    for source, torn in logs.items():
        release = Release(place)
        flushes = run(warehouse, ingest_of(warehouse, source), a_log(source), batch=BATCH)
        for flush in flushes[:TORN_AT]:
            release.store(flush)
        release.store(flushes[TORN_AT], ORDER[:torn])
    migrate.up(place.reader.address)
    migrate.require_current(place.reader.address)
    for source, torn in logs.items():
        run(place, ingest_of(place, source), a_log(source)[BATCH * TORN_AT - 3 * torn :], batch=25)
        told = figures if version <= LAST_WITH_MAPS else cells
        assert told(place, source) == told(warehouse, source), f"torn behind {ORDER[:torn]}"
    filling = Filling(place, SHIPPED, NOW)
    filling.run()
    assert filling.is_whole
    for source, torn in logs.items():
        assert spends(place, source) == spends(warehouse, source), f"torn behind {ORDER[:torn]}"
    assert broken(place) == []


SPELLINGS: Final = (("openai", "gpt-4o-mini"), ("OpenAI", "gpt-4o-mini"), ("google-gla", "models/gemini-2.5-flash"))


@pytest.mark.parametrize("torn", [0, 1, 2, len(ORDER) - 1])
def test_what_a_release_kept_as_it_was_sent_stays_so_and_from_then_on_a_model_has_one_name(
    warehouse: Warehouse, place: Warehouse, clickhouse_embedded: Embedded, torn: int
) -> None:
    """Beside it a warehouse whose release stored the flush whole before the upgrade, or nothing of it."""
    source = f"test-{uuid4()}"
    calls = [(n, *SPELLINGS[n % 3]) for n in range(24)]
    log = log_of(wire(f"{source}-{n % 18}", provider=p, model=m) for n, p, m in calls)  # six of them twice
    first, second = run(warehouse, ingest_of(warehouse, source, book=AS_SENT), log[:20], batch=10)
    with unmade(clickhouse_embedded) as whole:
        for older, tables in ((place, ORDER[:torn]), (whole, ORDER)):
            migrate.up(older.reader.address, target=LAST_AS_SENT)
            release = Release(older)
            release.store(first)
            release.store(second, tables if torn else ())
            migrate.up(older.reader.address)
        run(place, ingest_of(place, source), log[7:], batch=4)
        run(whole, ingest_of(whole, source), log[20 if torn else 10 :], batch=4)
        more = log_of([wire(f"{source}-new", provider="google-gla", model="models/gemini-2.5-flash")], first=24)
        for upgraded in (place, whole):
            run(upgraded, ingest_of(upgraded, source), more)
        assert cells(place, source) == cells(whole, source)
    hours = {(row["provider"], row["model"]): row for row in place.rows("usage_hourly", source)}
    as_sent = {names: (row["calls"], row["duplicates"]) for names, row in hours.items() if names in SPELLINGS}
    if torn:
        assert as_sent == dict.fromkeys(SPELLINGS, (6, 2))
    else:  # of the torn flush no row was stored, so its calls are new ones
        assert as_sent == {SPELLINGS[0]: (9, 2), SPELLINGS[1]: (3, 2), SPELLINGS[2]: (3, 2)}
    assert hours["google", "gemini-2.5-flash"]["calls"] == (1 if torn else 4)
    assert broken(place) == []


def test_the_way_down_to_the_first_release_and_up_again_changes_no_figure_and_counting_goes_on(
    warehouse: Warehouse, place: Warehouse
) -> None:
    source = f"test-{uuid4()}"
    log = a_log(source)
    run(warehouse, ingest_of(warehouse, source), log, batch=BATCH)
    migrate.up(place.reader.address)
    run(place, ingest_of(place, source), log[: BATCH * TORN_AT], batch=BATCH)
    before = figures(place, source)
    migrate.down(place.reader.address, steps=len([newer for newer in VERSIONS if newer > FIRST]), drop_data=True)
    migrate.up(place.reader.address)
    assert figures(place, source) == before
    run(place, ingest_of(place, source), log, batch=25)
    assert figures(place, source) == figures(warehouse, source)
    assert broken(place) == []
