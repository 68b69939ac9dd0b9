-- How many tokens the calls without a price have, and those whose price is not sure: a total that lacks them can say how
-- much that is. A row has them beside the calls they belong to, and NULL where they are not known.
ALTER TABLE usage_hourly_rows
  ADD COLUMN IF NOT EXISTS unpriced_tokens Nullable(Int64)
    DEFAULT if(unpriced_calls = 0, 0, NULL) CODEC(ZSTD(1)) AFTER partial_calls,
  ADD COLUMN IF NOT EXISTS partial_tokens Nullable(Int64)
    DEFAULT if(partial_calls = 0, 0, NULL) CODEC(ZSTD(1)) AFTER unpriced_tokens;
ALTER TABLE usage_daily_rows
  ADD COLUMN IF NOT EXISTS unpriced_tokens Nullable(Int64)
    DEFAULT if(unpriced_calls = 0, 0, NULL) CODEC(ZSTD(1)) AFTER partial_calls,
  ADD COLUMN IF NOT EXISTS partial_tokens Nullable(Int64)
    DEFAULT if(partial_calls = 0, 0, NULL) CODEC(ZSTD(1)) AFTER unpriced_tokens;
ALTER TABLE usage_user_daily_rows
  ADD COLUMN IF NOT EXISTS unpriced_tokens Nullable(Int64)
    DEFAULT if(unpriced_calls = 0, 0, NULL) CODEC(ZSTD(1)) AFTER partial_calls,
  ADD COLUMN IF NOT EXISTS partial_tokens Nullable(Int64)
    DEFAULT if(partial_calls = 0, 0, NULL) CODEC(ZSTD(1)) AFTER unpriced_tokens;

-- The rows there are, from single calls: where a row has no such call its tokens are 0, and are not written. A row counts
-- what it has applied and no more, so a flush that a kill has torn is completed as if the columns had been there. What was
-- removed by a repair is not counted. A row that a repair has corrected gets all tokens, and its correction none. Where
-- single calls are no longer all kept, so that their number is not that of the row, the tokens stay unknown. The version
-- stays: of rows with the same one, the latest counts. No worker is at work meanwhile.
INSERT INTO usage_hourly_rows (
  hour, provider, model, operation, feature, task_type, team, environment, source, source_partition, calls, errors,
  duplicates, unpriced_calls, partial_calls, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens,
  reasoning_tokens, cost_usd, revenue_usd, duration_ms, duration_calls, price_versions, unpriced_tokens,
  partial_tokens, version)
WITH
  marked AS (
    SELECT *, toString(if(startsWith(source, 'correction:'), substring(source, 12), source)) AS origin,
      source = origin AS is_own,
      (hour, provider, model, operation, feature, task_type, team, environment, origin, source_partition) AS cell
    FROM usage_hourly_rows FINAL),
  cells AS (
    SELECT cell, any(hour) AS hour, maxIf(version, is_own) AS applied,
      sum(unpriced_calls) AS unpriced_of_cell, sum(partial_calls) AS partial_of_cell,
      anyIf(unpriced_tokens, is_own) AS own_unpriced_tokens, anyIf(partial_tokens, is_own) AS own_partial_tokens
    FROM marked
    WHERE cell IN (SELECT cell FROM marked WHERE unpriced_tokens IS NULL OR partial_tokens IS NULL)
    GROUP BY cell),
  raw AS (
    SELECT cell,
      toInt64(countIf(cost_status = 'unpriced')) AS unpriced_raw,
      toInt64(countIf(cost_status = 'partial')) AS partial_raw,
      sumIf(tokens, cost_status = 'unpriced') AS unpriced_tokens_raw,
      sumIf(tokens, cost_status = 'partial') AS partial_tokens_raw
    FROM (
      SELECT toStartOfHour(occurred_at) AS hour, toString(source) AS origin, source_offset, cost_status,
        (hour, provider, model, operation, feature, task_type, team, environment, origin, source_partition) AS cell,
        toInt64(ifNull(input_tokens, 0)) + toInt64(ifNull(output_tokens, 0)) AS tokens
      FROM usage_events_rows FINAL
      WHERE cost_status != 'priced' AND toStartOfHour(occurred_at) IN (SELECT hour FROM cells)
        AND (source, source_partition, source_offset) NOT IN (
          SELECT source, source_partition, source_offset FROM removed_events_rows)) AS e
    INNER JOIN cells USING (cell)
    WHERE source_offset <= applied
    GROUP BY cell)
