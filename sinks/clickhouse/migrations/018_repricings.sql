-- Calls that are stored can be priced anew: by a re-pricing, which has a number. Its rows carry that number as price_rev,
-- so they win over the rows before them, and a late redelivery of an old row never does.
CREATE TABLE IF NOT EXISTS repricings_rows (
  repricing UInt16,                         -- the price_rev of its rows
  begun_at DateTime64(3, 'UTC'),
  begun_by String,
  reason String,
  span_start DateTime64(3, 'UTC'),
  span_end DateTime64(3, 'UTC'),
  provider String,                          -- of this one alone, or empty, and so for the next two
  model String,
  feature String,
  price_revision UInt32,                    -- of own prices, 0 for none
  build String,                             -- whose price table it went by
  state LowCardinality(String),             -- under way | finished | broken off
  ended_at Nullable(DateTime64(3, 'UTC')),
  step UInt8                                -- 0 as it begins, 1 as it ends
) ENGINE = ReplacingMergeTree(step)
ORDER BY repricing
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'Stored rows, superseded ones included: read repricings';

-- Written before the calls are (planned), and again when they stand (applied) or turn out not to (void). An hour with more
-- calls than are written at once is changed in parts, each with rows of its own: all its calls have changed, or none.
CREATE TABLE IF NOT EXISTS cost_adjustments_rows (
  hour DateTime('UTC') CODEC(DoubleDelta, ZSTD(1)),
  provider LowCardinality(String),
  model LowCardinality(String),
  feature LowCardinality(String),
  repricing UInt16,
  price_rev_before UInt16,                  -- of the calls until then
  part UInt16,                              -- cityHash64(request_id) % parts
  parts UInt16,
  calls UInt64,
  cost_usd_before Decimal(38, 12),          -- of the calls whose cost was known
  cost_usd Decimal(38, 12),                 -- of the calls whose cost is known
  unpriced_calls_before UInt64,
  unpriced_calls UInt64,
  partial_calls_before UInt64,
  partial_calls UInt64,
  adjusted_at DateTime64(3, 'UTC'),
  state LowCardinality(String),             -- planned | void | applied | split, into parts that are planned anew
  step UInt8                                -- 0 | 1 | 2 | 3, of the same
) ENGINE = ReplacingMergeTree(step)
PARTITION BY toYYYYMM(hour)
ORDER BY (hour, model, feature, provider, repricing, price_rev_before, part, parts)
TTL hour + INTERVAL 1 YEAR
SETTINGS ttl_only_drop_parts = 1, fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'Stored rows, superseded ones included: read cost_adjustments';

-- Who may write corrections now: the one that claimed first, of those that were seen lately, by the clock of the warehouse.
CREATE TABLE IF NOT EXISTS correction_claims_rows (
  claim String,
  holder String,
  doing String,
  claimed_at DateTime64(6, 'UTC') DEFAULT now64(6),
  seen_at DateTime64(6, 'UTC') DEFAULT now64(6),
  released UInt8
) ENGINE = ReplacingMergeTree(seen_at)
ORDER BY claim
TTL toDateTime(seen_at) + INTERVAL 1 DAY
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

CREATE OR REPLACE VIEW repricings (
  repricing UInt16 COMMENT 'its number, which its calls have as price_rev',
  begun_at DateTime64(3, 'UTC') COMMENT 'when it began, UTC',
  ended_at Nullable(DateTime64(3, 'UTC')) COMMENT 'when it ended, UTC (NULL while it is under way)',
  state LowCardinality(String) COMMENT 'under way, finished, or broken off: then what it had changed by then stands',
  begun_by String COMMENT 'who began it, as they said it',
  reason String COMMENT 'why, as they said it',
  span_start DateTime64(3, 'UTC') COMMENT 'of calls from this moment on, UTC',
  span_end DateTime64(3, 'UTC') COMMENT 'until before this moment, UTC',
  provider String COMMENT 'of this provider alone, empty for all',
  model String COMMENT 'of this model alone, empty for all',
  feature String COMMENT 'of this feature alone, empty for all',
  price_revision UInt32 COMMENT 'the revision of own prices that it went by, 0 for none',
  build String COMMENT 'the price table that it went by'
)
SQL SECURITY DEFINER AS
SELECT
  repricing, begun_at, ended_at, state, begun_by, reason, span_start, span_end, provider, model, feature,
  price_revision, build
