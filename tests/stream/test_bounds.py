"""docs/bounds.md says the numbers of the code, and the largest rows and labels stay within them."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from uuid import uuid4

import pytest
from prometheus_client import generate_latest

from stream.consume.wire import kept
from stream.decode.cut import HEADERS_KEPT_MAX, KEY_KEPT_BYTES_MAX, VALUE_KEPT_BYTES_MAX
from stream.decode.examination import REASON_CHARS_MAX
from stream.decode.frame import Refusal
from stream.runtime.kafka import BATCH_BYTES_MAX
from stream.runtime.settings import Settings
from stream.runtime.telemetry import MODELS_MAX, Telemetry
from stream.store.letters import LETTER_BYTES_MAX, dead_letter_message
from stream.store.order import ROW_BYTES_MAX, hourly_messages, unit_messages, user_messages
from tests.support.ingest import Warehouse, flush_of, ingest_of
from tests.support.records import FakeRecord, log_of, wire

PAGE = Path(__file__).parents[2] / "docs" / "bounds.md"
ROW = re.compile(r"^\|[^|]*\| ([0-9,]+)[^|]*\| `([A-Za-z0-9_.]+)` \|", re.MULTILINE)
SETTING = "COSTREAM_"
BOUNDED_LABELS = {
    "outcome": "a closed set",
    "table": "the tables of rollups",
    "partition": "the partitions of a topic",
    "provider": "at most MODELS_MAX",
    "model": "at most MODELS_MAX",
    "rule": "a closed set",
    "status": "a closed set",
    "check": "a closed set",
    "channel": "those of the rules that are published",
}


def in_the_code(name: str) -> int:
    if name.startswith(SETTING):
        return int(getattr(Settings(), name.removeprefix(SETTING).lower()))
    module, _, constant = name.rpartition(".")
    return int(getattr(importlib.import_module(module), constant))


def test_every_number_on_the_page_is_the_code_s() -> None:
    rows = ROW.findall(PAGE.read_text())
    assert len(rows) > 10
    assert {name: int(number.replace(",", "")) for number, name in rows} == {
        name: in_the_code(name) for _, name in rows
    }


def test_every_metric_that_the_page_names_exists() -> None:
    named = set(re.findall(r"`(costream_[a-z_]+)`", PAGE.read_text()))
    telemetry = Telemetry()
    told = {metric.name for metric in telemetry.registry.collect()}
    assert {name.removesuffix("_total") for name in named} <= told


def test_every_label_of_a_metric_takes_a_bounded_number_of_values() -> None:
    metrics = [metric for metric in vars(Telemetry()).values() if hasattr(metric, "_labelnames")]
    assert {label for metric in metrics for label in metric._labelnames} <= BOUNDED_LABELS.keys()


def test_more_models_than_a_metrics_store_bears_are_counted_as_other() -> None:
    telemetry = Telemetry()
    for number in range(MODELS_MAX + 50):
        telemetry.unpriced_calls("p", f"m-{number}", 1)
    lines = [
        line for line in generate_latest(telemetry.registry).decode().splitlines() if "unpriced_calls_total{" in line
    ]
    assert len(lines) == MODELS_MAX + 1
    assert [line.endswith(" 50.0") for line in lines if 'model="other"' in line] == [True]


@pytest.mark.parametrize("sign", ["x", "🙂", '"', "\\", "/"])
def test_the_largest_row_of_each_table_fits_into_its_message(warehouse: Warehouse, sign: str) -> None:
    """Names at their bound, of signs that take four bytes or that JSON escapes; 400 events of 16 units each."""
    name = sign * 128
    names = dict.fromkeys(("provider", "model", "feature", "task_type", "team", "environment", "user_id"), name)
    values = [
        wire(
            f"r-{number}",
            **names,
            revenue_usd="999999.999999999999",
            quantities={f"u{number}_{unit}_".ljust(64, "x"): "999999999999999999.999999999999" for unit in range(16)},
        )
        for number in range(400)
    ]
    flush = flush_of(ingest_of(warehouse, f"test-{uuid4()}"), log_of(values))
    assert (flush.stored, flush.hourly.height, flush.units.height) == (400, 1, 6_400)
    messages = [*hourly_messages(flush), *unit_messages(flush), *user_messages(flush)]
    sizes = [len(message.key or b"") + len(message.value or b"") for message in messages]
    assert max(sizes) <= ROW_BYTES_MAX


@pytest.mark.parametrize("name", ["\x00", "\udcff", "é", "x", '"'])
@pytest.mark.parametrize("count", [1, HEADERS_KEPT_MAX])
def test_the_largest_dead_letter_fits_into_a_batch_whatever_its_headers_are_called(name: str, count: int) -> None:
    headers = [(name * 20_000, b"")] if count == 1 else [(f"{at}{name * 250}", b"v") for at in range(count)]
    key, value, headers_kept, cut = kept(bytes(10_000), bytes(100_000), headers)
    assert (len(key or b""), len(value or b"")) == (KEY_KEPT_BYTES_MAX, VALUE_KEPT_BYTES_MAX)
    record = FakeRecord(value, offset=2**62, key=key, headers=headers_kept, cut=cut)
    message = dead_letter_message(Refusal(record, "malformed", "é" * REASON_CHARS_MAX), source="s" * 22)
    size = len(message.key or b"") + len(message.value or b"")
    for title, content in message.headers:
        size += len(title.encode()) + len(content or b"") + 10
    assert size <= LETTER_BYTES_MAX <= BATCH_BYTES_MAX
