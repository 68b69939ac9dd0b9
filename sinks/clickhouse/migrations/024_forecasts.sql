-- What was expected, a row for each scope, period and day: the last one that was told that day. It cannot be told again
-- from calls, since they are another number by then.
CREATE TABLE IF NOT EXISTS forecasts_rows (
  day Date,                                 -- of the zone, on which it was told
  scope String,                             -- as alerts have it, such as system or budget=NAME
  period LowCardinality(String),            -- day | week | month
  zone LowCardinality(String),
  currency LowCardinality(String),
  period_start DateTime('UTC'),
  period_end DateTime('UTC'),
  so_far Decimal(38, 12),
  expected Nullable(Decimal(38, 12)),
  low Nullable(Decimal(38, 12)),
  high Nullable(Decimal(38, 12)),
  method LowCardinality(String),            -- rhythm | elapsed
  whole_days UInt16,
  unpriced_calls Int64,
  made_at DateTime64(3, 'UTC')
) ENGINE = ReplacingMergeTree(made_at)
PARTITION BY toYYYYMM(day)
ORDER BY (scope, period, zone, currency, day)
TTL day + INTERVAL 1 YEAR
SETTINGS ttl_only_drop_parts = 1, fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'Stored rows, superseded ones included: read forecasts';
