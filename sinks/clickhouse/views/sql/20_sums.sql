-- Made by `make schemas` from templates/20_sums.sql.jinja: edit that.
-- Sums, one row each. A sum over rows is one over sources: partitions, lives of a topic, and corrections.
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

CREATE OR REPLACE VIEW usage_hourly_units (
  hour DateTime('UTC') COMMENT 'the hour, by its first moment, UTC',
  provider LowCardinality(String) COMMENT 'who sells the call, such as openai',
  model LowCardinality(String) COMMENT 'the model or the product that was called',
  operation LowCardinality(String) COMMENT 'what was asked of it, such as chat or embeddings',
  feature LowCardinality(String) COMMENT 'the feature of the product that made the call',
  task_type LowCardinality(String) COMMENT 'the kind of task within the feature',
  team LowCardinality(String) COMMENT 'the team that owns the call',
  environment LowCardinality(String) COMMENT 'such as production or staging',
  unit LowCardinality(String) COMMENT 'as the event names it, such as audio_seconds, units are never added together',
  amount Decimal(38, 12) COMMENT 'how much of it, beyond 26 digits before the point, the most they can hold'
)
SQL SECURITY DEFINER AS
SELECT
  hour, provider, model, operation, feature, task_type, team, environment, unit,
  toDecimal128(greatest(least(sum(
      toDecimal256(r.amount_whole, 12) + toDecimal256(r.amount_pico, 12) / toDecimal256('1000000000000', 0)),
    toDecimal256('99999999999999999999999999.999999999999', 12)),
    toDecimal256('-99999999999999999999999999.999999999999', 12)), 12) AS amount
FROM usage_hourly_units_rows AS r FINAL
GROUP BY hour, provider, model, operation, feature, task_type, team, environment, unit
SETTINGS do_not_merge_across_partitions_select_final = 1
COMMENT 'Amounts of every unit that is not a token, by hour, the seven dimensions and unit, kept for a year.';

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

CREATE OR REPLACE VIEW dropped_events (
  hour DateTime('UTC') COMMENT 'the hour, by its first moment, UTC',
  feature LowCardinality(String) COMMENT 'the feature of the product that made the call',
  team LowCardinality(String) COMMENT 'the team that owns the call',
  environment LowCardinality(String) COMMENT 'such as production or staging',
  reports Int64 COMMENT 'reports of clients',
  dropped_events Int64 COMMENT 'events that were dropped'
)
SQL SECURITY DEFINER AS
SELECT
  hour, feature, team, environment,
  sum(h.calls) AS reports,
  toInt64(sum(h.quantities['dropped_events'])) AS dropped_events
FROM usage_hourly AS h
WHERE provider = 'costream' AND model = 'dropped-events'
GROUP BY hour, feature, team, environment
ORDER BY hour DESC, feature, team, environment
COMMENT 'Events that clients had to drop, by hour (UTC): where there are any, the totals are a lower bound.';
