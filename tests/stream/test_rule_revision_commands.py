"""costream rules publish, list, show-revision and diff: rules in the warehouse, as everybody is told of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from sinks.clickhouse import migrate
from sinks.clickhouse import revisions as stored_revisions
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.rule_revisions import RULES
from stream.cli import common, revisions
from stream.cli.rules import app
from tests.support.commands import Commands
from tests.support.warehouse import Embedded, Server

TEAM = '[[budget]]\nname = "search_team"\nscope = ["user"]\nperiod = "day"\namount = "20"\n'
SPIKE = '[hourly_spike]\nthreshold = "4"\nclear = "3"\n'


@pytest.fixture
def place(clickhouse_embedded: Embedded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Commands]:
    monkeypatch.setattr(common.console, "_width", 200)
    monkeypatch.setattr(stored_revisions, "SETTLE_SECONDS", 0.01)
    with closing(Reader(clickhouse_embedded.fresh())) as reader:
        yield Commands(app, reader, tmp_path)


def test_a_published_revision_is_told_with_what_changes_and_listed_with_who_and_why(place: Commands) -> None:
    assert "no own rules are published: workers judge by those that are shipped" in place.told("list")
    assert place.answer("list") == {"revisions": []}
    file = place.file("our-rules.toml", TEAM + SPIKE)
    rehearsed = place.told("publish", file, "--dry-run")
    assert "hourly_spike.threshold: 3.0 -> 4 hourly_spike.clear: 2.0 -> 3 search_team: none -> budget" in rehearsed
    assert "nothing was published: this was a rehearsal" in rehearsed
    assert RULES.newest(place.reader) is None
    published = place.told("publish", file, "--by", "ann", "--note", "agreed with finance")
    assert "search_team: none -> budget" in published
    assert "published as revision 1: whoever judges takes it over within 10 seconds" in published
    assert "1 of " in place.told("list") and "by ann: our-rules.toml agreed with finance" in place.told("list")
    (listed,) = place.answer("list")["revisions"]
    assert (listed["revision"], listed["published_by"], listed["files"]) == (1, "ann", ["our-rules.toml"])
    assert listed["build"].startswith("costream ")
    again = place.told("publish", file)
    assert "no rule changes" in again
    assert "nothing was published: revision 1, which is in force, has the same files" in again


def test_a_revision_takes_the_place_of_the_one_before_as_a_whole(place: Commands) -> None:
    place.run("publish", place.file("a.toml", TEAM))
    answer = place.answer("publish", place.file("b.toml", SPIKE))
    assert (answer["revision"], answer["published"]) == (2, True)
    assert answer["changes"] == [
        {"rule": "hourly_spike", "field": "threshold", "old": "3.0", "new": "4"},
        {"rule": "hourly_spike", "field": "clear", "old": "2.0", "new": "3"},
        {"rule": "search_team", "field": "", "old": "budget", "new": None},
    ]
    assert place.answer("publish", "--none")["revision"] == 3
    assert place.answer("show-revision", "newest")["files"] == {}
    assert place.answer("diff", "revision:1", "revision:newest")["changes"] == [
        {"rule": "search_team", "field": "", "old": "budget", "new": None}
    ]
    assert place.answer("diff", "shipped", "revision:newest") == {"changes": []}
    assert "no rule changes" in place.told("diff", "shipped", "revision:3")


def test_a_step_that_changes_is_told_with_its_amounts(place: Commands) -> None:
    dearer = place.file("b.toml", TEAM.replace('"20"', '"40"'))
    told = place.told("diff", place.file("a.toml", TEAM), dearer)
    assert "search_team.amount: 20 -> 40" in told
    assert "search_team.steps: 16.00 warning, 18.00 warning, 19.00 critical, 20 emergency -> 32.00 warning" in told
    limit = place.file("c.toml", TEAM.replace("budget", "limit"))
    assert "search_team.kind: budget -> limit" in place.told("diff", dearer, limit)


def test_a_shown_revision_is_itself_a_file_of_rules(place: Commands) -> None:
    assert "no own rules are published yet" in place.told("show-revision", "newest", status=1)
    place.run("publish", place.file("a.toml", TEAM), place.file("b.toml", SPIKE))
    shown = place.run("show-revision", "1").stdout
    assert shown.startswith("# revision 1 of ")
    assert "\n# --- a.toml\n[[budget]]" in shown
    assert place.answer("diff", "revision:1", place.file("shown.toml", shown)) == {"changes": []}
    assert "there is no revision 9 of rules: `costream rules list`" in place.told("show-revision", "9", status=1)
    wrapped = str(2**32 + 1)  # which 32 bits would take for 1
    assert f"there is no revision {wrapped} of rules" in place.told("show-revision", wrapped, status=1)
    assert "revision 'last' is neither a number nor newest" in place.told("show-revision", "last", status=2)


def test_faults_are_told_by_the_paths_of_the_files_and_nothing_is_published(place: Commands) -> None:
    file = place.file("broken.toml", TEAM.replace("day", "week"))
    refused = place.told("publish", file, status=2)
    assert f"{file}: budget 1 (search_team): period: it must be 'hour', 'day', 'month' or 'session'" in refused
    assert "say which rules: FILES, COSTREAM_RULE_FILES, or --none" in place.told("publish", status=2)
    assert "say which rules" in place.told("publish", file, "--none", status=2)
    other = place.folder / "other"
    other.mkdir()
    (other / "a.toml").write_text(SPIKE)
    same = place.told("publish", place.file("a.toml", TEAM), str(other / "a.toml"), status=2)
    assert "two of the files have the same name" in same
    assert RULES.newest(place.reader) is None


def test_files_of_the_setting_are_published_and_too_long_a_note_is_refused(
    place: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = ",".join((place.file("a.toml", TEAM), place.file("b.toml", SPIKE)))
    assert place.answer("publish", COSTREAM_RULE_FILES=files)["revision"] == 1
    assert list(place.answer("show-revision", "1")["files"]) == ["a.toml", "b.toml"]
    assert "--note has 1,001 characters, at most 1,000" in place.told(
        "publish", "--none", "--note", "x" * 1_001, status=2
    )
    monkeypatch.setattr(revisions, "BYTES_MAX", 3)
    assert "and a revision at most 3; nothing was published" in place.told(
        "publish", COSTREAM_RULE_FILES=files, status=2
    )


def test_a_note_cannot_steer_the_terminal(place: Commands) -> None:
    place.run("publish", "--none", "--by", "\x1b[31mann", "--note", "why\x1b[31m")
    for shown in (place.run("list").stdout, place.run("show-revision", "1").stdout):
        assert "\x1b" not in shown
        assert "\\u{1b}[31mann" in shown


def test_a_setting_that_is_a_rule_now_is_refused_with_its_place(place: Commands) -> None:
    told = place.told("list", status=2, COSTREAM_SPIKE_THRESHOLD="4", COSTREAM_UNKNOWN_PRICE_ENABLED="false")
    assert "settings that are rules now; nothing was started" in told
    assert "COSTREAM_SPIKE_THRESHOLD: `threshold` of [hourly_spike]" in told
    assert "COSTREAM_UNKNOWN_PRICE_ENABLED: `on` of [unknown_price]" in told


@pytest.mark.slow
def test_a_warehouse_of_the_release_before_is_asked_to_migrate(clickhouse_endpoint: Server, tmp_path: Path) -> None:
    address = clickhouse_endpoint.unmade()
    migrate.up(address, target=19)
    with closing(Reader(address)) as reader:
        place = Commands(app, reader, tmp_path)
        assert "run `costream migrate up`" in place.told("publish", "--none", status=1)
