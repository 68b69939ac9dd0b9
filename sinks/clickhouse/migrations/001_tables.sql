-- One row per request_id: ReplacingMergeTree keeps one of identical copies, and a re-pricing (higher price_rev) beats a
-- redelivery. Everything in ORDER BY and PARTITION BY comes from the event itself and never changes.
-- Weekly partitions: one insert may touch at most 100. A row goes within a day of its 90th: the one week that is expiring
-- is rewritten twice a day; dropping only whole parts would keep personal data up to a week longer.
CREATE TABLE IF NOT EXISTS usage_events (
  occurred_at DateTime64(3, 'UTC') CODEC(T64, ZSTD(1)),
  request_id String CODEC(ZSTD(1)),
  provider LowCardinality(String) CODEC(ZSTD(1)),
  model LowCardinality(String) CODEC(ZSTD(1)),
  operation LowCardinality(String) CODEC(ZSTD(1)),
  feature LowCardinality(String) CODEC(ZSTD(1)),
  task_type LowCardinality(String) CODEC(ZSTD(1)),
  user_id String CODEC(ZSTD(3)),            -- not LowCardinality: one dictionary per part grows with the users
  team LowCardinality(String) CODEC(ZSTD(1)),
  environment LowCardinality(String) CODEC(ZSTD(1)),
  session_id String CODEC(ZSTD(1)),
  metadata String CODEC(ZSTD(1)),           -- JSON text: JSONExtractString(metadata, 'parent_id')
  status LowCardinality(String) CODEC(ZSTD(1)),
  error String CODEC(ZSTD(1)),
  duration_ms Nullable(UInt32) CODEC(T64, ZSTD(1)),
  time_to_first_token_ms Nullable(UInt32) CODEC(T64, ZSTD(1)),
  input_tokens Nullable(UInt32) CODEC(T64('bit'), ZSTD(1)),
  output_tokens Nullable(UInt32) CODEC(T64('bit'), ZSTD(1)),
  cache_read_tokens Nullable(UInt32) CODEC(T64, ZSTD(1)),
  cache_write_tokens Nullable(UInt32) CODEC(T64, ZSTD(1)),
  reasoning_tokens Nullable(UInt32) CODEC(T64, ZSTD(1)),
  total_tokens Nullable(UInt64) ALIAS input_tokens + output_tokens,
  quantities String CODEC(ZSTD(1)),         -- JSON text of unit -> decimal text
  usage_status LowCardinality(String) CODEC(ZSTD(1)),
  reported_cost_usd Nullable(Decimal(18, 12)) CODEC(GCD, T64('bit'), ZSTD(1)),
  unit_prices String CODEC(ZSTD(1)),        -- JSON text of unit -> decimal text
  revenue_usd Nullable(Decimal(18, 12)) CODEC(GCD, T64('bit'), ZSTD(1)),
  -- NULL = unknown, never 0; cost_reason says why. Prices are multiples of far more than 1e-12 USD: GCD halves it.
  cost_usd Nullable(Decimal(18, 12)) CODEC(GCD, T64('bit'), ZSTD(1)),
  cost_status LowCardinality(String) CODEC(ZSTD(1)),        -- priced | partial | unpriced
  cost_reason LowCardinality(String) CODEC(ZSTD(1)),
  price_version LowCardinality(String) CODEC(ZSTD(1)),
  price_rev UInt16 DEFAULT 0 CODEC(T64, ZSTD(1)),
  source LowCardinality(String) CODEC(ZSTD(1)),             -- the topic's incarnation: offsets restart when it is recreated
  source_partition UInt16 CODEC(T64, ZSTD(1)),
  source_offset UInt64 CODEC(T64, ZSTD(1)),
  received_at DateTime64(3, 'UTC') CODEC(T64, ZSTD(1)),     -- the broker's timestamp
  stored_at DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(ZSTD(1))
) ENGINE = ReplacingMergeTree(price_rev)
PARTITION BY toMonday(occurred_at)
ORDER BY (toStartOfHour(occurred_at), model, feature, request_id)
TTL toDateTime(occurred_at) + INTERVAL 90 DAY
SETTINGS ttl_only_drop_parts = 0, merge_with_ttl_timeout = 43200, fsync_after_insert = 1, fsync_part_directory = 1,
  enable_vertical_merge_algorithm = 0;  -- column by column a merge takes less memory and nearly twice as long