FROM repricings_rows FINAL
COMMENT 'Re-pricings of stored calls (costream reprice), each once. What they changed is in cost_adjustments.';

CREATE OR REPLACE VIEW cost_adjustments (
  hour DateTime('UTC') COMMENT 'the hour, by its first moment, UTC',
  provider LowCardinality(String) COMMENT 'who sells the calls, such as openai',
  model LowCardinality(String) COMMENT 'the model or the product that was called',
  feature LowCardinality(String) COMMENT 'the feature of the product that made the calls',
  repricing UInt16 COMMENT 'the re-pricing that changed them',
  calls UInt64 COMMENT 'calls that it changed: their cost, or how sure it is, or the price that it is named by',
  cost_usd_before Nullable(Decimal(38, 12)) COMMENT 'USD of these calls before it, NULL where no cost was known',
  cost_usd Nullable(Decimal(38, 12)) COMMENT 'USD of these calls after it, NULL where no cost is known',
  difference_usd Decimal(38, 12) COMMENT 'what it added to the costs, in USD: an unknown cost adds nothing',
  unpriced_calls_before UInt64 COMMENT 'of the calls: those without a known cost before it',
  unpriced_calls UInt64 COMMENT 'of the calls: those without a known cost after it',
  partial_calls_before UInt64 COMMENT 'of the calls: those whose cost was not sure before it',
  partial_calls UInt64 COMMENT 'of the calls: those whose cost is not sure after it',
  adjusted_at DateTime64(3, 'UTC') COMMENT 'when they were changed, UTC',
  adjusted_by String COMMENT 'who began the re-pricing, as they said it',
  reason String COMMENT 'why, as they said it'
)
SQL SECURITY DEFINER AS
SELECT
  a.hour AS hour, a.provider AS provider, a.model AS model, a.feature AS feature, a.repricing AS repricing,
  a.calls_changed AS calls,
  if(a.calls_changed > a.unpriced_before, a.usd_before, NULL) AS cost_usd_before,
  if(a.calls_changed > a.unpriced_after, a.usd_after, NULL) AS cost_usd,
  a.usd_after - a.usd_before AS difference_usd,
  a.unpriced_before AS unpriced_calls_before,
  a.unpriced_after AS unpriced_calls,
  a.partial_before AS partial_calls_before,
  a.partial_after AS partial_calls,
  a.changed_at AS adjusted_at,
  r.begun_by AS adjusted_by,
  r.reason AS reason
FROM (
  SELECT hour, provider, model, feature, repricing,
    sum(c.calls) AS calls_changed, sum(c.cost_usd_before) AS usd_before, sum(c.cost_usd) AS usd_after,
    sum(c.unpriced_calls_before) AS unpriced_before, sum(c.unpriced_calls) AS unpriced_after,
    sum(c.partial_calls_before) AS partial_before, sum(c.partial_calls) AS partial_after,
    max(c.adjusted_at) AS changed_at
  FROM cost_adjustments_rows AS c FINAL
  WHERE c.state = 'applied'
  GROUP BY hour, provider, model, feature, repricing) AS a
LEFT ANY JOIN (SELECT * FROM repricings_rows FINAL) AS r ON r.repricing = a.repricing
COMMENT 'What re-pricings changed: old and new cost of the calls of an hour, model and feature. Kept for a year.';

ALTER TABLE usage_events COMMENT COLUMN price_rev 'the re-pricing that gave it its price (see repricings), 0 for none';