SELECT
  m.hour, m.provider, m.model, m.operation, m.feature, m.task_type, m.team, m.environment, m.source,
  m.source_partition, m.calls, m.errors, m.duplicates, m.unpriced_calls, m.partial_calls, m.input_tokens,
  m.output_tokens, m.cache_read_tokens, m.cache_write_tokens, m.reasoning_tokens, m.cost_usd, m.revenue_usd,
  m.duration_ms, m.duration_calls, m.price_versions,
  multiIf(
    m.unpriced_tokens IS NOT NULL, m.unpriced_tokens,
    c.unpriced_of_cell != r.unpriced_raw, NULL,
    m.is_own, r.unpriced_tokens_raw,
    r.unpriced_tokens_raw - ifNull(c.own_unpriced_tokens, r.unpriced_tokens_raw)),
  multiIf(
    m.partial_tokens IS NOT NULL, m.partial_tokens,
    c.partial_of_cell != r.partial_raw, NULL,
    m.is_own, r.partial_tokens_raw,
    r.partial_tokens_raw - ifNull(c.own_partial_tokens, r.partial_tokens_raw)),
  m.version
FROM marked AS m
INNER JOIN cells AS c USING (cell)
LEFT JOIN raw AS r USING (cell)
WHERE m.unpriced_tokens IS NULL OR m.partial_tokens IS NULL
SETTINGS do_not_merge_across_partitions_select_final = 1, max_bytes_before_external_group_by = 1000000000,
  join_algorithm = 'grace_hash';

INSERT INTO usage_daily_rows (
  day, provider, model, operation, feature, task_type, team, environment, source, source_partition, calls, errors,
  unpriced_calls, partial_calls, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens,
  reasoning_tokens, cost_usd, revenue_usd, duration_ms, duration_calls, price_versions, unpriced_tokens,
  partial_tokens, version)
WITH
  marked AS (
    SELECT *, toString(if(startsWith(source, 'correction:'), substring(source, 12), source)) AS origin,
      source = origin AS is_own,
      (day, provider, model, operation, feature, task_type, team, environment, origin, source_partition) AS cell
    FROM usage_daily_rows FINAL),
  cells AS (
    SELECT cell, any(day) AS day, maxIf(version, is_own) AS applied,
      sum(unpriced_calls) AS unpriced_of_cell, sum(partial_calls) AS partial_of_cell,
      anyIf(unpriced_tokens, is_own) AS own_unpriced_tokens, anyIf(partial_tokens, is_own) AS own_partial_tokens
    FROM marked
    WHERE cell IN (SELECT cell FROM marked WHERE unpriced_tokens IS NULL OR partial_tokens IS NULL)
    GROUP BY cell),
  raw AS (
    SELECT cell,
      toInt64(countIf(cost_status = 'unpriced')) AS unpriced_raw,
      toInt64(countIf(cost_status = 'partial')) AS partial_raw,
      sumIf(tokens, cost_status = 'unpriced') AS unpriced_tokens_raw,
      sumIf(tokens, cost_status = 'partial') AS partial_tokens_raw
    FROM (
      SELECT toDate(occurred_at) AS day, toString(source) AS origin, source_offset, cost_status,
        (day, provider, model, operation, feature, task_type, team, environment, origin, source_partition) AS cell,
        toInt64(ifNull(input_tokens, 0)) + toInt64(ifNull(output_tokens, 0)) AS tokens
      FROM usage_events_rows FINAL
      WHERE cost_status != 'priced' AND toDate(occurred_at) IN (SELECT day FROM cells)
        AND (source, source_partition, source_offset) NOT IN (
          SELECT source, source_partition, source_offset FROM removed_events_rows)) AS e
    INNER JOIN cells USING (cell)
    WHERE source_offset <= applied
    GROUP BY cell)
SELECT
  m.day, m.provider, m.model, m.operation, m.feature, m.task_type, m.team, m.environment, m.source,
  m.source_partition, m.calls, m.errors, m.unpriced_calls, m.partial_calls, m.input_tokens, m.output_tokens,
  m.cache_read_tokens, m.cache_write_tokens, m.reasoning_tokens, m.cost_usd, m.revenue_usd, m.duration_ms,
  m.duration_calls, m.price_versions,
  multiIf(
    m.unpriced_tokens IS NOT NULL, m.unpriced_tokens,
    c.unpriced_of_cell != r.unpriced_raw, NULL,
    m.is_own, r.unpriced_tokens_raw,
    r.unpriced_tokens_raw - ifNull(c.own_unpriced_tokens, r.unpriced_tokens_raw)),
  multiIf(
    m.partial_tokens IS NOT NULL, m.partial_tokens,
    c.partial_of_cell != r.partial_raw, NULL,
    m.is_own, r.partial_tokens_raw,
    r.partial_tokens_raw - ifNull(c.own_partial_tokens, r.partial_tokens_raw)),
  m.version
FROM marked AS m
INNER JOIN cells AS c USING (cell)
LEFT JOIN raw AS r USING (cell)
WHERE m.unpriced_tokens IS NULL OR m.partial_tokens IS NULL
SETTINGS do_not_merge_across_partitions_select_final = 1, max_bytes_before_external_group_by = 1000000000,
  join_algorithm = 'grace_hash';

INSERT INTO usage_user_daily_rows (
  day, user_id, source, source_partition, calls, errors, unpriced_calls, partial_calls, input_tokens, output_tokens,
  cost_usd, revenue_usd, unpriced_tokens, partial_tokens, version)
