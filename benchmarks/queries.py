"""How long the questions of docs/data.md take on a large warehouse that is made in SQL.

    python -m benchmarks.run --only queries
    python -m benchmarks.queries 50000000          the same, as one JSON object; the number is of single calls

90 days: 7.8 million hourly rows (300 combinations of dimensions on 12 partitions), their days, 5.4 million days of
5,000 users, and the single calls. Stored in pieces as a worker stores them, and left to the engine's own merges. The
embedded engine, in this process, with as many threads as it takes by itself.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from benchmarks.ground import Ground, ask_child, python_module
from benchmarks.sizes import Sizes
from sinks.clickhouse import migrate
from sinks.clickhouse.connect import ClickHouseAddress, open_client
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.vocabulary import rows_of

DAYS: Final = 90
PARTITIONS: Final = 12
COMBINATIONS: Final = 300
USERS: Final = 5_000
CALLS_A_SESSION: Final = 20
ROUNDS: Final = 20
SECONDS_MAX: Final = 3_600.0

MONTH_MS, QUARTER_MS, RAW_MS, ONE_MS = 200.0, 500.0, 2_000.0, 200.0  # goals, at the 95th percentile


@dataclass(frozen=True, slots=True)
class Question:
    """One question, asked ROUNDS times."""

    name: str
    p50_ms: float
    p95_ms: float
    goal_ms: float


def run(ground: Ground, sizes: Sizes) -> tuple[Question, ...]:
    """The questions in their order."""
    folder = ground.new_folder("queries")
    answer = ask_child(python_module("queries", sizes.raw_rows), folder=folder, seconds_max=SECONDS_MAX)
    return tuple(Question(**each) for each in answer["questions"])


_LABELS: Final = """
  ['openai', 'anthropic', 'google'][1 + intDiv(combination, 100)] AS provider,
  concat('model-', toString(combination % 10)) AS model, 'chat' AS operation,
  concat('feature-', toString(intDiv(combination, 10) % 10)) AS feature, '' AS task_type,
  concat('team-', toString(combination % 5)) AS team, 'production' AS environment"""
_SUMS: Final = """
  'benchmark' AS source, {partition} AS source_partition, 1 + cityHash64(number) % 50 AS calls, calls % 3 AS errors,
  0 AS unpriced_calls, 0 AS partial_calls, calls * 900 AS input_tokens, calls * 120 AS output_tokens,
  toDecimal128(cityHash64(number) % 100000000, 12) / 1000000 AS cost_usd, calls * 800 AS duration_ms,
  calls AS duration_calls, ['2026-11-01'] AS price_versions, number AS version"""
_COLUMNS: Final = """provider, model, operation, feature, task_type, team, environment, source, source_partition, calls,
  errors, unpriced_calls, partial_calls, input_tokens, output_tokens, cost_usd, duration_ms, duration_calls,
  price_versions, version"""

HOURS: Final = f"""
INSERT INTO {{hours}} (hour, {_COLUMNS})
SELECT hour, {_COLUMNS} FROM (
  SELECT number, number % {COMBINATIONS} AS combination,
    toStartOfHour(now('UTC')) - toIntervalHour(intDiv(number, {COMBINATIONS})) AS hour, {_LABELS}, {_SUMS}
  FROM numbers({DAYS * 24 * COMBINATIONS}))"""
DAILY: Final = f"""
INSERT INTO {{days}} (day, {_COLUMNS})
SELECT toDate(hour) AS day, provider, model, operation, feature, task_type, team, environment, source, source_partition,
  sum(h.calls), sum(h.errors), 0, 0, sum(h.input_tokens), sum(h.output_tokens), sum(h.cost_usd), sum(h.duration_ms),
  sum(h.duration_calls), ['2026-11-01'], max(h.version)
FROM {{hours}} AS h FINAL WHERE source_partition = {{partition}}
GROUP BY day, provider, model, operation, feature, task_type, team, environment, source, source_partition"""
USER_DAYS: Final = f"""
INSERT INTO {{user_days}} (day, user_id, source, source_partition, calls, unpriced_calls, cost_usd, version)
SELECT today() - intDiv(number, {USERS}), concat('u-', toString(number % {USERS})), 'benchmark', {{partition}},
  1 + cityHash64(number) % 9, 0, toDecimal128(cityHash64(number) % 100000000, 12) / 1000000, number
FROM numbers({DAYS * USERS})"""
CALLS: Final = f"""
INSERT INTO {{events}} (occurred_at, request_id, provider, model, operation, feature, team, environment, user_id,
  session_id, status, input_tokens, output_tokens, duration_ms, usage_status, cost_usd, cost_status, source,
  source_partition, source_offset, received_at)
