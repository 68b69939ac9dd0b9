"""The schema's way up and down, from nothing and from every version in between, with rows in it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import polars as pl
import pytest

from sinks.clickhouse import migrate
from sinks.clickhouse.connect import ClickHouseAddress, create_database, open_client
from sinks.clickhouse.inserter import open_inserter
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.vocabulary import rows_of
from sinks.clickhouse.writer import Writer
from sinks.errors import DataWouldBeLost, WarehouseRefused
from tests.support.databases import drop_database
from tests.support.warehouse import one_way_and_the_other
from tests.support.warehouse_rows import PICO, events, hourly, store_hours, this_hour, user_daily

VERSIONS = sorted(
    int(file.name.split("_")[0]) for file in migrate.FOLDER.glob("*.sql") if not file.name.endswith(".down.sql")
)


@pytest.fixture(params=one_way_and_the_other)
def empty(request: pytest.FixtureRequest) -> Iterator[ClickHouseAddress]:
    """A database that does not exist yet."""
    address: ClickHouseAddress = request.getfixturevalue(request.param).unmade()
    yield address
    drop_database(address)


def states(address: ClickHouseAddress) -> list[str]:
    return [row.state for row in migrate.status(address)]


def stored(address: ClickHouseAddress) -> int:
    with closing(Reader(address)) as reader:
        return int(reader.frame(f"SELECT count() AS n FROM {place_of('usage_events', reader)}")["n"][0])


def store_an_event(address: ClickHouseAddress) -> None:
    with closing(Reader(address)) as reader, closing(open_inserter(address)) as inserter:
        for name, frame in (("usage_events", events([{}])), ("usage_hourly", hourly([{}]))):
            inserter.insert(place_of(name, reader), frame.to_arrow())


def place_of(name: str, reader: Reader) -> str:
    """Where the rows are: a release without views has them under the names that are views today."""
    tables = reader.frame("SELECT name FROM system.tables WHERE database = currentDatabase()")["name"].to_list()
    return rows_of(name) if rows_of(name) in tables else name


def test_up_from_nothing_makes_everything_and_again_changes_nothing(empty: ClickHouseAddress) -> None:
    assert states(empty) == ["pending"] * len(VERSIONS)
    assert migrate.up(empty).versions == VERSIONS
    assert migrate.up(empty).versions == []
    assert states(empty) == ["applied"] * len(VERSIONS)
    assert all(row.applied_at is not None for row in migrate.status(empty))


@pytest.mark.parametrize("version", [VERSIONS[0], *(pytest.param(v, marks=pytest.mark.slow) for v in VERSIONS[1:])])
def test_up_from_every_earlier_version_keeps_its_rows(empty: ClickHouseAddress, version: int) -> None:
    migrate.up(empty, target=version)
    store_an_event(empty)
    assert migrate.up(empty).versions == [later for later in VERSIONS if later > version]
    assert stored(empty) == 1


# What the release before 12 said in words, and the code that it becomes.
WORDS: Final = {
    "no prices known for provider 'acme'": "unknown_provider",
    "no price known for model 'gpt-17' of provider 'openai'": "unknown_model",
    "genai-prices/0.2.3 lists no rate for model 'gpt-4o' of provider 'github-copilot'": "no_rate",
    "no price for images": "quantity_unpriced",
    "fine-tuned model charged at the rate of its base 'gpt-4o-mini'": "base_model_price",
    "the cost is above 999,999 USD, more than one event can hold": "cost_too_large",
    "usage not reported": "usage_missing",
    "output_tokens not reported": "usage_missing",
    "images reported twice": "usage_contradictory",
    "cache_read_tokens reported without input_tokens": "usage_contradictory",
    "the parts of input_tokens exceed it": "usage_contradictory",
    "": "",
}


@pytest.mark.slow
def test_the_reason_of_an_older_row_becomes_a_code_and_its_words_the_detail(empty: ClickHouseAddress) -> None:
    migrate.up(empty, target=11)
    old = [{"request_id": words, "cost_reason": words, "price_version": "" if words else "t@base"} for words in WORDS]
    with closing(open_inserter(empty)) as inserter:
        inserter.insert("usage_events_rows", events(old).to_arrow())
    for _ in range(2):
        migrate.up(empty)
        with closing(Reader(empty)) as reader:
            columns = "request_id, cost_reason, cost_detail, price_source, service_tier, inference_geo"
            rows = reader.frame(f"SELECT {columns} FROM usage_events").rows()
        assert {(words, code, detail) for words, code, detail, *_ in rows} == {
            (*told, told[0]) for told in WORDS.items()
        }
        assert {(words != "", source) for words, _, _, source, *_ in rows} == {(True, ""), (False, "list")}
        assert {tuple(row[4:]) for row in rows} == {("", "")}
        migrate.down(empty, steps=sum(version > 11 for version in VERSIONS), drop_data=True)
        with closing(Reader(empty)) as reader:
            rows = reader.frame("SELECT request_id, cost_reason FROM usage_events").rows()
        assert sorted(rows) == sorted((words, words) for words in WORDS)


@pytest.mark.slow
def test_tokens_without_a_price_are_filled_from_the_calls_that_a_row_has_applied_and_where_those_are_gone_not(
    empty: ClickHouseAddress,
) -> None:
    """By feature: a row whose calls are there, one that a repair has corrected, one that has lost a call, one that has
    no such call, and one whose calls are partial. Beside them calls that were not applied yet, or were taken out."""
    migrate.up(empty, target=15)
    of = {"cost_status": "unpriced", "cost_pico": None, "input_tokens": 100, "output_tokens": 7}
    calls = [
        *({"feature": "whole", "source_offset": 1} | of, {"feature": "whole", "source_offset": 2, "input_tokens": 5}),
        *({"feature": "whole", "source_offset": 9} | of, {"feature": "corrected", "source_offset": 3} | of),
        *({"feature": "corrected", "source_offset": 4} | of, {"feature": "lost", "source_offset": 5} | of),
        {"feature": "partial", "source_offset": 6} | of | {"cost_status": "partial"},
        {"feature": "partial", "source_offset": 7} | of | {"cost_status": "partial", "output_tokens": None},
    ]
    hours = [
        {"feature": "whole", "calls": 2, "unpriced_calls": 1},
        {"feature": "corrected", "calls": 3, "unpriced_calls": 3},
        {"feature": "corrected", "calls": -2, "unpriced_calls": -2, "source": "correction:topic-1"},
        {"feature": "lost", "calls": 2, "unpriced_calls": 2},
        {"feature": "none", "calls": 8},
        {"feature": "partial", "calls": 2, "partial_calls": 2},
    ]
    rows = [hour | {"version": 8} for hour in hours]
    taken_out = {"occurred_at": this_hour(), "request_id": "x", "source": "topic-1", "source_partition": 0}
    with closing(Writer(empty)) as writer:
        named = [call | {"request_id": f"r-{at}", "user_id": "u-1"} for at, call in enumerate(calls)]
        writer.insert("usage_events", events(named))
        store_hours(writer, rows)
        writer.insert("removed_events", pl.DataFrame([taken_out | {"source_offset": 4, "removed_at": this_hour()}]))
        users = [{"unpriced_calls": 3, "partial_calls": 2}, {"user_id": "u-2", "unpriced_calls": 1, "partial_calls": 0}]
        writer.insert("usage_user_daily", user_daily([user | {"version": 8} for user in users]))
    for _ in range(2):
        migrate.up(empty)
        told = {
            "whole": (107, 0),
            "corrected": (107, 0),
            "lost": (None, 0),
            "none": (0, 0),
            "partial": (0, 207),
        }
        with closing(Reader(empty)) as reader:
            for table in ("usage_hourly", "usage_daily"):
                found = reader.frame(f"SELECT feature, unpriced_tokens, partial_tokens FROM {table}").rows()
                assert {feature: tuple(tokens) for feature, *tokens in found} == told, table
            found = reader.frame("SELECT user_id, unpriced_tokens, partial_tokens FROM usage_user_daily").rows()
            assert sorted(found) == [("u-1", 321, 207), ("u-2", None, 0)]
            of_corrected = reader.frame(
                "SELECT source, unpriced_tokens FROM usage_hourly_rows FINAL WHERE feature = 'corrected'"
            ).rows()
            assert sorted(of_corrected) == [("correction:topic-1", 0), ("topic-1", 107)]
        migrate.down(empty, steps=sum(version > 15 for version in VERSIONS), drop_data=True)


@pytest.mark.slow
def test_new_comments_of_columns_change_nothing_else_of_a_view_and_go_again(empty: ClickHouseAddress) -> None:
    old = "of the calls: those priced in part, so that cost_usd is a lower bound"
    new = "of the calls: those in cost_usd whose cost is not sure, it may be too high or too low"
    (version,) = (int(file.name.split("_")[0]) for file in migrate.FOLDER.glob("*_comments.sql"))
    earlier = max(each for each in VERSIONS if each < version)
    before = views_after(empty, up_to=earlier)
    after = views_after(empty, up_to=version)
    assert sum(old in made for made in before.values()) == sum(new in made for made in after.values()) == 28
    assert {name: made.replace(old, new) for name, made in before.items()} == after
    migrate.down(empty)
    assert views_after(empty, up_to=earlier) == before


def views_after(address: ClickHouseAddress, *, up_to: int) -> dict[str, str]:
    """How the engine would make each view."""
    migrate.up(address, target=up_to)
    with closing(Reader(address)) as reader:
        columns, of_views = "name, create_table_query", "database = currentDatabase() AND engine = 'View'"
        return dict(reader.frame(f"SELECT {columns} FROM system.tables WHERE {of_views}").iter_rows())


@pytest.mark.slow
def test_rates_of_a_revision_from_before_019_are_in_the_warehouse_after_it_and_after_a_way_down_and_up(
    empty: ClickHouseAddress,
) -> None:
    migrate.up(empty, target=18)
    rate = '[[exchange_rate]]\ncurrency = "KRW"\nper_usd = "1400"\nvalid_from = 2026-11-01\nsource = "a bank"\n'
    row = {"revision": 1, "publication": "p", "published_by": "ann", "file_names": ["r"], "file_texts": [rate]}
    with closing(Writer(empty)) as writer:
        writer.insert("price_revisions", pl.DataFrame([row], schema_overrides={"revision": pl.UInt32}))
    told = "SELECT toString(first_day), toString(per_usd), revision FROM exchange_rates WHERE currency = 'KRW'"
    for _ in range(2):
        migrate.up(empty)
        with closing(open_client(empty)) as client:
            assert client.query(told).result_rows == [("2026-11-01", "1400", 1)]
            assert client.query("SELECT count() FROM price_revisions").result_rows == [(1,)]
        migrate.down(empty, steps=sum(version > 18 for version in VERSIONS), drop_data=True)


def test_a_call_from_before_utilization_has_none_and_a_step_down_takes_it_from_the_others(
    empty: ClickHouseAddress,
) -> None:
    """The release before says nothing of it when it writes, and reads its view as before."""
    migrate.up(empty, target=24)
    now, before = Decimal("0.85"), [("before", None), ("new", None)]
    names = "SELECT request_id, {} FROM usage_events ORDER BY request_id"

    def told(column: str) -> list[tuple[Any, ...]]:
        with closing(Reader(empty)) as reader:
            return reader.frame(names.format(column)).rows()

    with closing(open_inserter(empty)) as inserter:
        inserter.insert("usage_events_rows", events([{"request_id": "before"}]).to_arrow())
    migrate.up(empty)
    with closing(open_inserter(empty)) as inserter:
        inserter.insert("usage_events_rows", events([{"request_id": "new", "utilization": now}]).to_arrow())
    assert told("utilization") == [("before", None), ("new", now)]
    migrate.down(empty, steps=sum(version > 24 for version in VERSIONS), drop_data=True)
    assert [name for name, _ in told("feature")] == ["before", "new"]
    migrate.up(empty)
    assert told("utilization") == before


def test_down_undoes_the_last_and_keeps_the_rows(empty: ClickHouseAddress) -> None:
    migrate.up(empty)
    store_an_event(empty)
    assert migrate.down(empty, drop_data=True) == VERSIONS[-1:]
    assert states(empty) == ["applied"] * (len(VERSIONS) - 1) + ["pending"]
    assert stored(empty) == 1
    assert migrate.up(empty).versions == VERSIONS[-1:]
    assert stored(empty) == 1


@pytest.mark.slow
def test_tables_go_only_when_that_is_asked_for(empty: ClickHouseAddress) -> None:
    migrate.up(empty)
    store_an_event(empty)
    with pytest.raises(DataWouldBeLost, match="nothing was changed"):
        migrate.down(empty, steps=len(VERSIONS))
    assert states(empty) == ["applied"] * len(VERSIONS)
    assert stored(empty) == 1
    assert migrate.down(empty, steps=len(VERSIONS), drop_data=True) == VERSIONS[::-1]
    left = open_client(empty).query("SELECT name FROM system.tables WHERE database = currentDatabase()").result_rows
    assert left == [("schema_versions",)]


@pytest.mark.slow
def test_every_statement_of_a_migration_is_harmless_to_repeat(empty: ClickHouseAddress) -> None:
    """A run that broke off after the last statement has not recorded its version: the next one runs all of them."""
    for version in VERSIONS:
        migrate.up(empty, target=version)
        if version == 1:
            store_an_event(empty)
        (file,) = (found for found in migrate.FOLDER.glob(f"{version:03}_*.sql") if ".down." not in found.name)
        with closing(open_client(empty)) as client:
            for statement in statements(file):
                client.command(statement)
    with closing(open_client(empty)) as client:
        assert client.query("SELECT sum(calls) FROM usage_hourly").result_rows == [(1,)]
    assert stored(empty) == 1


def statements(file: Path) -> list[str]:
    return [text for text in re.sub(r"--[^\n]*", "", file.read_text()).split(";") if text.strip()]


def test_down_of_nothing_does_nothing(empty: ClickHouseAddress) -> None:
    assert migrate.down(empty) == []


def test_a_run_that_broke_off_is_completed_by_the_next(empty: ClickHouseAddress) -> None:
    create_database(empty)
    client = open_client(empty)
    client.command(
        statements(migrate.FOLDER / "001_tables.sql")[0]
    )  # then the power went, before the version was recorded
    client.close()
    assert migrate.up(empty).versions == VERSIONS


def test_a_migration_changed_after_it_ran_is_refused(
    empty: ClickHouseAddress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate.up(empty)
    for file in migrate.FOLDER.glob("*.sql"):
        (tmp_path / file.name).write_text(file.read_text() + "-- changed\n")
    monkeypatch.setattr(migrate, "FOLDER", tmp_path)
    assert states(empty) == ["md5-mismatch"] * len(VERSIONS)
    with pytest.raises(WarehouseRefused, match="md5 is not equal"):
        migrate.up(empty)


def test_an_unknown_target_is_refused(empty: ClickHouseAddress) -> None:
    with pytest.raises(WarehouseRefused, match="99"):
        migrate.up(empty, target=99)


def test_every_migration_has_its_way_down() -> None:
    ups = {file.name.split("_")[0] for file in migrate.FOLDER.glob("*.sql") if not file.name.endswith(".down.sql")}
    downs = {file.name.split("_")[0] for file in migrate.FOLDER.glob("*.down.sql")}
    assert ups == downs


KEPT: Final = {
    "usage_events": "TTL toDateTime(occurred_at) + toIntervalDay(90)",
    "dead_letters": "TTL toDateTime(received_at) + toIntervalDay(90)",
    "dead_letter_states": "TTL toDateTime(received_at) + toIntervalDay(90)",
    "usage_hourly": "TTL hour + toIntervalYear(1)",
    "usage_hourly_units": "TTL hour + toIntervalYear(1)",
    "usage_daily": "TTL day + toIntervalYear(1)",
    "usage_user_daily": "TTL day + toIntervalYear(1)",
    "alerts": "TTL window_start + toIntervalYear(1)",
}


def test_raw_rows_are_kept_90_days_and_aggregates_a_year(reader: Reader) -> None:
    for table, expires in KEPT.items():
        assert expires in str(reader.frame(f"SHOW CREATE TABLE {rows_of(table)}").item()), table


def test_a_raw_row_goes_after_90_days_and_its_hour_stays(writer: Writer, reader: Reader) -> None:
    ages = {"old": 91, "young": 89}
    at = {name: this_hour() - timedelta(days=days) for name, days in ages.items()}
    writer.insert("usage_events", events([{"request_id": name, "occurred_at": at[name]} for name in ages]))
    store_hours(writer, [{"hour": this_hour() - timedelta(days=100), "cost_pico": 7}])
    client = open_client(reader.address)
    client.command("OPTIMIZE TABLE usage_events_rows FINAL")
    client.command("OPTIMIZE TABLE usage_hourly_rows FINAL")
    client.close()
    assert reader.frame("SELECT request_id FROM usage_events_rows")["request_id"].to_list() == ["young"]
    assert reader.frame("SELECT cost_usd FROM daily_cost")["cost_usd"].to_list() == [7 * PICO]


def test_every_table_survives_a_power_cut_and_repeated_rows(empty: ClickHouseAddress) -> None:
    migrate.up(empty)
    tables = open_client(empty).query(
        "SELECT name, engine, create_table_query FROM system.tables WHERE database = currentDatabase() "
        "AND engine LIKE '%MergeTree' AND name != 'schema_versions'"
    )
    assert len(tables.result_rows) == 27
    for name, engine, ddl in tables.result_rows:
        assert engine == "ReplacingMergeTree", name
        assert "fsync_after_insert = 1, fsync_part_directory = 1" in ddl, name