WITH
  marked AS (
    SELECT *, toString(if(startsWith(source, 'correction:'), substring(source, 12), source)) AS origin,
      source = origin AS is_own,
      (day, user_id, origin, source_partition) AS cell
    FROM usage_user_daily_rows FINAL),
  cells AS (
    SELECT cell, any(day) AS day, maxIf(version, is_own) AS applied,
      sum(unpriced_calls) AS unpriced_of_cell, sum(partial_calls) AS partial_of_cell,
      anyIf(unpriced_tokens, is_own) AS own_unpriced_tokens, anyIf(partial_tokens, is_own) AS own_partial_tokens
    FROM marked
    WHERE cell IN (SELECT cell FROM marked WHERE unpriced_tokens IS NULL OR partial_tokens IS NULL)
    GROUP BY cell),
  raw AS (
    SELECT cell,
      toInt64(countIf(cost_status = 'unpriced')) AS unpriced_raw,
      toInt64(countIf(cost_status = 'partial')) AS partial_raw,
      sumIf(tokens, cost_status = 'unpriced') AS unpriced_tokens_raw,
      sumIf(tokens, cost_status = 'partial') AS partial_tokens_raw
    FROM (
      SELECT toDate(occurred_at) AS day, toString(source) AS origin, source_offset, cost_status,
        (day, user_id, origin, source_partition) AS cell,
        toInt64(ifNull(input_tokens, 0)) + toInt64(ifNull(output_tokens, 0)) AS tokens
      FROM usage_events_rows FINAL
      WHERE cost_status != 'priced' AND toDate(occurred_at) IN (SELECT day FROM cells)
        AND (source, source_partition, source_offset) NOT IN (
          SELECT source, source_partition, source_offset FROM removed_events_rows)) AS e
    INNER JOIN cells USING (cell)
    WHERE source_offset <= applied
    GROUP BY cell)
SELECT
  m.day, m.user_id, m.source, m.source_partition, m.calls, m.errors, m.unpriced_calls, m.partial_calls,
  m.input_tokens, m.output_tokens, m.cost_usd, m.revenue_usd,
  multiIf(
    m.unpriced_tokens IS NOT NULL, m.unpriced_tokens,
    c.unpriced_of_cell != r.unpriced_raw, NULL,
    m.is_own, r.unpriced_tokens_raw,
    r.unpriced_tokens_raw - ifNull(c.own_unpriced_tokens, r.unpriced_tokens_raw)),
  multiIf(
    m.partial_tokens IS NOT NULL, m.partial_tokens,
    c.partial_of_cell != r.partial_raw, NULL,
    m.is_own, r.partial_tokens_raw,
    r.partial_tokens_raw - ifNull(c.own_partial_tokens, r.partial_tokens_raw)),
  m.version
FROM marked AS m
INNER JOIN cells AS c USING (cell)
LEFT JOIN raw AS r USING (cell)
WHERE m.unpriced_tokens IS NULL OR m.partial_tokens IS NULL
SETTINGS do_not_merge_across_partitions_select_final = 1, max_bytes_before_external_group_by = 1000000000,
  join_algorithm = 'grace_hash';

