"""Events of producers whose clock is wrong by years, on a topic that takes it: rows, ledger and audit agree."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import product
from typing import Any
from uuid import uuid4

import polars as pl
import pytest

from sinks.clickhouse.connect import open_client
from sinks.clickhouse.vocabulary import rows_of
from stream.audit import audit
from stream.decode.arrival import EXPIRING, arrived, as_judged_before, places, refused_late, set_apart
from stream.decode.frame import RECEIVED_FIRST, AgeLimits, Refusal, decode
from stream.ingest import Ingest
from stream.store.flood import LETTERS_KEPT_MAX
from stream.store.flush import Flush
from stream.store.letters import dead_letter_rows
from tests.support.ingest import TABLES, Warehouse, flush_of, ingest_of, run
from tests.support.kafka import create_topics
from tests.support.records import LIMITS, NOW, FakeRecord, rfc3339, wire
from tests.support.site import Site
from tests.support.warehouse import Server
from tests.support.wire import WireBatch, WireProducer, WireRecord

DAY = timedelta(days=1)
CLOCKS = [timedelta(days=days) * sign for days, sign in product((400, 50 * 365), (1, -1))]


def sent(moment: datetime, offset: int = 0, *, own_time: bool = True, request_id: str = "") -> FakeRecord:
    """An event of now by a clock that shows ``moment``, in the event and in the record."""
    value = wire(request_id or f"r-{uuid4()}", occurred_at=rfc3339(moment))
    timestamp = round(moment.timestamp() * 1000)
    return FakeRecord(value, offset=offset, timestamp=timestamp, own_time=own_time)


def letters(flush: Flush) -> list[tuple[str, datetime]]:
    return list(flush.dead_letters.select("kind", "received_at").iter_rows())


@pytest.mark.parametrize("off", CLOCKS)
def test_an_event_of_a_clock_that_is_wrong_by_years_is_a_dead_letter_that_is_kept(
    warehouse: Warehouse, off: timedelta
) -> None:
    ingest = ingest_of(warehouse, f"test-{uuid4()}")
    flush = flush_of(ingest, [sent(NOW + off)])
    assert flush.stored == 0
    ((kind, received_at),) = letters(flush)
    assert kind == ("too_early" if off > timedelta(0) else "too_old" if NOW + off > RECEIVED_FIRST else "invalid")
    assert received_at == NOW
    (refusal,) = flush.refusals
    assert "set message.timestamp.type to LogAppendTime" in refusal.reason


@pytest.mark.parametrize(
    ("off", "stored"),
    [
        (LIMITS.future_max, 1),
        (LIMITS.future_max + timedelta(milliseconds=1), 0),
        (-LIMITS.past_max + EXPIRING, 1),
        (-LIMITS.past_max + EXPIRING - timedelta(milliseconds=1), 0),
    ],
)
def test_the_worker_s_clock_judges_by_the_same_limits(warehouse: Warehouse, off: timedelta, stored: int) -> None:
    assert flush_of(ingest_of(warehouse, f"test-{uuid4()}"), [sent(NOW + off)]).stored == stored


@pytest.mark.parametrize(
    ("off", "kind", "bound"),
    [(DAY, "too_early", "0:10:00 after"), (-90 * DAY, "too_old", "89 days, 0:00:00, the retention less a day, before")],
)
def test_the_reason_names_the_bound_that_was_passed(off: timedelta, kind: str, bound: str) -> None:
    apart = set_apart(decode([sent(NOW + off)], source="s", limits=LIMITS), now=NOW, limits=LIMITS)
    (refusal,) = refused_late(apart, LIMITS)
    assert refusal.kind == kind
    assert f" is not within {bound} the moment when it was read, 2026-11-23T12:30:00.000+00:00" in refusal.reason


def test_only_events_whose_time_nobody_vouches_for_are_set_apart_and_only_those_out_of_time() -> None:
    records = [sent(NOW, 0), sent(NOW + DAY, 1), sent(NOW - 90 * DAY, 2), sent(NOW + DAY, 3, own_time=False)]
    apart = set_apart(decode(records, source="s", limits=LIMITS), now=NOW, limits=LIMITS)
    assert apart.late is not None
    assert (apart.frame["row"].to_list(), apart.late["row"].to_list(), apart.read_at) == ([0, 3], [1, 2], NOW)
    assert [refusal.record.offset for refusal in refused_late(apart, LIMITS)] == [1, 2]


def places_of(*offsets: int, **columns: list[str]) -> pl.DataFrame:
    schema = {"source_partition": pl.Int64, "source_offset": pl.Int64} | dict.fromkeys(columns, pl.String)
    return pl.DataFrame({"source_partition": [0] * len(offsets), "source_offset": [*offsets]} | columns, schema=schema)


def test_of_a_record_that_is_delivered_again_what_is_stored_says_which_it_was() -> None:
    """Offset 0 was stored as a dead letter, 1 is applied by the ledger and stored, 3 was stored as an event; 5 was a
    dead letter when another clock judged it."""
    early = NOW + DAY
    records = [sent(NOW if offset in (4, 5) else early, offset, request_id=f"r-{offset}") for offset in range(6)]
    apart = set_apart(decode(records, source="s", limits=LIMITS), now=NOW, limits=LIMITS)
    found = as_judged_before(
        apart,
        letters=places_of(0, 5, kind=["too_old", "too_early"], reason=["as it was told", "by another clock"]),
        stored=places_of(1, 3),
        applied={0: 1},
        limits=LIMITS,
    )
    assert (found.frame["row"].to_list(), found.late) == ([1, 3, 4], None)
    refused = sorted(found.refusals, key=lambda refusal: refusal.record.offset)
    assert [(each.record.offset, each.kind, each.request_id) for each in refused] == [
        *((0, "too_old", "r-0"), (2, "too_early", "r-2"), (5, "too_early", "r-5")),
    ]
    assert [each.reason for each in refused if each.record.offset != 2] == ["as it was told", "by another clock"]


def test_what_the_ledger_of_another_partition_has_applied_says_nothing() -> None:
    apart = set_apart(decode([sent(NOW + DAY, 0)], source="s", limits=LIMITS), now=NOW, limits=LIMITS)
    nothing = places_of(kind=[], reason=[])
    found = as_judged_before(apart, letters=nothing, stored=places_of(), applied={7: 99}, limits=LIMITS)
    assert (found.frame.height, [each.kind for each in found.refusals]) == (0, ["too_early"])


def test_where_nothing_is_set_apart_there_is_nothing_to_judge() -> None:
    decoded = decode([sent(NOW)], source="s", limits=LIMITS)
    nothing = places_of(kind=[], reason=[])
    assert as_judged_before(decoded, letters=nothing, stored=places_of(), applied={}, limits=LIMITS) is decoded
    assert refused_late(decoded, LIMITS) == []


def test_the_places_of_records_are_the_first_and_the_last_of_each_partition() -> None:
    records = [FakeRecord(b"", partition=at, offset=offset) for at, offset in ((0, 5), (1, 9), (0, 3), (0, 7))]
    assert places(records) == {0: (3, 7), 1: (9, 9)}
    assert places([]) == {}


def test_a_record_came_as_is_known_or_as_its_producer_says_if_that_is_within_a_day() -> None:
    now_ms, day_ms = round(NOW.timestamp() * 1000), 86_400_000
    for said, came in (
        (now_ms + day_ms, now_ms + day_ms),
        (now_ms - day_ms, now_ms - day_ms),
        (now_ms + day_ms + 1, now_ms),
        (now_ms - day_ms - 1, now_ms),
    ):
        record = FakeRecord(b"", offset=7, timestamp=said)
        assert arrived(record, now=NOW, known={}) == came
        assert arrived(record, now=NOW, known={(0, 7): 5, (0, 8): 6}) == 5


def test_records_whose_time_the_topic_vouches_for_are_not_judged_by_the_workers_clock() -> None:
    """So nobody is asked for their dead letters."""
    decoded = decode([FakeRecord(wire())], source="s", limits=LIMITS)
    assert set_apart(decoded, now=NOW + 900 * DAY, limits=LIMITS) is decoded


def test_a_dead_letter_keeps_the_arrival_it_was_stored_with() -> None:
    late = Refusal(sent(NOW + 400 * DAY, 7), "invalid", "reason")
    before = NOW - 3 * DAY
    known = {(0, 7): round(before.timestamp() * 1000), (0, 8): 0}
    stored_again = dead_letter_rows([late], source="s", now=NOW, known=known)
    assert stored_again["received_at"].to_list() == [before]
    assert dead_letter_rows([late], source="s", now=NOW)["received_at"].to_list() == [NOW]


def test_what_the_broker_has_timed_is_judged_by_that_alone(warehouse: Warehouse) -> None:
    """A worker may come to it late."""
    ingest = ingest_of(warehouse, f"test-{uuid4()}", clock=lambda: NOW + 400 * DAY)
    assert flush_of(ingest, [sent(NOW, own_time=False)]).stored == 1


def test_a_dead_letter_came_when_its_producer_says_unless_that_cannot_be(warehouse: Warehouse) -> None:
    ingest = ingest_of(warehouse, f"test-{uuid4()}")
    times = [NOW - DAY, NOW + DAY, NOW - DAY - timedelta(milliseconds=1), NOW + 400 * DAY, NOW - 400 * DAY]
    junk = [
        FakeRecord(b"junk", offset=at, timestamp=round(time.timestamp() * 1000), own_time=True)
        for at, time in enumerate(times)
    ]
    assert [received_at for _, received_at in letters(flush_of(ingest, junk))] == [*times[:2], NOW, NOW, NOW]


MONTH = AgeLimits(future_max=LIMITS.future_max, past_max=timedelta(days=31))  # well before its row expires
BORDERS = [
    pytest.param(NOW + MONTH.future_max + timedelta(seconds=1), id="too early at first, and no longer a moment later"),
    pytest.param(NOW - MONTH.past_max + EXPIRING + timedelta(seconds=1), id="in time at first, too old a moment later"),
]
TORN = [pytest.param(stored, marks=() if stored == 2 else pytest.mark.slow) for stored in range(len(TABLES) + 1)]


@pytest.mark.parametrize("moment", BORDERS)
@pytest.mark.parametrize("stored", TORN)
def test_a_record_that_is_delivered_again_is_judged_as_before_wherever_its_flush_was_torn(
    warehouse: Warehouse, moment: datetime, stored: int
) -> None:
    source = f"test-{uuid4()}"
    records = [sent(NOW, 0), sent(moment, 1), sent(NOW, 2), sent(NOW, 3)]

    def worker(now: datetime) -> Ingest:
        return ingest_of(warehouse, source, limits=MONTH, clock=lambda: now)

    first = flush_of(worker(NOW), records)
    warehouse.store(first, TABLES[:stored])
    run(warehouse, worker(NOW + timedelta(seconds=10)), records)
    cells = warehouse.cells(source)
    (row,) = cells["ingest_ledger"]
    assert row["received"] == row["stored"] + row["dead_lettered"] == 4
    assert row["stored"] == len(cells["usage_events"]) == sum(hour["calls"] for hour in cells["usage_hourly"])
    assert row["dead_lettered"] == len(cells["dead_letters"])
    if stored >= 2:
        assert row["dead_lettered"] == len(first.refusals), "as it was judged first"
    run(warehouse, worker(NOW + 5 * DAY), records)
    assert warehouse.cells(source) == cells


def test_a_flood_is_bounded_whatever_minutes_its_records_say(warehouse: Warehouse) -> None:
    now = NOW
    ingest = ingest_of(warehouse, f"test-{uuid4()}", clock=lambda: now)
    minute = timedelta(minutes=1)
    junk = [
        FakeRecord(b"junk", offset=at, timestamp=round((NOW + at * minute).timestamp() * 1000), own_time=True)
        for at in range(LETTERS_KEPT_MAX + 1)
    ]
    assert flush_of(ingest, junk).letters_cut == 1
    now += minute
    assert flush_of(ingest, junk[:1]).letters_cut == 0, "the next minute has room again"


def test_a_copy_of_a_refused_event_counts(warehouse: Warehouse) -> None:
    """What is refused is not known by its id."""
    source = f"test-{uuid4()}"
    ingest = ingest_of(warehouse, source)
    run(warehouse, ingest, [sent(NOW + 400 * DAY, 0, request_id="r")])
    (flush,) = run(warehouse, ingest, [sent(NOW, 1, request_id="r")])
    assert (flush.stored, flush.duplicates) == (1, 0)


@pytest.mark.slow
@pytest.mark.kafka
def test_rows_ledger_and_audit_agree_on_a_topic_with_the_clocks_of_producers(
    kafka_bootstrap: str, kafka_prefix: str, clickhouse_endpoint: Server
) -> None:
    site = Site(kafka_bootstrap, kafka_prefix, clickhouse_endpoint.fresh())
    config = {
        "message.timestamp.type": "CreateTime",
        "message.timestamp.after.max.ms": str(2**63 - 1),
        "message.timestamp.before.max.ms": str(2**63 - 1),
    }
    create_topics(site.bootstrap_servers, {site.events: 1}, config=config)
    site.create(partitions=1)  # the others
    now = datetime.now(NOW.tzinfo)
    clocks = [now + off for off in CLOCKS] * 10 + [now] * 10
    with WireProducer(site.bootstrap_servers) as producer:
        for clock in clocks:
            record = sent(clock)
            batch = WireBatch([WireRecord(record.value)], timestamp=record.timestamp).encoded()
            taken = producer.produce(site.events, 0, batch)
            assert taken is not None
            assert taken.error == 0
    right, wrong = 10, 40
    for group in ("costream", "replays"):
        with site.worker(group=group, topic_settings_accepted="message.timestamp.type") as worker:
            worker.until(lambda: site.totals.counted() == (right, right, right, 0, wrong), "each has one place")
            worker.until(lambda: worker.page("/readyz")[0] == 200 and lag(worker) == 0, "all is read")
            assert worker.stop() == 0
        expire(site)
        assert site.totals.counted() == (right, right, right, 0, wrong)
        assert site.ledger() == (right + wrong, right, 0, wrong, 0)
        report = audit(site.totals._reader, retention=LIMITS.past_max)
        assert report.holds, report.checks
    site.totals.close()


def expire(site: Site) -> None:
    """What has expired goes now."""
    client = open_client(site.address)
    try:
        for table in TABLES:
            client.command(f"OPTIMIZE TABLE {rows_of(table)} FINAL")
    finally:
        client.close()


def lag(worker: Any) -> float:
    lines = worker.page("/metrics")[1].splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("costream_lag_records{"))
