"""`costream reprice` as a person gives it: told before, done, told after; and what is refused in a sentence."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from sinks.clickhouse import claims
from sinks.clickhouse.price_revisions import PRICES
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.writer import Writer
from stream.cli import application
from tests.support.databases import emptied
from tests.support.ingest import Warehouse, ingest_of
from tests.support.ingest import run as run_batches
from tests.support.records import FakeRecord, wire
from tests.support.warehouse import Server, settings_of

NOW = datetime.now(UTC).replace(minute=30, second=0, microsecond=0)
DAY = NOW - timedelta(days=1)
OURS = """
[[price]]
provider = "openai"
models = ["gpt-4o-mini"]
source = "our contract"
rates.input_tokens = { price = "0.10", per = "1M" }
"""


class Place:
    def __init__(self, server: Server) -> None:
        self.address = server.fresh()
        self.reader, self.writer = Reader(self.address), Writer(self.address)
        settings = {f"COSTREAM_{name.upper()}": value for name, value in settings_of(self.address).items()}
        self.environment = settings | {"COLUMNS": "120"}

    def fill(self) -> None:
        """Three calls of a million tokens, of which one is of another model."""
        calls = (("gpt-4o-mini", "chat"), ("gpt-4o-mini", "search"), ("gpt-4o", "chat"))
        given: dict[str, Any] = {"input_tokens": 1_000_000, "output_tokens": 0, "occurred_at": DAY.isoformat()}
        values = (wire(f"r-{at}", model=model, feature=feature, **given) for at, (model, feature) in enumerate(calls))
        log = [FakeRecord(value, 0, at, round(NOW.timestamp() * 1_000)) for at, value in enumerate(values)]
        warehouse = Warehouse(self.reader, self.writer)
        run_batches(warehouse, ingest_of(warehouse, "topic-1", clock=lambda: NOW), log)

    def publish(self, text: str) -> None:
        numbers = count()
        PRICES.publish(
            self.reader,
            self.writer,
            {"ours.toml": text},
            published_by="ada",
            note="",
            build="t",
            new_id=lambda: f"p-{next(numbers)}",
            pause=lambda: None,
        )

    def asked(self, *arguments: str, status: int = 0, command: str = "reprice") -> Result:
        result = CliRunner().invoke(application(only=command), [command, *arguments], env=self.environment)
        assert result.exit_code == status, result.output
        return result

    def costs(self) -> list[Decimal]:
        rows = self.reader.frame("SELECT cost_usd FROM usage_events ORDER BY request_id")
        return [row.normalize() for row in rows["cost_usd"]]

    def close(self) -> None:
        self.reader.close()
        self.writer.close()


@pytest.fixture(scope="module")
def server_place(clickhouse_endpoint: Server) -> Iterator[Place]:
    with closing(Place(clickhouse_endpoint)) as place:
        yield place


@pytest.fixture
def place(server_place: Place, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setattr(claims, "SETTLE_SECONDS", 0.01)
    monkeypatch.setattr("stream.audit.checks.PAUSE_SECONDS", 0.01)
    emptied(server_place.address)
    server_place.fill()
    return server_place


FROM = ("--from", f"{DAY:%Y-%m-%d}")
WHY = ("--reason", "contract 17", "--by", "ada")


def test_it_is_told_before_done_and_told_after(place: Place) -> None:
    """0.15 USD a million becomes 0.10, twice; gpt-4o stays at 2.50."""
    place.publish(OURS)
    told = " ".join(place.asked(*FROM, "--dry-run").stdout.split())
    assert "by revision 1 of your prices: 3 calls" in told
    assert "2 of them would change: 2.800000000000 USD -> 2.700000000000 USD (-0.100000000000)" in told
    assert told.endswith("nothing was changed")
    assert place.costs() == [Decimal("0.15"), Decimal("0.15"), Decimal("2.5")]

    told = " ".join(place.asked(*FROM, *WHY).stdout.split())
    assert "by revision 1 of your prices: re-pricing 1 2 calls" in told
    assert "2 calls changed: 0.300000000000 USD -> 0.200000000000 USD (-0.100000000000)" in told
    assert 'costream query "SELECT * FROM cost_adjustments WHERE repricing = 1"' in told
    assert place.costs() == [Decimal("0.1"), Decimal("0.1"), Decimal("2.5")]
    assert place.reader.frame("SELECT sum(cost_usd) FROM usage_hourly").item() == Decimal("2.7")

    told = " ".join(place.asked(*FROM, *WHY).stdout.split())
    assert "every call has its price already, nothing was changed" in told


def test_as_json_it_is_one_object_with_money_as_text(place: Place) -> None:
    place.publish(OURS)
    before = json.loads(place.asked(*FROM, "--dry-run", "--json").stdout)
    assert (before["dry_run"], before["changed_calls"], before["difference_usd"]) == (True, 2, "-0.100000000000")
    done = json.loads(place.asked(*FROM, *WHY, "--json").stdout)
    build = done.pop("build")
    assert build.startswith("genai-prices")
    assert done == {
        "from": f"{DAY:%Y-%m-%d}T00:00:00+00:00",
        "to": done["to"],
        "dry_run": False,
        "repricing": 1,
        "price_revision": 1,
        "changed_calls": 2,
        "cost_usd_before": "0.300000000000",
        "cost_usd": "0.200000000000",
        "difference_usd": "-0.100000000000",
        "corrected_rows": 5,
        "uncorrected_rows": 0,
        "broken_off": [],
    }


def test_of_one_feature_alone_and_by_an_older_revision(place: Place) -> None:
    place.publish(OURS)
    place.publish(OURS.replace("0.10", "0.20"))
    place.asked(*FROM, *WHY, "--feature", "search", "--revision", "1")
    assert place.costs() == [Decimal("0.15"), Decimal("0.1"), Decimal("2.5")]
    place.asked(*FROM, *WHY)
    assert place.costs() == [Decimal("0.2"), Decimal("0.2"), Decimal("2.5")]
    runs = place.reader.frame("SELECT repricing, price_revision, feature, begun_by, reason, state FROM repricings")
    assert sorted(runs.rows()) == [
        (1, 1, "search", "ada", "contract 17", "finished"),
        (2, 2, "", "ada", "contract 17", "finished"),
    ]


def test_a_call_explains_who_gave_it_its_price(place: Place) -> None:
    place.publish(OURS)
    place.asked(*FROM, *WHY)
    told = place.asked("r-0", command="explain").stdout
    assert "priced anew by re-pricing 1" in told
    assert "ada: contract 17" in told
    whole = json.loads(place.asked("r-0", "--json", command="explain").stdout)
    assert whole["calls"][0]["repricing"]["reason"] == "contract 17"
    assert json.loads(place.asked("r-2", "--json", command="explain").stdout)["calls"][0]["repricing"] is None


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (FROM, 2, "say why with --reason; nothing was changed"),
        ((*FROM, "--reason", " "), 2, "say why with --reason; nothing was changed"),
        ((*FROM, "--to", f"{DAY:%Y-%m-%d}", *WHY), 2, "the span is empty"),
        (("--from", "2020-01-01", *WHY), 1, "the span begins at 2020-01-01 00:00 UTC, and single calls are kept whole"),
        (("--from", "2020-01-01", "--dry-run"), 1, "single calls are kept whole from"),
        ((*FROM, "--revision", "7", *WHY), 1, "there is no revision 7 of prices"),
        ((*FROM, "--revision", "old", *WHY), 2, "revision 'old' is neither a number nor newest"),
        ((*FROM, "--reason", "x" * 1_001), 2, "--reason has 1,001 characters, 1,000 are allowed; nothing was changed"),
    ],
)
def test_what_cannot_be_done_is_refused_in_a_sentence(
    place: Place, arguments: tuple[str, ...], status: int, told: str
) -> None:
    result = place.asked(*arguments, status=status)
    assert told in " ".join(result.output.split())
    assert place.costs() == [Decimal("0.15"), Decimal("0.15"), Decimal("2.5")]


def test_a_second_one_at_the_same_time_is_refused(place: Place) -> None:
    place.publish(OURS)
    options: dict[str, Any] = {"holder": "bob", "doing": "a repair", "new_id": lambda: "bobs"}
    with claims.claimed(
        place.reader, place.writer, pause=lambda _: None, monotonic=lambda: 0.0, waiting=lambda _: None, **options
    ) as bob:
        ended = threading.Event()

        def speak() -> None:
            while not ended.wait(0.05):
                bob.say_that_it_lives()

        speaking = threading.Thread(target=speak)
        speaking.start()
        try:
            told = place.asked(*FROM, *WHY, status=1).output
        finally:
            ended.set()
            speaking.join()
    assert "a repair by bob is under way since" in " ".join(told.split())
    assert place.costs() == [Decimal("0.15"), Decimal("0.15"), Decimal("2.5")]


@pytest.mark.slow
def test_an_audit_meanwhile_says_who_is_writing(place: Place) -> None:
    place.writer.insert(
        "usage_hourly", place.reader.frame("SELECT * REPLACE (calls + 1 AS calls) FROM usage_hourly_rows")
    )
    told = " ".join(place.asked("--no-kafka", command="audit", status=1).output.split())
    assert "has been writing corrections" not in told
    options: dict[str, Any] = {"holder": "bob", "doing": "a repair", "new_id": lambda: "bobs"}
    with claims.claimed(
        place.reader, place.writer, pause=lambda _: None, monotonic=lambda: 0.0, waiting=lambda _: None, **options
    ):
        told = " ".join(place.asked("--no-kafka", command="audit", status=1).output.split())
    assert "a repair by bob has been writing corrections: what differs may be its work half done" in told


def test_a_file_of_prices_is_published_before_it_counts(place: Place, tmp_path: Path) -> None:
    """There is no option for files: two workers would then go by different prices."""
    path = tmp_path / "ours.toml"
    path.write_text(OURS)
    assert "No such option: --prices" in place.asked(*FROM, "--prices", str(path), status=2).output