CREATE OR REPLACE VIEW usage_hourly (
  hour DateTime('UTC') COMMENT 'the hour, by its first moment, UTC',
  provider LowCardinality(String) COMMENT 'who sells the call, such as openai',
  model LowCardinality(String) COMMENT 'the model or the product that was called',
  operation LowCardinality(String) COMMENT 'what was asked of it, such as chat or embeddings',
  feature LowCardinality(String) COMMENT 'the feature of the product that made the call',
  task_type LowCardinality(String) COMMENT 'the kind of task within the feature',
  team LowCardinality(String) COMMENT 'the team that owns the call',
  environment LowCardinality(String) COMMENT 'such as production or staging',
  calls Int64 COMMENT 'calls, each request_id once',
  errors Int64 COMMENT 'of the calls: those that failed',
  duplicates Int64 COMMENT 'repeats of counted ids: recognised, and not among the calls',
  unpriced_calls Int64 COMMENT 'of the calls: those without a known price, which have no part in cost_usd',
  partial_calls Int64 COMMENT 'of the calls: those in cost_usd whose cost is not sure, it may be too high or too low',
  unpriced_tokens Nullable(Int64) COMMENT 'input and output tokens of the unpriced calls, NULL where they are not known',
  partial_tokens Nullable(Int64) COMMENT 'input and output tokens of the partial calls, NULL where they are not known',
  input_tokens Int64 COMMENT 'tokens sent, cached ones included',
  output_tokens Int64 COMMENT 'tokens received, reasoning included',
  cache_read_tokens Int64 COMMENT 'of the input tokens: read from the cache of the provider',
  cache_write_tokens Int64 COMMENT 'of the input tokens: written to the cache of the provider',
  reasoning_tokens Int64 COMMENT 'of the output tokens: spent on reasoning',
  quantities Map(String, Decimal(38, 12)) COMMENT 'every other unit and its amount, such as audio_seconds',
  cost_usd Nullable(Decimal(38, 12)) COMMENT 'USD of the priced calls, exact, NULL where no call has a price',
  revenue_usd Decimal(38, 12) COMMENT 'USD of revenue that the events report',
  duration_ms Int64 COMMENT 'milliseconds of all calls that report a duration',
  duration_calls Int64 COMMENT 'calls that report a duration: the divisor of an average',
  price_versions Array(String) COMMENT 'the versions of the price table that made cost_usd'
)
SQL SECURITY DEFINER AS
SELECT
  hour, provider, model, operation, feature, task_type, team, environment,
  sum(r.calls) AS calls,
  sum(r.errors) AS errors,
  sum(r.duplicates) AS duplicates,
  sum(r.unpriced_calls) AS unpriced_calls,
  sum(r.partial_calls) AS partial_calls,
  if(count() = count(r.unpriced_tokens), sum(r.unpriced_tokens), NULL) AS unpriced_tokens,
  if(count() = count(r.partial_tokens), sum(r.partial_tokens), NULL) AS partial_tokens,
  sum(r.input_tokens) AS input_tokens,
  sum(r.output_tokens) AS output_tokens,
  sum(r.cache_read_tokens) AS cache_read_tokens,
  sum(r.cache_write_tokens) AS cache_write_tokens,
  sum(r.reasoning_tokens) AS reasoning_tokens,
  mapApply((unit, amount) -> (unit, toDecimal128(least(amount,
    toDecimal256('99999999999999999999999999.999999999999', 12)), 12)), sumMap(r.units)) AS quantities,
  if(calls > unpriced_calls, sum(r.cost_usd), NULL) AS cost_usd,
  sum(r.revenue_usd) AS revenue_usd,
  sum(r.duration_ms) AS duration_ms,
  sum(r.duration_calls) AS duration_calls,
  arraySort(groupUniqArrayArray(r.price_versions)) AS price_versions
FROM (
  SELECT hour, provider, model, operation, feature, task_type, team, environment,
    calls, errors, duplicates, unpriced_calls, partial_calls, unpriced_tokens, partial_tokens,
    input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens,
    CAST(map(), 'Map(String, Decimal(76, 12))') AS units,
    cost_usd, revenue_usd, duration_ms, duration_calls, price_versions
  FROM usage_hourly_rows FINAL
  UNION ALL
  SELECT hour, provider, model, operation, feature, task_type, team, environment,
    0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0,
    map(toString(unit),
      toDecimal256(amount_whole, 12) + toDecimal256(amount_pico, 12) / toDecimal256('1000000000000', 0)),
    toDecimal128(0, 12), toDecimal128(0, 12), 0, 0, []
  FROM usage_hourly_units_rows FINAL
) AS r
GROUP BY hour, provider, model, operation, feature, task_type, team, environment
SETTINGS do_not_merge_across_partitions_select_final = 1
COMMENT 'Calls by hour and the seven dimensions, one row each, kept for a year.';

CREATE OR REPLACE VIEW usage_daily (
  day Date COMMENT 'the day, UTC',
  provider LowCardinality(String) COMMENT 'who sells the call, such as openai',
  model LowCardinality(String) COMMENT 'the model or the product that was called',
  operation LowCardinality(String) COMMENT 'what was asked of it, such as chat or embeddings',
  feature LowCardinality(String) COMMENT 'the feature of the product that made the call',
  task_type LowCardinality(String) COMMENT 'the kind of task within the feature',
  team LowCardinality(String) COMMENT 'the team that owns the call',
  environment LowCardinality(String) COMMENT 'such as production or staging',
  calls Int64 COMMENT 'calls, each request_id once',
  errors Int64 COMMENT 'of the calls: those that failed',
  unpriced_calls Int64 COMMENT 'of the calls: those without a known price, which have no part in cost_usd',
  partial_calls Int64 COMMENT 'of the calls: those in cost_usd whose cost is not sure, it may be too high or too low',
  unpriced_tokens Nullable(Int64) COMMENT 'input and output tokens of the unpriced calls, NULL where they are not known',
  partial_tokens Nullable(Int64) COMMENT 'input and output tokens of the partial calls, NULL where they are not known',
  input_tokens Int64 COMMENT 'tokens sent, cached ones included',
  output_tokens Int64 COMMENT 'tokens received, reasoning included',
  cache_read_tokens Int64 COMMENT 'of the input tokens: read from the cache of the provider',
  cache_write_tokens Int64 COMMENT 'of the input tokens: written to the cache of the provider',
  reasoning_tokens Int64 COMMENT 'of the output tokens: spent on reasoning',
  cost_usd Nullable(Decimal(38, 12)) COMMENT 'USD of the priced calls, exact, NULL where no call has a price',
  revenue_usd Decimal(38, 12) COMMENT 'USD of revenue that the events report',
  duration_ms Int64 COMMENT 'milliseconds of all calls that report a duration',
  duration_calls Int64 COMMENT 'calls that report a duration: the divisor of an average',
  price_versions Array(String) COMMENT 'the versions of the price table that made cost_usd'
)
SQL SECURITY DEFINER AS
SELECT
  day, provider, model, operation, feature, task_type, team, environment,
  sum(r.calls) AS calls,
  sum(r.errors) AS errors,
  sum(r.unpriced_calls) AS unpriced_calls,
  sum(r.partial_calls) AS partial_calls,
  if(count() = count(r.unpriced_tokens), sum(r.unpriced_tokens), NULL) AS unpriced_tokens,
  if(count() = count(r.partial_tokens), sum(r.partial_tokens), NULL) AS partial_tokens,
  sum(r.input_tokens) AS input_tokens,
  sum(r.output_tokens) AS output_tokens,
  sum(r.cache_read_tokens) AS cache_read_tokens,
  sum(r.cache_write_tokens) AS cache_write_tokens,
  sum(r.reasoning_tokens) AS reasoning_tokens,
  if(calls > unpriced_calls, sum(r.cost_usd), NULL) AS cost_usd,
  sum(r.revenue_usd) AS revenue_usd,
  sum(r.duration_ms) AS duration_ms,
  sum(r.duration_calls) AS duration_calls,
  arraySort(groupUniqArrayArray(r.price_versions)) AS price_versions