-- Full state per (hour, dimensions, source, partition). version = price_rev << 48 | last applied offset: an event at or
-- below a row's version has been applied to it, so any replay is a no-op, row by row. Sums are signed because a
-- correction is a row of its own (source 'correction:<source>') that takes away what the audit removed.
CREATE TABLE IF NOT EXISTS usage_hourly (
  hour DateTime('UTC') CODEC(DoubleDelta, ZSTD(1)),
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
  duplicates Int64 CODEC(T64, ZSTD(1)),     -- repeats of counted ids: recognised, not in calls
  unpriced_calls Int64 CODEC(T64, ZSTD(1)),
  partial_calls Int64 CODEC(T64, ZSTD(1)),
  input_tokens Int64 CODEC(T64, ZSTD(1)),
  output_tokens Int64 CODEC(T64, ZSTD(1)),
  cache_read_tokens Int64 CODEC(T64, ZSTD(1)),
  cache_write_tokens Int64 CODEC(T64, ZSTD(1)),
  reasoning_tokens Int64 CODEC(T64, ZSTD(1)),
  quantities Map(String, Decimal(38, 12)),
  cost_usd Decimal(38, 12) CODEC(ZSTD(1)),
  revenue_usd Decimal(38, 12) CODEC(ZSTD(1)),
  duration_ms Int64 CODEC(T64, ZSTD(1)),
  duration_calls Int64 CODEC(T64, ZSTD(1)), -- calls that reported a duration: the divisor of the average
  price_versions Array(String),
  version UInt64 CODEC(T64, ZSTD(1))
) ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(hour)
ORDER BY (hour, model, feature, provider, operation, task_type, team, environment, source, source_partition)
TTL hour + INTERVAL 1 YEAR
SETTINGS ttl_only_drop_parts = 1, fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS usage_user_daily (
  day Date CODEC(DoubleDelta, ZSTD(1)),
  user_id String CODEC(ZSTD(1)),
  source LowCardinality(String),
  source_partition UInt16,
  calls Int64 CODEC(T64, ZSTD(1)),
  errors Int64 CODEC(T64, ZSTD(1)),
  unpriced_calls Int64 CODEC(T64, ZSTD(1)),
  partial_calls Int64 CODEC(T64, ZSTD(1)),
  input_tokens Int64 CODEC(T64, ZSTD(1)),
  output_tokens Int64 CODEC(T64, ZSTD(1)),
  cost_usd Decimal(38, 12) CODEC(ZSTD(1)),
  revenue_usd Decimal(38, 12) CODEC(ZSTD(1)),
  version UInt64 CODEC(T64, ZSTD(1))
) ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(day)
ORDER BY (day, user_id, source, source_partition)
TTL day + INTERVAL 1 YEAR
SETTINGS ttl_only_drop_parts = 1, fsync_after_insert = 1, fsync_part_directory = 1;

-- Where every record of a partition went, in blocks of 65,536 offsets: received = stored + duplicates + dead_lettered
-- + forwarded. Full state with the last applied offset as version, like the rollups.
CREATE TABLE IF NOT EXISTS ingest_ledger (
  source LowCardinality(String),
  source_partition UInt16,
  offset_block UInt64,                      -- source_offset >> 16
  offset_first UInt64,
  received UInt64,
  stored UInt64,
  duplicates UInt64,
  dead_lettered UInt64,
  forwarded UInt64,
  version UInt64                            -- the last applied offset
) ENGINE = ReplacingMergeTree(version)
ORDER BY (source, source_partition, offset_block)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS dead_letters (
  source LowCardinality(String),
  source_partition UInt16,
  source_offset UInt64,
  received_at DateTime64(3, 'UTC'),
  kind LowCardinality(String),              -- malformed | invalid | conflict | too_early | too_old
  reason String CODEC(ZSTD(1)),             -- which field, which value, which rule
  request_id String,                        -- empty where it could not be read
  key String CODEC(ZSTD(1)),
  value String CODEC(ZSTD(1)),              -- the original bytes
  headers String CODEC(ZSTD(1)),            -- JSON text of [[name, base64 value], ...]
  stored_at DateTime64(3, 'UTC') DEFAULT now64(3)
) ENGINE = ReplacingMergeTree(stored_at)
PARTITION BY toMonday(received_at)
ORDER BY (source, source_partition, source_offset)
TTL toDateTime(received_at) + INTERVAL 90 DAY
SETTINGS ttl_only_drop_parts = 0, merge_with_ttl_timeout = 43200, fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS alerts (
  alert_id String,
  revision UInt32,
  status LowCardinality(String),            -- open | updated | cleared | retracted
  level LowCardinality(String),             -- info | warning | critical | emergency
  rule LowCardinality(String),
  metric_name LowCardinality(String),
  scope String,                             -- what was judged, such as 'system' or 'feature=chatbot'
  user_id Nullable(String),
  title String,
  message String,
  window_start DateTime('UTC'),
  window_end DateTime('UTC'),
  current_value Decimal(38, 12),
  threshold_value Decimal(38, 12),
  expected_value Nullable(Decimal(38, 12)),
  ratio Nullable(Decimal(18, 4)),
  unpriced_calls Int64,
  drivers String,                           -- JSON text
  metadata String,                          -- JSON text
  timestamp DateTime64(3, 'UTC'),           -- when this revision was decided
  stored_at DateTime64(3, 'UTC') DEFAULT now64(3)
) ENGINE = ReplacingMergeTree(stored_at)
PARTITION BY toYYYYMM(window_start)
ORDER BY (alert_id, revision)
TTL window_start + INTERVAL 1 YEAR
SETTINGS ttl_only_drop_parts = 1, fsync_after_insert = 1, fsync_part_directory = 1;

-- What the audit took out of usage_events, whole: the correction rows of the rollups are recomputed from here.
CREATE TABLE IF NOT EXISTS removed_events (
  occurred_at DateTime64(3, 'UTC'),
  request_id String,
  source LowCardinality(String),
  source_partition UInt16,
  source_offset UInt64,
  event String CODEC(ZSTD(1)),              -- the removed row as JSON text
  reason String,
  removed_at DateTime64(3, 'UTC')
) ENGINE = ReplacingMergeTree(removed_at)
ORDER BY (source, source_partition, source_offset)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
