"""The views of a build: written from templates, made where they differ, and left to a release that one goes back to."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from sinks.clickhouse import migrate
from sinks.clickhouse.connect import ClickHouseAddress, open_client
from sinks.clickhouse.views import state, texts, writing
from sinks.errors import SchemaBehind, WarehouseRefused
from tests.support.databases import drop_database
from tests.support.warehouse import Endpoint

LAST_IN_STEPS = 18  # the release whose views were numbered steps


@pytest.fixture
def current(clickhouse_endpoint: Endpoint) -> ClickHouseAddress:
    """A warehouse with all steps and views of this build."""
    return clickhouse_endpoint.fresh()


def with_another(monkeypatch: pytest.MonkeyPatch, folder: Path, view: str, old: str, new: str) -> None:
    """A build that has another text of this view."""
    for file in texts.FOLDER.glob("*.sql"):
        text = file.read_text()
        if f"CREATE OR REPLACE VIEW {view} " in text:
            before, made, after = text.partition(f"CREATE OR REPLACE VIEW {view} ")
            assert old in after
            text = before + made + after.replace(old, new, 1)
        (folder / file.name).write_text(text)
    monkeypatch.setattr(texts, "FOLDER", folder)


def made(address: ClickHouseAddress) -> dict[str, str]:
    """Every view as the engine keeps it."""
    with closing(open_client(address)) as client:
        found = client.query(
            "SELECT name, create_table_query FROM system.tables WHERE database = currentDatabase() AND engine = 'View'"
        )
    return {name: query.replace(address.database, "") for name, query in found.result_rows}


def test_the_sql_of_the_views_is_what_their_templates_say() -> None:
    files = {file.name: file.read_text() for file in texts.FOLDER.glob("*.sql")}
    assert writing.written() == files, "`make schemas` writes it"


def test_a_view_is_named_once_and_its_digest_is_of_its_text() -> None:
    views = texts.texts()
    assert len({view.name for view in views}) == len(views) > 50
    assert len({view.digest for view in views}) == len(views)
    assert replace(views[0], statement=views[0].statement + " ").digest != views[0].digest


def test_a_view_with_another_text_is_made_anew_and_no_other(
    current: ClickHouseAddress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert migrate.up(current).views == []
    before = made(current)
    with_another(monkeypatch, tmp_path, "daily_cost", "Cost by day, UTC.", "What a day costs, UTC.")
    with pytest.raises(SchemaBehind, match="lacks the view daily_cost: run `costream migrate up`"):
        migrate.require_current(current)
    assert migrate.up(current) == migrate.Applied(versions=[], views=["daily_cost"])
    migrate.require_current(current)
    after = made(current)
    assert {name for name in before if before[name] != after[name]} == {"daily_cost"}
    assert "What a day costs" in after["daily_cost"]


def test_a_warehouse_that_lacks_many_views_is_told_how_many(current: ClickHouseAddress) -> None:
    state.forget(current)
    with pytest.raises(
        SchemaBehind, match=rf"lacks {len(texts.texts())} views of this build, such as usage_events: run"
    ):
        migrate.require_current(current)


def test_a_run_that_broke_off_among_the_views_is_completed_by_the_next(
    current: ClickHouseAddress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state.forget(current)
    with monkeypatch.context() as broken:
        with_another(broken, tmp_path, "daily_cost", "FROM usage_daily AS u", "FROM usage_daily AS AS u")
        with pytest.raises(WarehouseRefused, match="Syntax error"):
            migrate.up(current)
    names = [view.name for view in texts.texts()]
    assert migrate.up(current) == migrate.Applied(versions=[], views=names[names.index("daily_cost") :])
    migrate.require_current(current)


def test_after_a_step_down_all_views_are_made_anew(
    current: ClickHouseAddress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The release that has the step before may have other texts, and goes by what the warehouse says it has."""
    for file in migrate.FOLDER.glob("*.sql"):
        (tmp_path / file.name).write_text(file.read_text())
    (tmp_path / "099_later.sql").write_text("SELECT 1;\n")
    (tmp_path / "099_later.down.sql").write_text("SELECT 1;\n")
    with monkeypatch.context() as newer:
        newer.setattr(migrate, "FOLDER", tmp_path)
        migrate.up(current)
        assert migrate.down(current) == [99]
    with pytest.raises(SchemaBehind):
        migrate.require_current(current)
    assert migrate.up(current) == migrate.Applied(versions=[], views=[view.name for view in texts.texts()])


@pytest.mark.slow
def test_the_way_down_to_the_release_without_view_texts_leaves_its_views(clickhouse_endpoint: Endpoint) -> None:
    old, new = clickhouse_endpoint.unmade(), clickhouse_endpoint.fresh()
    migrate.up(old, target=LAST_IN_STEPS)
    migrate.down(new, steps=sum(step.version > LAST_IN_STEPS for step in migrate.status(new)), drop_data=True)
    assert made(new) == made(old)
    for address in (old, new):
        drop_database(address)