FROM usage_daily_rows AS r FINAL
GROUP BY day, provider, model, operation, feature, task_type, team, environment
SETTINGS do_not_merge_across_partitions_select_final = 1
COMMENT 'Calls by day (UTC) and the seven dimensions, one row each, the exact sum of its hours, kept for a year.';

CREATE OR REPLACE VIEW usage_user_daily (
  day Date COMMENT 'the day, UTC',
  user_id String COMMENT 'who the call was made for, as the event says it',
  calls Int64 COMMENT 'calls, each request_id once',
  errors Int64 COMMENT 'of the calls: those that failed',
  unpriced_calls Int64 COMMENT 'of the calls: those without a known price, which have no part in cost_usd',
  partial_calls Int64 COMMENT 'of the calls: those in cost_usd whose cost is not sure, it may be too high or too low',
  unpriced_tokens Nullable(Int64) COMMENT 'input and output tokens of the unpriced calls, NULL where they are not known',
  partial_tokens Nullable(Int64) COMMENT 'input and output tokens of the partial calls, NULL where they are not known',
  input_tokens Int64 COMMENT 'tokens sent, cached ones included',
  output_tokens Int64 COMMENT 'tokens received, reasoning included',
  cost_usd Nullable(Decimal(38, 12)) COMMENT 'USD of the priced calls, exact, NULL where no call has a price',
  revenue_usd Decimal(38, 12) COMMENT 'USD of revenue that the events report'
)
SQL SECURITY DEFINER AS
SELECT
  day, user_id,
  sum(r.calls) AS calls,
  sum(r.errors) AS errors,
  sum(r.unpriced_calls) AS unpriced_calls,
  sum(r.partial_calls) AS partial_calls,
  if(count() = count(r.unpriced_tokens), sum(r.unpriced_tokens), NULL) AS unpriced_tokens,
  if(count() = count(r.partial_tokens), sum(r.partial_tokens), NULL) AS partial_tokens,
  sum(r.input_tokens) AS input_tokens,
  sum(r.output_tokens) AS output_tokens,
  if(calls > unpriced_calls, sum(r.cost_usd), NULL) AS cost_usd,
  sum(r.revenue_usd) AS revenue_usd
FROM usage_user_daily_rows AS r FINAL
GROUP BY day, user_id
SETTINGS do_not_merge_across_partitions_select_final = 1
COMMENT 'Calls by day (UTC) and user, one row each, kept for a year.';

