-- Whole days by the same rule as the hours: full state per (day, dimensions, source, partition), with the last applied
-- offset as version. A span of months is then read from a twenty-fourth of the rows. Repeats (`duplicates`) and units
-- stay with the hours.
CREATE TABLE IF NOT EXISTS usage_daily_rows (
  day Date CODEC(DoubleDelta, ZSTD(1)),
  provider LowCardinality(String),
  model LowCardinality(String),
  operation LowCardinality(String),
  feature LowCardinality(String),
  task_type LowCardinality(String),
  team LowCardinality(String),
  environment LowCardinality(String),
  source LowCardinality(String),
  source_partition UInt16,
  calls Int64 CODEC(T64, ZSTD(1)),
  errors Int64 CODEC(T64, ZSTD(1)),
  unpriced_calls Int64 CODEC(T64, ZSTD(1)),
  partial_calls Int64 CODEC(T64, ZSTD(1)),
  input_tokens Int64 CODEC(T64, ZSTD(1)),
  output_tokens Int64 CODEC(T64, ZSTD(1)),
  cache_read_tokens Int64 CODEC(T64, ZSTD(1)),
  cache_write_tokens Int64 CODEC(T64, ZSTD(1)),
  reasoning_tokens Int64 CODEC(T64, ZSTD(1)),
  cost_usd Decimal(38, 12) CODEC(ZSTD(1)),
  revenue_usd Decimal(38, 12) CODEC(ZSTD(1)),
  duration_ms Int64 CODEC(T64, ZSTD(1)),
  duration_calls Int64 CODEC(T64, ZSTD(1)),
  price_versions Array(String),
  version UInt64 CODEC(T64, ZSTD(1))
) ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(day)
ORDER BY (day, model, feature, provider, operation, task_type, team, environment, source, source_partition)
TTL day + INTERVAL 1 YEAR
SETTINGS ttl_only_drop_parts = 1, fsync_after_insert = 1, fsync_part_directory = 1;

-- The days there are, as they stood when the ledger was written last. A flush writes raw rows, hours and the ledger, in
-- this order. A kill in the middle of one leaves hours ahead of the ledger, some of them and not all, and the worker
-- reads those records again. So what an hour has applied beyond the ledger's offset is taken off again, by its raw rows,
-- and the day's version goes no further than that offset: each record beyond it is above the version of its day, and is
-- added once when it is read again. Where nothing is ahead, the version is the greatest of the hours': nothing above it
-- has been applied, and nothing of the day at or below it is missing. A partition without a ledger has no days yet: its
-- worker begins anew.
INSERT INTO usage_daily_rows (day, provider, model, operation, feature, task_type, team, environment, source,
  source_partition, calls, errors, unpriced_calls, partial_calls, input_tokens, output_tokens, cache_read_tokens,
  cache_write_tokens, reasoning_tokens, cost_usd, revenue_usd, duration_ms, duration_calls, price_versions, version)
WITH
  told AS (
    SELECT source, source_partition, max(version) AS offset_told
    FROM ingest_ledger_rows GROUP BY source, source_partition),
  hours AS (
    SELECT h.*, told.offset_told AS offset_told
    FROM (
      SELECT *, if(startsWith(source, 'correction:'), substring(source, 12), source) AS origin
      FROM usage_hourly_rows FINAL) AS h
    INNER JOIN told ON told.source = h.origin AND told.source_partition = h.source_partition),
  ahead AS (SELECT * FROM hours WHERE source = origin AND version > offset_told)
SELECT toDate(hour) AS day, provider, model, operation, feature, task_type, team, environment, source, source_partition,
  sum(d.calls), sum(d.errors), sum(d.unpriced_calls), sum(d.partial_calls), sum(d.input_tokens), sum(d.output_tokens),
  sum(d.cache_read_tokens), sum(d.cache_write_tokens), sum(d.reasoning_tokens), sum(d.cost_usd), sum(d.revenue_usd),
  sum(d.duration_ms), sum(d.duration_calls), arraySort(groupUniqArrayArray(d.price_versions)), max(d.version)
FROM (
  SELECT hour, provider, model, operation, feature, task_type, team, environment, source, source_partition,
    calls, errors, unpriced_calls, partial_calls, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens,
    reasoning_tokens, cost_usd, revenue_usd, duration_ms, duration_calls, price_versions,
    if(source = origin, least(version, offset_told), version) AS version
  FROM hours
  UNION ALL
  SELECT a.hour, e.provider, e.model, e.operation, e.feature, e.task_type, e.team, e.environment, e.source,
    e.source_partition, -1, -toInt64(e.status = 'error'), -toInt64(e.cost_status = 'unpriced'),
    -toInt64(e.cost_status = 'partial'), -toInt64(ifNull(e.input_tokens, 0)), -toInt64(ifNull(e.output_tokens, 0)),
    -toInt64(ifNull(e.cache_read_tokens, 0)), -toInt64(ifNull(e.cache_write_tokens, 0)),
    -toInt64(ifNull(e.reasoning_tokens, 0)), -toDecimal128(ifNull(e.cost_usd, 0), 12),
    -toDecimal128(ifNull(e.revenue_usd, 0), 12), -toInt64(ifNull(e.duration_ms, 0)),
    -toInt64(e.duration_ms IS NOT NULL), [], a.offset_told
  FROM (
    SELECT *, toStartOfHour(occurred_at) AS hour FROM usage_events_rows FINAL
    WHERE toStartOfHour(occurred_at) IN (SELECT hour FROM ahead)
  ) AS e
  INNER JOIN ahead AS a
    USING (hour, provider, model, operation, feature, task_type, team, environment, source, source_partition)
  WHERE e.source_offset > a.offset_told AND e.source_offset <= a.version
) AS d
GROUP BY day, provider, model, operation, feature, task_type, team, environment, source, source_partition;
