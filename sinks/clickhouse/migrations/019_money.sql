-- Money for joins: exchange rates, what a credit is sold for, and what features are sold for in credits, as a revision of own
-- prices tells them, by day. They are of its row, so that whoever asks has all of a revision or nothing.
ALTER TABLE price_revisions_rows
  ADD COLUMN IF NOT EXISTS exchange_rates
    Array(Tuple(currency String, first_day Date, per_usd Decimal(38, 12), source String)),
  ADD COLUMN IF NOT EXISTS credit_prices
    Array(Tuple(first_day Date, price Decimal(38, 12), currency String, source String)),
  ADD COLUMN IF NOT EXISTS feature_credits
    Array(Tuple(feature String, first_day Date, credits Nullable(Decimal(38, 12)))),
  ADD COLUMN IF NOT EXISTS money_told UInt8;   -- 1 where the three are what the files say, 0 before they were told

-- The views come from sinks/clickhouse/views since this step: which text of each the warehouse has.
CREATE TABLE IF NOT EXISTS schema_views (
  name String,
  digest String,                               -- of its statement, empty where another release is to make it anew
  applied_at DateTime64(6, 'UTC') DEFAULT now64(6)
) ENGINE = ReplacingMergeTree(applied_at)
ORDER BY name
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