CREATE OR REPLACE VIEW usage_between (
  provider LowCardinality(String) COMMENT 'who sells the call, such as openai',
  model LowCardinality(String) COMMENT 'the model or the product that was called',
  operation LowCardinality(String) COMMENT 'what was asked of it, such as chat or embeddings',
  feature LowCardinality(String) COMMENT 'the feature of the product that made the call',
  task_type LowCardinality(String) COMMENT 'the kind of task within the feature',
  team LowCardinality(String) COMMENT 'the team that owns the call',
  environment LowCardinality(String) COMMENT 'such as production or staging',
  calls Int64 COMMENT 'calls, each request_id once',
  errors Int64 COMMENT 'of the calls: those that failed',
  unpriced_calls Int64 COMMENT 'of the calls: those without a known price, which have no part in cost_usd',
  partial_calls Int64 COMMENT 'of the calls: those in cost_usd whose cost is not sure, it may be too high or too low',
  unpriced_tokens Nullable(Int64) COMMENT 'input and output tokens of the unpriced calls, NULL where they are not known',
  partial_tokens Nullable(Int64) COMMENT 'input and output tokens of the partial calls, NULL where they are not known',
  input_tokens Int64 COMMENT 'tokens sent, cached ones included',
  output_tokens Int64 COMMENT 'tokens received, reasoning included',
  cache_read_tokens Int64 COMMENT 'of the input tokens: read from the cache of the provider',
  cache_write_tokens Int64 COMMENT 'of the input tokens: written to the cache of the provider',
  reasoning_tokens Int64 COMMENT 'of the output tokens: spent on reasoning',
  cost_usd Nullable(Decimal(38, 12)) COMMENT 'USD of the priced calls, exact, NULL where no call has a price',
  revenue_usd Decimal(38, 12) COMMENT 'USD of revenue that the events report',
  duration_ms Int64 COMMENT 'milliseconds of all calls that report a duration',
  duration_calls Int64 COMMENT 'calls that report a duration: the divisor of an average',
  price_versions Array(String) COMMENT 'the versions of the price table that made cost_usd'
)
SQL SECURITY DEFINER AS
WITH
  parseDateTime64BestEffort({from:String}, 3, {zone:String}) AS span_from,
  parseDateTime64BestEffort({to:String}, 3, {zone:String}) AS span_to,
  toStartOfHour(span_from, 'UTC') AS first_hour,
  toStartOfHour(span_from + toIntervalMillisecond(3599999), 'UTC') AS hours_from,
  toStartOfHour(span_to, 'UTC') AS hours_to,
  toDate(hours_from + toIntervalSecond(86399), 'UTC') AS days_from,
  toDate(hours_to, 'UTC') AS days_to,
  arrayFilter(h -> h < span_to AND (h < span_from OR h + toIntervalHour(1) > span_to),
    arrayDistinct([first_hour, hours_to])) AS parts
SELECT
  provider, model, operation, feature, task_type, team, environment,
  sum(r.calls) AS calls,
  sum(r.errors) AS errors,
  sum(r.unpriced_calls) AS unpriced_calls,
  sum(r.partial_calls) AS partial_calls,
  if(count() = count(r.unpriced_tokens), sum(r.unpriced_tokens), NULL) AS unpriced_tokens,
  if(count() = count(r.partial_tokens), sum(r.partial_tokens), NULL) AS partial_tokens,
  sum(r.input_tokens) AS input_tokens,
  sum(r.output_tokens) AS output_tokens,
  sum(r.cache_read_tokens) AS cache_read_tokens,
  sum(r.cache_write_tokens) AS cache_write_tokens,
  sum(r.reasoning_tokens) AS reasoning_tokens,
  if(calls > unpriced_calls, sum(r.cost_usd), NULL) AS cost_usd,
  sum(r.revenue_usd) AS revenue_usd,
  sum(r.duration_ms) AS duration_ms,
  sum(r.duration_calls) AS duration_calls,
  arraySort(groupUniqArrayArray(r.price_versions)) AS price_versions
FROM (
  SELECT provider, model, operation, feature, task_type, team, environment,
    calls, errors, unpriced_calls, partial_calls, unpriced_tokens, partial_tokens, input_tokens, output_tokens,
    cache_read_tokens, cache_write_tokens, reasoning_tokens, cost_usd, revenue_usd, duration_ms, duration_calls,
    price_versions
  FROM usage_daily_rows FINAL
  WHERE day >= days_from AND day < days_to
  UNION ALL
  SELECT provider, model, operation, feature, task_type, team, environment,
    calls, errors, unpriced_calls, partial_calls, unpriced_tokens, partial_tokens, input_tokens, output_tokens,
    cache_read_tokens, cache_write_tokens, reasoning_tokens, cost_usd, revenue_usd, duration_ms, duration_calls,
    price_versions
  FROM usage_hourly_rows FINAL
  WHERE hour >= hours_from AND hour < hours_to AND (days_from >= days_to OR hour < days_from OR hour >= days_to)
  UNION ALL
  SELECT provider, model, operation, feature, task_type, team, environment,
    toInt64(1) AS calls,
    toInt64(e.status = 'error') AS errors,
    toInt64(e.cost_status = 'unpriced') AS unpriced_calls,
    toInt64(e.cost_status = 'partial') AS partial_calls,
    if(e.cost_status = 'unpriced',
      toInt64(ifNull(e.input_tokens, 0)) + toInt64(ifNull(e.output_tokens, 0)), 0) AS unpriced_tokens,
    if(e.cost_status = 'partial',
      toInt64(ifNull(e.input_tokens, 0)) + toInt64(ifNull(e.output_tokens, 0)), 0) AS partial_tokens,
    toInt64(ifNull(e.input_tokens, 0)) AS input_tokens,
    toInt64(ifNull(e.output_tokens, 0)) AS output_tokens,
    toInt64(ifNull(e.cache_read_tokens, 0)) AS cache_read_tokens,
    toInt64(ifNull(e.cache_write_tokens, 0)) AS cache_write_tokens,
    toInt64(ifNull(e.reasoning_tokens, 0)) AS reasoning_tokens,
    toDecimal128(ifNull(e.cost_usd, 0), 12) AS cost_usd,
    toDecimal128(ifNull(e.revenue_usd, 0), 12) AS revenue_usd,
    toInt64(ifNull(e.duration_ms, 0)) AS duration_ms,
    toInt64(e.duration_ms IS NOT NULL) AS duration_calls,
    if(e.price_version = '', [], [toString(e.price_version)]) AS price_versions
  FROM usage_events_rows AS e FINAL
  WHERE toStartOfHour(occurred_at) IN (
      SELECT arrayJoin(parts) FROM raw_kept_since
      WHERE throwIf(since > arrayMin(arrayPushBack(parts, since)), concat(
      'this span needs parts of hours from before raw_kept_since, whose single calls may have expired: ',
      'ask for whole hours of UTC, or for a later span')) = 0)
    AND occurred_at >= span_from AND occurred_at < span_to
) AS r
WHERE (SELECT throwIf(span_from >= span_to, 'the span is empty: `from` must be before `to`')) = 0
GROUP BY provider, model, operation, feature, task_type, team, environment
SETTINGS do_not_merge_across_partitions_select_final = 1
COMMENT 'Calls of a span by the seven dimensions: usage_between(from, to, zone).';

