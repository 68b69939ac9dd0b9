"""Traces of requests as usage events."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from stream.demo.trace import Request, TraceRefused, as_events, read_requests, stretched

CSV = (
    "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.9799600,4808,10\n2023-11-16 18:17:04.0319600,3180,8\n"
)
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def test_a_trace_is_read_with_its_times_in_utc_and_its_counts(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(CSV)
    assert read_requests(path)[0] == Request(datetime(2023, 11, 16, 18, 17, 3, 979960, tzinfo=UTC), 4808, 10)


def test_a_gzipped_trace_reads_like_a_plain_one(tmp_path: Path) -> None:
    plain, zipped = tmp_path / "a.csv", tmp_path / "b.csv.gz"
    plain.write_text(CSV)
    zipped.write_bytes(gzip.compress(CSV.encode()))
    assert read_requests(plain) == read_requests(zipped)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("TIMESTAMP,ContextTokens\n", "line 1: the column GeneratedTokens is missing"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03,many,1\n", "line 2: 'many' is no number"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\nyesterday,1,1\n", "line 2: 'yesterday' is no time"),
    ],
)
def test_a_bad_line_is_named_and_nothing_is_read(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(text)
    with pytest.raises(TraceRefused, match=told):
        read_requests(path)


def test_stretched_arrivals_span_the_time_asked_for_in_their_own_proportions() -> None:
    requests = [Request(NOON + timedelta(minutes=minute), 1, 1) for minute in (0, 15, 60)]
    moments = [request.arrived_at for request in stretched(requests, span=timedelta(days=4), until=NOON)]
    assert moments == [NOON - timedelta(days=4), NOON - timedelta(days=3), NOON]


def test_the_same_trace_under_the_same_name_has_the_same_ids_and_another_name_others() -> None:
    requests = [Request(NOON, 5, 1), Request(NOON, 5, 1)]
    ids = {run: [event.request_id for event in as_events(requests, run=run, models=MODELS)] for run in "ab"}
    assert ids["a"] == [event.request_id for event in as_events(requests, run="a", models=MODELS)]
    assert len({*ids["a"], *ids["b"]}) == 4


def test_row_n_gets_model_n_modulo_their_number() -> None:
    events = as_events([Request(NOON, 5, 1)] * 3, run="a", models=MODELS, feature="chatbot")
    assert [(event.model, event.feature) for event in events] == [
        ("m1", "chatbot"),
        ("m2", "chatbot"),
        ("m1", "chatbot"),
    ]


MODELS = [("p", "m1"), ("p", "m2")]
