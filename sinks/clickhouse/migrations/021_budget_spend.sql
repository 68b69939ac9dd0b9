-- What budgets are judged by: full state per (day of UTC, sum, subject, period, source, partition), with the last applied
-- offset as version, by the same rule as hours and days.
CREATE TABLE IF NOT EXISTS budget_spend_rows (
  day Date CODEC(DoubleDelta, ZSTD(1)),
  spending LowCardinality(String),          -- the digest of a sum in budget_sums
  period_start DateTime('UTC') CODEC(DoubleDelta, ZSTD(1)),
  period_end DateTime('UTC') CODEC(DoubleDelta, ZSTD(1)),  -- 2100-01-01 for a session
  subject String CODEC(ZSTD(1)),            -- such as user=ann, empty for everything together
  source LowCardinality(String),
  source_partition UInt16,
  calls Int64 CODEC(T64, ZSTD(1)),
  unpriced_calls Int64 CODEC(T64, ZSTD(1)),
  cost_usd Decimal(38, 12) CODEC(ZSTD(1)),
  version UInt64 CODEC(T64, ZSTD(1))
) ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(day)
ORDER BY (day, spending, period_start, period_end, subject, source, source_partition)
TTL day + INTERVAL 1 YEAR
SETTINGS ttl_only_drop_parts = 1, fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'Stored rows, superseded ones and corrections included: read budget_spend';

-- Which sums are made, and from which day on they are whole. One that nobody asks for any more stays, and is out of force.
CREATE TABLE IF NOT EXISTS budget_sums_rows (
  spending String,
  scope Array(String),
  only_words Array(String),
  only_values Array(Array(String)),         -- of the word at the same place
  period LowCardinality(String),
  zone LowCardinality(String),
  is_control UInt8,                         -- the control total: every call, by day
  whole_from Date,
  in_force UInt8,
  version UInt32
) ENGINE = ReplacingMergeTree(version)
ORDER BY spending
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'Stored rows, superseded ones included: read budget_sums';

-- The budgets and limits that are judged by, for whoever asks the warehouse.
CREATE TABLE IF NOT EXISTS budgets_rows (
  name String,
  kind LowCardinality(String),              -- budget | limit
  spending String,
  amount Decimal(38, 12),
  currency LowCardinality(String),
  step_amounts Array(Decimal(38, 12)),      -- the lowest first
  step_levels Array(String),                -- of the amount at the same place
  metric_name LowCardinality(String),
  in_force UInt8,
  version UInt32
) ENGINE = ReplacingMergeTree(version)
ORDER BY name
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'Stored rows, superseded ones included: read budgets';