CREATE OR REPLACE VIEW usage_daily_between (
  day Date COMMENT 'the day in the zone that was asked for',
  provider LowCardinality(String) COMMENT 'who sells the call, such as openai',
  model LowCardinality(String) COMMENT 'the model or the product that was called',
  operation LowCardinality(String) COMMENT 'what was asked of it, such as chat or embeddings',
  feature LowCardinality(String) COMMENT 'the feature of the product that made the call',
  task_type LowCardinality(String) COMMENT 'the kind of task within the feature',
  team LowCardinality(String) COMMENT 'the team that owns the call',
  environment LowCardinality(String) COMMENT 'such as production or staging',
  calls Int64 COMMENT 'calls, each request_id once',
  errors Int64 COMMENT 'of the calls: those that failed',
  unpriced_calls Int64 COMMENT 'of the calls: those without a known price, which have no part in cost_usd',
  partial_calls Int64 COMMENT 'of the calls: those in cost_usd whose cost is not sure, it may be too high or too low',
  unpriced_tokens Nullable(Int64) COMMENT 'input and output tokens of the unpriced calls, NULL where they are not known',
  partial_tokens Nullable(Int64) COMMENT 'input and output tokens of the partial calls, NULL where they are not known',
  input_tokens Int64 COMMENT 'tokens sent, cached ones included',
  output_tokens Int64 COMMENT 'tokens received, reasoning included',
  cache_read_tokens Int64 COMMENT 'of the input tokens: read from the cache of the provider',
  cache_write_tokens Int64 COMMENT 'of the input tokens: written to the cache of the provider',
  reasoning_tokens Int64 COMMENT 'of the output tokens: spent on reasoning',
  cost_usd Nullable(Decimal(38, 12)) COMMENT 'USD of the priced calls, exact, NULL where no call has a price',
  revenue_usd Decimal(38, 12) COMMENT 'USD of revenue that the events report',
  duration_ms Int64 COMMENT 'milliseconds of all calls that report a duration',
  duration_calls Int64 COMMENT 'calls that report a duration: the divisor of an average',
  price_versions Array(String) COMMENT 'the versions of the price table that made cost_usd'
)
SQL SECURITY DEFINER AS
WITH
  parseDateTime64BestEffort({from:String}, 3, {zone:String}) AS span_from,
  parseDateTime64BestEffort({to:String}, 3, {zone:String}) AS span_to,
  toStartOfHour(span_from, 'UTC') AS first_hour,
  toStartOfHour(span_from + toIntervalMillisecond(3599999), 'UTC') AS hours_from,
  toStartOfHour(span_to, 'UTC') AS hours_to,
  toDate(hours_from + toIntervalSecond(86399), 'UTC') AS days_from,
  toDate(hours_to, 'UTC') AS days_to,
  arrayMap(n -> toDateTime(days_from, 'UTC') + toIntervalDay(n),
    range(toUInt32(greatest(0, days_to - days_from)))) AS days,
  -- Days of UTC are of use where none of them reaches into two days of the zone.
  if(arrayExists(d -> toDate(d, {zone:String}) != toDate(d + toIntervalSecond(86399), {zone:String}), days),
    days_from, days_to) AS days_end,
  arrayFilter(h -> h < span_to AND (h < span_from OR h + toIntervalHour(1) > span_to
      OR toDate(h, {zone:String}) != toDate(h + toIntervalSecond(3599), {zone:String})),
    arrayMap(n -> first_hour + toIntervalHour(n),
      range(toUInt32(greatest(0, intDiv(toUnixTimestamp(span_to) - toUnixTimestamp(first_hour), 3600) + 1))))) AS parts
