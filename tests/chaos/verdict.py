"""The verdict: what is stored and published, against the plain recount. Every difference counts; none is excused."""

from __future__ import annotations

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final, TypeVar

from sinks.clickhouse.reader import Reader
from tests.chaos.hostile import HostileRecord, Place
from tests.chaos.recount import (
    SUMS,
    Cell,
    Counted,
    DayKey,
    HourKey,
    Recount,
    budget_spend,
    daily,
    home,
    hourly,
    user_daily,
)
from tests.chaos.topic_dump import Record

K = TypeVar("K")

EXAMPLES_MAX: Final = 12

CALLS: Final = "calls, errors, unpriced_calls, partial_calls"
SHARED: Final = f"{CALLS}, unpriced_tokens, partial_tokens, input_tokens, output_tokens, cost_usd, revenue_usd"
OF_DAYS_TOO: Final = "cache_read_tokens, cache_write_tokens, reasoning_tokens, duration_ms, duration_calls"
DETAILS: Final = f"duplicates, {OF_DAYS_TOO}"
HOURLY: Final = f"""
  SELECT hour, provider, model, operation, feature, task_type, team, environment,
    {", ".join(f"ifNull(sum({name}), 0) AS {name}" for name in f"{SHARED}, {DETAILS}".split(", "))},
    toJSONString(mapApply((unit, amount) -> (unit, toString(amount)), sumMap(h.quantities))) AS quantities
  FROM usage_hourly AS h
  GROUP BY hour, provider, model, operation, feature, task_type, team, environment"""
DAILY: Final = f"""
  SELECT toDateTime(day, 'UTC') AS hour, provider, model, operation, feature, task_type, team, environment,
    {", ".join(f"ifNull(sum({name}), 0) AS {name}" for name in f"{SHARED}, {OF_DAYS_TOO}".split(", "))}
  FROM usage_daily GROUP BY hour, provider, model, operation, feature, task_type, team, environment"""
USER_DAILY: Final = f"""
  SELECT toString(day) AS day, user_id, {", ".join(f"sum({name}) AS {name}" for name in SHARED.split(", "))}
  FROM usage_user_daily_rows FINAL GROUP BY day, user_id"""
WHOLE_FROM: Final = """
  SELECT arrayStringConcat(scope, ',') AS scope, period, toString(whole_from) AS day
  FROM budget_sums WHERE NOT is_control"""
BUDGET_SPEND: Final = """
  SELECT arrayStringConcat(s.scope, ',') AS scope, s.period AS period, subject, toString(day) AS day,
    sum(r.calls) AS calls, sum(r.unpriced_calls) AS unpriced_calls, sum(r.cost_usd) AS cost_usd
  FROM budget_spend_rows AS r FINAL INNER JOIN budget_sums AS s ON s.spending = r.spending
  WHERE NOT s.is_control AND r.day >= s.whole_from
  GROUP BY scope, period, subject, day"""
EVENTS: Final = """
  SELECT request_id, occurred_at, provider, model, operation, feature, task_type, user_id, team, environment, status,
    usage_status, duration_ms, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens,
    reported_cost_usd, revenue_usd, cost_usd, cost_status, quantities,
    if(e.provider_sent = '', e.provider, e.provider_sent) AS provider_sent,
    if(e.model_sent = '', e.model, e.model_sent) AS model_sent
  FROM usage_events_rows AS e FINAL"""
DEAD_LETTERS: Final = """
  SELECT kind, toInt64(source_partition) AS partition, toInt64(source_offset) AS offset, base64Encode(value) AS value,
    toInt64(value_bytes) AS size, value_sha256 AS sha256
  FROM dead_letters_rows FINAL"""
ALERTS: Final = "SELECT alert_id, toInt64(revision) AS revision FROM alerts_rows FINAL"


@dataclass(slots=True)
class Verdict:
    """``must_be_0`` says what went wrong, ``figures`` what was done and compared, ``examples`` shows a few faults."""

    figures: dict[str, Any] = field(default_factory=dict)
    must_be_0: dict[str, int] = field(default_factory=dict)
    examples: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        return not any(self.must_be_0.values())

    def fault(self, name: str, faults: Iterable[str]) -> None:
        """Count faults under a name, and keep a few to look at."""
        told = list(faults)
        self.must_be_0[name] = self.must_be_0.get(name, 0) + len(told)
        self.examples += [f"{name}: {each}" for each in told[:EXAMPLES_MAX]]

    def as_json(self) -> dict[str, Any]:
        return {"holds": self.holds} | asdict(self)


def compare(
    verdict: Verdict,
    published: Recount,
    reader: Reader,
    log: Iterable[Record],
    *,
    hostile: Mapping[Place, HostileRecord],
    partitions: int,
) -> None:
    """Raw rows, all rollups and the dead letters."""
    copies, echoes = _copies_at_home(published, log, partitions)
    verdict.figures["echoes"] = echoes
    _compare_events(verdict, published, reader)
    repeats = {request_id: count - 1 for request_id, count in copies.items()}
    hours = hourly(published.events.values(), repeats)
    _compare_cells(verdict, "usage_hourly", hours, _stored_hours(reader))
    _compare_cells(verdict, "usage_daily", daily(hours), _stored_days(reader))
    _compare_cells(verdict, "usage_user_daily", user_daily(published.events.values()), _stored_user_days(reader))
    _compare_spend(verdict, published, reader)
    _compare_dead_letters(verdict, published, hostile, reader)