SELECT toStartOfHour(now64(3, 'UTC')) - toIntervalMillisecond({{day}} * 86400000 + cityHash64(number) % 86400000) AS at,
  lower(concat(hex(cityHash64(number, {{day}})), hex(sipHash64(number, {{day}})))),
  provider, model, operation, feature, team, environment,
  concat('u-', toString(sipHash64(number) % {USERS})), concat('s-', toString({{day}}), '-',
  toString(intDiv(number, {CALLS_A_SESSION}))), if(number % 50 = 0, 'error', 'ok'), 500 + number % 900, number % 400,
  number % 5000, 'reported', if(number % 100 = 0, NULL, toDecimal64(cityHash64(number) % 100000, 12) / 1000000),
  if(number % 100 = 0, 'unpriced', 'priced'), 'benchmark', number % {PARTITIONS}, {{day}} * 1000000 + number, at
FROM (SELECT number, cityHash64(number) % {COMBINATIONS} AS combination, {_LABELS} FROM numbers({{calls}}))"""


def make(address: ClickHouseAddress, *, calls: int) -> None:
    """The warehouse, piece by piece."""
    migrate.up(address)
    names = {
        "hours": "usage_hourly", "days": "usage_daily", "user_days": "usage_user_daily", "events": "usage_events",
    }  # fmt: skip
    tables = {short: rows_of(name) for short, name in names.items()}
    with closing(open_client(address)) as client:
        for partition in range(PARTITIONS):
            for sql in (HOURS, DAILY, USER_DAYS):
                client.command(sql.format(partition=partition, **tables))
        for day in range(DAYS):
            client.command(CALLS.format(day=day, calls=calls // DAYS, **tables))


def _between(days: int, zone: str = "UTC") -> str:
    return f"(from = today() - {days}, to = today(), zone = '{zone}', currency = 'USD')"


def questions(request_id: str) -> dict[str, tuple[str, float]]:
    """By name, the SQL and its goal."""
    span = "occurred_at >= toStartOfDay(now('UTC')) - INTERVAL 30 DAY"
    found = {
        "the 24 hours: realtime_cost_monitor": ("SELECT * FROM realtime_cost_monitor", MONTH_MS),
        "30 days by feature": ("SELECT * FROM feature_cost_summary", MONTH_MS),
        "30 days, model by model": ("SELECT * FROM model_performance_comparison", MONTH_MS),
        "months": ("SELECT * FROM monthly_cost", MONTH_MS),
    }
    for days, goal in ((30, MONTH_MS), (DAYS, QUARTER_MS)):
        found |= {
            f"{days} days by day and model": (f"SELECT * FROM daily_cost_by_model_between{_between(days)}", goal),
            f"{days} days by feature, any span": (
                f"SELECT * FROM feature_cost_summary_between(from = now() - toIntervalDay({days}) + toIntervalHour(3), "
                "to = toStartOfHour(now()), zone = 'UTC', currency = 'USD')".replace(
                    "now() - to", "toStartOfHour(now()) - to"
                ),
                goal,
            ),
            f"{days} days, top users": (
                f"SELECT * FROM user_cost_summary_between{_between(days)} LIMIT 10", goal,
            ),
            f"{days} days by day in New York": (
                f"SELECT * FROM daily_cost_between{_between(days, 'America/New_York')}", goal,
            ),
        }  # fmt: skip
    return found | {
        "percentiles of a month, single calls": (
            "SELECT feature, quantilesExactLow(0.5, 0.95)(cost_usd), countIf(cost_status = 'unpriced') "
            f"FROM usage_events WHERE {span} GROUP BY feature",
            RAW_MS,
        ),
        "user by feature of a month, single calls": (
            f"SELECT user_id, feature, count(), sum(cost_usd) AS spent FROM usage_events WHERE {span} "
            "GROUP BY user_id, feature ORDER BY spent DESC LIMIT 100",
            RAW_MS,
        ),
        "one request_id": (f"SELECT * FROM usage_events WHERE request_id = '{request_id}'", ONE_MS),
        "one session": ("SELECT count(), sum(cost_usd) FROM usage_events WHERE session_id = 's-40-7'", ONE_MS),
    }


def measure(address: ClickHouseAddress) -> list[Question]:
    """Each question once for the caches, and then ROUNDS times."""
    found = []
    with closing(Reader(address)) as reader:
        some_day = "occurred_at >= toStartOfHour(now('UTC')) - INTERVAL 40 DAY"
        known = reader.frame(f"SELECT request_id FROM usage_events WHERE {some_day} LIMIT 1").item()
        for name, (sql, goal) in questions(known).items():
            assert reader.frame(sql).height, f"{name} has an answer"
            times = sorted(_milliseconds(reader, sql) for _ in range(ROUNDS))
            p95 = statistics.quantiles(times, n=20)[-1]
            found.append(Question(name, round(statistics.median(times), 1), round(p95, 1), goal))
    return found


def _milliseconds(reader: Reader, sql: str) -> float:
    start = time.perf_counter()
    reader.frame(sql)
    return (time.perf_counter() - start) * 1000


def main() -> None:
    calls = int(sys.argv[1])
    address = ClickHouseAddress(f"chdb://{Path.cwd() / 'warehouse'}")
    start = time.perf_counter()
    make(address, calls=calls)
    made = time.perf_counter() - start
    print(json.dumps({"made_seconds": round(made), "questions": [asdict(each) for each in measure(address)]}))


if __name__ == "__main__":
    main()