SELECT
  zone_day AS day, provider, model, operation, feature, task_type, team, environment,
  sum(r.calls) AS calls,
  sum(r.errors) AS errors,
  sum(r.unpriced_calls) AS unpriced_calls,
  sum(r.partial_calls) AS partial_calls,
  if(count() = count(r.unpriced_tokens), sum(r.unpriced_tokens), NULL) AS unpriced_tokens,
  if(count() = count(r.partial_tokens), sum(r.partial_tokens), NULL) AS partial_tokens,
  sum(r.input_tokens) AS input_tokens,
  sum(r.output_tokens) AS output_tokens,
  sum(r.cache_read_tokens) AS cache_read_tokens,
  sum(r.cache_write_tokens) AS cache_write_tokens,
  sum(r.reasoning_tokens) AS reasoning_tokens,
  if(calls > unpriced_calls, sum(r.cost_usd), NULL) AS cost_usd,
  sum(r.revenue_usd) AS revenue_usd,
  sum(r.duration_ms) AS duration_ms,
  sum(r.duration_calls) AS duration_calls,
  arraySort(groupUniqArrayArray(r.price_versions)) AS price_versions
FROM (
  SELECT day AS zone_day,
    provider, model, operation, feature, task_type, team, environment,
    calls, errors, unpriced_calls, partial_calls, unpriced_tokens, partial_tokens, input_tokens, output_tokens,
    cache_read_tokens, cache_write_tokens, reasoning_tokens, cost_usd, revenue_usd, duration_ms, duration_calls,
    price_versions
  FROM usage_daily_rows FINAL
  WHERE day >= days_from AND day < days_end
  UNION ALL
  SELECT toDate(hour, {zone:String}) AS zone_day,
    provider, model, operation, feature, task_type, team, environment,
    calls, errors, unpriced_calls, partial_calls, unpriced_tokens, partial_tokens, input_tokens, output_tokens,
    cache_read_tokens, cache_write_tokens, reasoning_tokens, cost_usd, revenue_usd, duration_ms, duration_calls,
    price_versions
  FROM usage_hourly_rows FINAL
  WHERE hour >= hours_from AND hour < hours_to AND hour NOT IN (SELECT arrayJoin(parts))
    AND (days_from >= days_end OR hour < days_from OR hour >= days_end)
  UNION ALL
  SELECT toDate(occurred_at, {zone:String}) AS zone_day,
    provider, model, operation, feature, task_type, team, environment,
    toInt64(1) AS calls,
    toInt64(e.status = 'error') AS errors,
    toInt64(e.cost_status = 'unpriced') AS unpriced_calls,
    toInt64(e.cost_status = 'partial') AS partial_calls,
    if(e.cost_status = 'unpriced',
      toInt64(ifNull(e.input_tokens, 0)) + toInt64(ifNull(e.output_tokens, 0)), 0) AS unpriced_tokens,
    if(e.cost_status = 'partial',
      toInt64(ifNull(e.input_tokens, 0)) + toInt64(ifNull(e.output_tokens, 0)), 0) AS partial_tokens,
    toInt64(ifNull(e.input_tokens, 0)) AS input_tokens,
    toInt64(ifNull(e.output_tokens, 0)) AS output_tokens,
    toInt64(ifNull(e.cache_read_tokens, 0)) AS cache_read_tokens,
    toInt64(ifNull(e.cache_write_tokens, 0)) AS cache_write_tokens,
    toInt64(ifNull(e.reasoning_tokens, 0)) AS reasoning_tokens,
    toDecimal128(ifNull(e.cost_usd, 0), 12) AS cost_usd,
    toDecimal128(ifNull(e.revenue_usd, 0), 12) AS revenue_usd,
    toInt64(ifNull(e.duration_ms, 0)) AS duration_ms,
    toInt64(e.duration_ms IS NOT NULL) AS duration_calls,
    if(e.price_version = '', [], [toString(e.price_version)]) AS price_versions
  FROM usage_events_rows AS e FINAL
  WHERE toStartOfHour(occurred_at) IN (
      SELECT arrayJoin(parts) FROM raw_kept_since
      WHERE throwIf(since > arrayMin(arrayPushBack(parts, since)), concat(
      'this span needs parts of hours from before raw_kept_since, whose single calls may have expired: ',
      'ask for whole hours of UTC, or for a later span')) = 0)
    AND occurred_at >= span_from AND occurred_at < span_to
) AS r
WHERE (SELECT throwIf(span_from >= span_to, 'the span is empty: `from` must be before `to`')) = 0
GROUP BY zone_day, provider, model, operation, feature, task_type, team, environment
SETTINGS do_not_merge_across_partitions_select_final = 1
COMMENT 'Calls of a span by day in the zone and the seven dimensions: usage_daily_between(from, to, zone).';