def _copies_at_home(published: Recount, log: Iterable[Record], partitions: int) -> tuple[Counter[str], int]:
    """How often each id stands on the partition that counts it, conflicts aside; and how many were nobody's plan."""
    copies: Counter[str] = Counter()
    for record in log:
        text = (record.value or b"").decode(errors="surrogateescape")
        if text in published.refused:
            continue
        request_id = json.loads(text)["request_id"]
        copies[request_id] += record.partition == home(request_id, partitions)
    return copies, copies.total() - published.copies.total()


def _compare_events(verdict: Verdict, published: Recount, reader: Reader) -> None:
    rows = list(reader.frame(EVENTS).iter_rows(named=True))
    stored = Counter(row["request_id"] for row in rows)
    verdict.figures["stored"] = len(stored)
    verdict.fault("lost", (id_ for id_ in published.events if id_ not in stored))
    verdict.fault("counted_twice", (f"{id_}: {count} rows" for id_, count in stored.items() if count > 1))
    verdict.fault("nobody_published", (id_ for id_ in stored if id_ not in published.events))
    known = [row for row in rows if row["request_id"] in published.events]
    differing = (_difference(_event_cell(published.events[row["request_id"]]), _row_cell(row)) for row in known)
    verdict.fault("differing_events", (each for each in differing if each))


def _event_cell(event: Counted) -> Cell:
    given = event.fields
    texts = ("feature", "task_type", "user_id", "team", "environment")
    numbers = ("duration_ms", "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")
    return {
        "request_id": event.request_id,
        "occurred_at": event.occurred_at,
        **event.names,
        **{name: given.get(name, "") for name in texts},
        "operation": given.get("operation", "chat"),
        "status": given.get("status", "ok"),
        "usage_status": given.get("usage_status", "reported"),
        **{name: given.get(name) for name in (*numbers, "reasoning_tokens")},
        **{name: _money(given.get(name)) for name in ("reported_cost_usd", "revenue_usd")},
        "cost_usd": event.cost,
        "cost_status": event.status,
        "quantities": _quantities(given.get("quantities", {})),
    }


def _row_cell(row: Mapping[str, Any]) -> Cell:
    return dict(row) | {
        "occurred_at": row["occurred_at"].replace(tzinfo=UTC),
        "quantities": _quantities(json.loads(row["quantities"] or "{}")),
    }


