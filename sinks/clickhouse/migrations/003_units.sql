-- Units get rows of their own. A map inside usage_hourly grew with every unit that a producer invented, until its row no
-- longer fitted into a message. Stop the workers first (docs/guarantees.md): one of the release before cannot write or
-- read back once the column has its new name, so it stalls and acknowledges nothing.
--
-- Full state per (hour, dimensions, unit, source, partition), like usage_hourly, and version as there. An amount is kept
-- as two sums, whole units and the 1e-12ths beside them: neither can overflow, however many events a row has.
CREATE TABLE IF NOT EXISTS usage_hourly_units (
  hour DateTime('UTC') CODEC(DoubleDelta, ZSTD(1)),
  provider LowCardinality(String),
  model LowCardinality(String),
  operation LowCardinality(String),
  feature LowCardinality(String),
  task_type LowCardinality(String),
  team LowCardinality(String),
  environment LowCardinality(String),
  unit LowCardinality(String),              -- as the event names it, such as audio_seconds; units are never added together
  source LowCardinality(String),
  source_partition UInt16,
  amount_whole Decimal(38, 0) CODEC(ZSTD(1)),
  amount_pico Decimal(38, 0) CODEC(ZSTD(1)),
  -- The amount to read. What 26 digits before the point cannot hold is told as the most they can.
  amount Decimal(38, 12) ALIAS toDecimal128(greatest(least(
    toDecimal256(amount_whole, 12) + toDecimal256(amount_pico, 12) / toDecimal256('1000000000000', 0),
    toDecimal256('99999999999999999999999999.999999999999', 12)),
    toDecimal256('-99999999999999999999999999.999999999999', 12)), 12),
  version UInt64 CODEC(T64, ZSTD(1))
) ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(hour)
ORDER BY (hour, model, feature, provider, operation, task_type, team, environment, unit, source, source_partition)
TTL hour + INTERVAL 1 YEAR
SETTINGS ttl_only_drop_parts = 1, fsync_after_insert = 1, fsync_part_directory = 1;

ALTER TABLE usage_hourly RENAME COLUMN IF EXISTS quantities TO quantities_before_units;

-- Only where a run broke off after the last statement: then there is nothing left to copy, and the next one finds nothing.
ALTER TABLE usage_hourly ADD COLUMN IF NOT EXISTS quantities_before_units Map(String, Decimal(38, 12));

-- Each row keeps the version of the row it stood in: that offset, and none above it, is in its amount. So an event that
-- is delivered again after a torn flush is added to the units exactly where it is added to the hour.
INSERT INTO usage_hourly_units (hour, provider, model, operation, feature, task_type, team, environment, unit, source,
  source_partition, amount_whole, amount_pico, version)
SELECT hour, provider, model, operation, feature, task_type, team, environment, unit, source, source_partition,
  CAST(given, 'Decimal(38, 0)') AS whole,
  CAST((given - whole) * toDecimal128(1000000000000, 0), 'Decimal(38, 0)') AS pico,
  version
FROM usage_hourly FINAL
ARRAY JOIN mapKeys(quantities_before_units) AS unit, mapValues(quantities_before_units) AS given;

-- The same columns as before, and the same answers.
CREATE OR REPLACE VIEW hourly AS
SELECT
  hour, provider, model, operation, feature, task_type, team, environment,
  sum(h.calls) AS calls,
  sum(h.errors) AS errors,
  sum(h.duplicates) AS duplicates,
  sum(h.unpriced_calls) AS unpriced_calls,
  sum(h.partial_calls) AS partial_calls,
  sum(h.input_tokens) AS input_tokens,
  sum(h.output_tokens) AS output_tokens,
  sum(h.cache_read_tokens) AS cache_read_tokens,
  sum(h.cache_write_tokens) AS cache_write_tokens,
  sum(h.reasoning_tokens) AS reasoning_tokens,
  mapApply((unit, amount) -> (unit, toDecimal128(least(amount,
    toDecimal256('99999999999999999999999999.999999999999', 12)), 12)), sumMap(h.units)) AS quantities,
  sum(h.cost_usd) AS cost_usd,
  sum(h.revenue_usd) AS revenue_usd,
  sum(h.duration_ms) AS duration_ms,
  sum(h.duration_calls) AS duration_calls,
  arraySort(groupUniqArrayArray(h.price_versions)) AS price_versions
FROM (
  SELECT hour, provider, model, operation, feature, task_type, team, environment,
    calls, errors, duplicates, unpriced_calls, partial_calls,
    input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens,
    CAST(map(), 'Map(String, Decimal(76, 12))') AS units,
    cost_usd, revenue_usd, duration_ms, duration_calls, price_versions
  FROM usage_hourly FINAL
  UNION ALL
  SELECT hour, provider, model, operation, feature, task_type, team, environment,
    0, 0, 0, 0, 0,
    0, 0, 0, 0, 0,
    map(toString(unit),
      toDecimal256(amount_whole, 12) + toDecimal256(amount_pico, 12) / toDecimal256('1000000000000', 0)),
    toDecimal128(0, 12), toDecimal128(0, 12), 0, 0, []
  FROM usage_hourly_units FINAL
) AS h
GROUP BY hour, provider, model, operation, feature, task_type, team, environment;

ALTER TABLE usage_hourly DROP COLUMN IF EXISTS quantities_before_units;