def _money(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def _quantities(amounts: Mapping[str, str]) -> dict[str, Decimal]:
    return {unit: Decimal(amount) for unit, amount in amounts.items()}


def _stored_hours(reader: Reader) -> dict[HourKey, Cell]:
    cells = {}
    for row in reader.frame(HOURLY).iter_rows(named=True):
        keys = [row.pop(name) for name in list(row)[:8]]
        row["quantities"] = _quantities(json.loads(row["quantities"]))
        cells[(_utc(keys[0]), *keys[1:])] = row
    return cells


def _stored_days(reader: Reader) -> dict[HourKey, Cell]:
    cells = {}
    for row in reader.frame(DAILY).iter_rows(named=True):
        keys = [row.pop(name) for name in list(row)[:8]]
        cells[(_utc(keys[0]), *keys[1:])] = row
    return cells


def _stored_user_days(reader: Reader) -> dict[DayKey, Cell]:
    return {(row.pop("day"), row.pop("user_id")): row for row in reader.frame(USER_DAILY).iter_rows(named=True)}


def _compare_spend(verdict: Verdict, published: Recount, reader: Reader) -> None:
    whole_from = {(scope, period): day for scope, period, day in reader.frame(WHOLE_FROM).iter_rows()}
    verdict.fault("sums_of_budgets_not_stated", (f"{one}" for one in SUMS if one not in whole_from))
    expected = budget_spend(published.events.values(), whole_from)
    rows = reader.frame(BUDGET_SPEND).iter_rows(named=True)
    stored = {(row.pop("scope"), row.pop("period"), row.pop("subject"), row.pop("day")): row for row in rows}
    _compare_cells(verdict, "budget_spend", expected, stored)


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _compare_cells(verdict: Verdict, table: str, expected: Mapping[K, Cell], stored: Mapping[K, Cell]) -> None:
    """Row by row and cell by cell. A row that is missing, or too many, is as many faults as it has cells."""
    faults = []
    for key in expected.keys() | stored.keys():
        want, have = expected.get(key, {}), stored.get(key, {})
        faults += [
            f"{key} {name}: {have.get(name)} stored, {want.get(name)} published"
            for name in want.keys() | have.keys()
            if want.get(name) != have.get(name)
        ]
    cells = sum(len(row) for row in expected.values())
    verdict.figures[f"{table}_cells"] = cells
    verdict.figures[f"{table}_calls"] = sum(row["calls"] for row in stored.values())
    verdict.fault(f"differing_{table}", faults)


def _difference(want: Cell, have: Cell) -> str:
    told = [f"{name}: {have[name]} stored, {want[name]} published" for name in want if want[name] != have[name]]
    return f"{want['request_id']} {'; '.join(told)}" if told else ""


def _compare_dead_letters(
    verdict: Verdict, published: Recount, hostile: Mapping[Place, HostileRecord], reader: Reader
) -> None:
    """All by length and digest, since of a flood no more is kept; the plan's wherever they are, as nobody knows their
    places, the hostile ones each at its place."""
    stored: Counter[HostileRecord] = Counter()
    found: dict[Place, HostileRecord] = {}
    kinds: Counter[str] = Counter()
    for row in reader.frame(DEAD_LETTERS).iter_rows(named=True):
        kinds[row["kind"]] += 1
        letter, place = _measured(base64.b64decode(row["value"]), row), (row["partition"], row["offset"])
        if place in hostile:
            found[place] = letter
        else:
            stored[letter] += 1
    verdict.figures["dead_letters"] = dict(kinds)
    verdict.figures["hostile_records"] = len(hostile)
    differing = (place for place, record in hostile.items() if found.get(place) != record)
    verdict.fault(
        "hostile_unaccounted", (f"{place}: {found.get(place)} stored, {hostile[place]} read" for place in differing)
    )
    refused = _refused(published)
    texts = {_measure(value): value for value in published.refused}
    missing, more = refused - stored, stored - refused
    verdict.fault("dead_letters_missing", (f"{texts[letter][:200]}" for letter in missing.elements()))
    verdict.fault("dead_letters_too_many", (f"{letter}" for letter in more.elements()))


def _refused(published: Recount) -> Counter[HostileRecord]:
    """What belongs with the dead letters, by length and digest."""
    refused: Counter[HostileRecord] = Counter()
    for value, messages in published.refused.items():
        refused[_measure(value)] += messages
    return refused


def _measure(value: str) -> HostileRecord:
    return _measured(value.encode(errors="surrogateescape"), {"sha256": ""})


def _measured(value: bytes, row: Mapping[str, Any]) -> HostileRecord:
    """A letter that is whole says so by an empty digest. One of a tombstone cannot be told from one of no bytes."""
    if row["sha256"]:
        return HostileRecord(row["size"], row["sha256"])
    return HostileRecord(len(value), hashlib.sha256(value).hexdigest() if value else "")


def compare_dead_letter_topic(
    verdict: Verdict, published: Recount, log: Iterable[Record], *, hostile: Iterable[Place]
) -> None:
    """Every refusal is told on the topic; a repeat after a crash is told apart by its headers."""
    told: Counter[tuple[bytes, bytes]] = Counter()
    letters: set[HostileRecord] = set()
    for record in log:
        told[record.headers["costream-partition"], record.headers["costream-offset"]] += 1
        cut = {
            "sha256": record.headers.get("costream-value-sha256", b"").decode(),
            "size": int(record.headers.get("costream-value-bytes", b"0")),
        }
        letters.add(_measured(record.value or b"", cut))
    verdict.figures["dead_letters_told_again"] = told.total() - len(told)
    verdict.fault("dead_letters_untold", (value[:200] for value in published.refused if _measure(value) not in letters))
    places = {(int(partition), int(offset)) for partition, offset in told}
    verdict.fault("hostile_untold", (f"{place}" for place in hostile if place not in places))


def compare_alerts(verdict: Verdict, reader: Reader, log: Iterable[Record]) -> None:
    """Every revision once, with one content, none left out, and the same ones on the topic and in the warehouse."""
    contents: dict[tuple[str, int], Counter[bytes]] = {}
    for record in log:
        alert = json.loads(record.value or b"{}")
        contents.setdefault((alert["alert_id"], alert["revision"]), Counter())[record.value or b""] += 1
    stored = {(row["alert_id"], row["revision"]) for row in reader.frame(ALERTS).iter_rows(named=True)}
    last: dict[str, int] = {}
    for alert_id, revision in contents:
        last[alert_id] = max(revision, last.get(alert_id, 0))
    every = {(alert_id, revision) for alert_id, end in last.items() for revision in range(1, end + 1)}
    verdict.figures["alerts"] = len(last)
    verdict.figures["alert_revisions"] = len(contents)
    verdict.fault("alerts_contradicting", (f"{key}: {list(each)}" for key, each in contents.items() if len(each) > 1))
    verdict.fault("alerts_left_out", (f"{key} was never published" for key in every - contents.keys()))
    verdict.fault("alerts_unstored", (f"{key} is not in the warehouse" for key in contents.keys() - stored))
    verdict.fault("alerts_untold", (f"{key} is not on the topic" for key in stored - contents.keys()))
    again = {key: each.total() - len(each) for key, each in contents.items() if each.total() > len(each)}
    verdict.fault("alerts_repeated", (f"{key}: {count} times more" for key, count in again.items()))
    verdict.fault("alerts_none", [] if contents else ["the present hour costs many times the past ones, and no alert"])
