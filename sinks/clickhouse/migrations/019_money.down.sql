-- The columns stay: the release before does not read them. Its views are numbered steps, so those that have changed since are
-- made here as they were.
DROP TABLE IF EXISTS schema_views;
DROP VIEW IF EXISTS usage_hourly_between;
DROP VIEW IF EXISTS feature_margin;
DROP VIEW IF EXISTS feature_margin_between;
DROP VIEW IF EXISTS feature_credits;
DROP VIEW IF EXISTS credit_prices;
DROP VIEW IF EXISTS exchange_rates;

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

CREATE OR REPLACE VIEW feature_cost_summary (
  feature LowCardinality(String) COMMENT 'the feature of the product that made the call',
  calls Int64 COMMENT 'calls, each request_id once',
  cost_usd Nullable(Decimal(38, 12)) COMMENT 'USD of the priced calls, exact, NULL where no call has a price',
  avg_cost_usd Nullable(Decimal(38, 12)) COMMENT 'USD of a priced call on average',
  unpriced_calls Int64 COMMENT 'of the calls: those without a known price, which have no part in cost_usd',
  partial_calls Int64 COMMENT 'of the calls: those in cost_usd whose cost is not sure, it may be too high or too low',
  cost_share Nullable(Decimal(38, 12)) COMMENT 'part of the cost of all rows, from 0 to 1'
)
SQL SECURITY DEFINER AS
SELECT
  feature,
  sum(u.calls) AS calls,
  sum(u.cost_usd) AS cost_usd,
  cost_usd / nullIf(calls - unpriced_calls, 0) AS avg_cost_usd,
  sum(u.unpriced_calls) AS unpriced_calls,
  sum(u.partial_calls) AS partial_calls,
  cost_usd / nullIf(sum(cost_usd) OVER (), 0) AS cost_share
FROM usage_daily AS u
WHERE day > toDate(now('UTC')) - 30
GROUP BY feature
ORDER BY cost_usd DESC, feature
COMMENT 'Cost by feature: today and the 29 days before it, UTC.';

CREATE OR REPLACE VIEW feature_cost_summary_between (
  feature LowCardinality(String) COMMENT 'the feature of the product that made the call',
  calls Int64 COMMENT 'calls, each request_id once',
  cost_usd Nullable(Decimal(38, 12)) COMMENT 'USD of the priced calls, exact, NULL where no call has a price',
  avg_cost_usd Nullable(Decimal(38, 12)) COMMENT 'USD of a priced call on average',
  unpriced_calls Int64 COMMENT 'of the calls: those without a known price, which have no part in cost_usd',
  partial_calls Int64 COMMENT 'of the calls: those in cost_usd whose cost is not sure, it may be too high or too low',
  cost_share Nullable(Decimal(38, 12)) COMMENT 'part of the cost of all rows, from 0 to 1'
)
SQL SECURITY DEFINER AS
SELECT
  feature,
  sum(u.calls) AS calls,
  sum(u.cost_usd) AS cost_usd,
  cost_usd / nullIf(calls - unpriced_calls, 0) AS avg_cost_usd,
  sum(u.unpriced_calls) AS unpriced_calls,
  sum(u.partial_calls) AS partial_calls,
  cost_usd / nullIf(sum(cost_usd) OVER (), 0) AS cost_share
FROM usage_between(from = {from:String}, to = {to:String}, zone = {zone:String}) AS u
GROUP BY feature
ORDER BY cost_usd DESC, feature
COMMENT 'Cost by feature: feature_cost_summary_between(from, to, zone).';

CREATE OR REPLACE VIEW provider_cost_summary (
  provider LowCardinality(String) COMMENT 'who sells the call, such as openai',
  calls Int64 COMMENT 'calls, each request_id once',
  cost_usd Nullable(Decimal(38, 12)) COMMENT 'USD of the priced calls, exact, NULL where no call has a price',
  avg_cost_usd Nullable(Decimal(38, 12)) COMMENT 'USD of a priced call on average',
  unpriced_calls Int64 COMMENT 'of the calls: those without a known price, which have no part in cost_usd',
  partial_calls Int64 COMMENT 'of the calls: those in cost_usd whose cost is not sure, it may be too high or too low',
  cost_share Nullable(Decimal(38, 12)) COMMENT 'part of the cost of all rows, from 0 to 1'
)
SQL SECURITY DEFINER AS
SELECT
  provider,
  sum(u.calls) AS calls,
  sum(u.cost_usd) AS cost_usd,
  cost_usd / nullIf(calls - unpriced_calls, 0) AS avg_cost_usd,
  sum(u.unpriced_calls) AS unpriced_calls,
  sum(u.partial_calls) AS partial_calls,
  cost_usd / nullIf(sum(cost_usd) OVER (), 0) AS cost_share
FROM usage_daily AS u
WHERE day > toDate(now('UTC')) - 30
GROUP BY provider
ORDER BY cost_usd DESC, provider
COMMENT 'Cost by provider: today and the 29 days before it, UTC.';

CREATE OR REPLACE VIEW provider_cost_summary_between (
  provider LowCardinality(String) COMMENT 'who sells the call, such as openai',
  calls Int64 COMMENT 'calls, each request_id once',
  cost_usd Nullable(Decimal(38, 12)) COMMENT 'USD of the priced calls, exact, NULL where no call has a price',
  avg_cost_usd Nullable(Decimal(38, 12)) COMMENT 'USD of a priced call on average',
  unpriced_calls Int64 COMMENT 'of the calls: those without a known price, which have no part in cost_usd',
  partial_calls Int64 COMMENT 'of the calls: those in cost_usd whose cost is not sure, it may be too high or too low',
  cost_share Nullable(Decimal(38, 12)) COMMENT 'part of the cost of all rows, from 0 to 1'
)
SQL SECURITY DEFINER AS
SELECT
  provider,
  sum(u.calls) AS calls,
  sum(u.cost_usd) AS cost_usd,
  cost_usd / nullIf(calls - unpriced_calls, 0) AS avg_cost_usd,
  sum(u.unpriced_calls) AS unpriced_calls,
  sum(u.partial_calls) AS partial_calls,
  cost_usd / nullIf(sum(cost_usd) OVER (), 0) AS cost_share
FROM usage_between(from = {from:String}, to = {to:String}, zone = {zone:String}) AS u
GROUP BY provider
ORDER BY cost_usd DESC, provider
COMMENT 'Cost by provider: provider_cost_summary_between(from, to, zone).';

CREATE OR REPLACE VIEW task_type_cost_summary (
  task_type LowCardinality(String) COMMENT 'the kind of task within the feature',
  calls Int64 COMMENT 'calls, each request_id once',
  cost_usd Nullable(Decimal(38, 12)) COMMENT 'USD of the priced calls, exact, NULL where no call has a price',
  avg_cost_usd Nullable(Decimal(38, 12)) COMMENT 'USD of a priced call on average',
  unpriced_calls Int64 COMMENT 'of the calls: those without a known price, which have no part in cost_usd',
  partial_calls Int64 COMMENT 'of the calls: those in cost_usd whose cost is not sure, it may be too high or too low',
  cost_share Nullable(Decimal(38, 12)) COMMENT 'part of the cost of all rows, from 0 to 1'
)
SQL SECURITY DEFINER AS
SELECT
  task_type,
  sum(u.calls) AS calls,
  sum(u.cost_usd) AS cost_usd,
  cost_usd / nullIf(calls - unpriced_calls, 0) AS avg_cost_usd,
  sum(u.unpriced_calls) AS unpriced_calls,
  sum(u.partial_calls) AS partial_calls,
  cost_usd / nullIf(sum(cost_usd) OVER (), 0) AS cost_share
FROM usage_daily AS u
WHERE day > toDate(now('UTC')) - 30
GROUP BY task_type
ORDER BY cost_usd DESC, task_type
COMMENT 'Cost by task_type: today and the 29 days before it, UTC.';

CREATE OR REPLACE VIEW task_type_cost_summary_between (
  task_type LowCardinality(String) COMMENT 'the kind of task within the feature',
  calls Int64 COMMENT 'calls, each request_id once',
  cost_usd Nullable(Decimal(38, 12)) COMMENT 'USD of the priced calls, exact, NULL where no call has a price',
  avg_cost_usd Nullable(Decimal(38, 12)) COMMENT 'USD of a priced call on average',
  unpriced_calls Int64 COMMENT 'of the calls: those without a known price, which have no part in cost_usd',
  partial_calls Int64 COMMENT 'of the calls: those in cost_usd whose cost is not sure, it may be too high or too low',
  cost_share Nullable(Decimal(38, 12)) COMMENT 'part of the cost of all rows, from 0 to 1'
)
SQL SECURITY DEFINER AS
SELECT
  task_type,
  sum(u.calls) AS calls,
  sum(u.cost_usd) AS cost_usd,
  cost_usd / nullIf(calls - unpriced_calls, 0) AS avg_cost_usd,
  sum(u.unpriced_calls) AS unpriced_calls,
  sum(u.partial_calls) AS partial_calls,
  cost_usd / nullIf(sum(cost_usd) OVER (), 0) AS cost_share
FROM usage_between(from = {from:String}, to = {to:String}, zone = {zone:String}) AS u
GROUP BY task_type
ORDER BY cost_usd DESC, task_type
COMMENT 'Cost by task_type: task_type_cost_summary_between(from, to, zone).';

CREATE OR REPLACE VIEW model_performance_comparison (
  provider LowCardinality(String) COMMENT 'who sells the call, such as openai',
  model LowCardinality(String) COMMENT 'the model or the product that was called',
  calls Int64 COMMENT 'calls, each request_id once',
  errors Int64 COMMENT 'of the calls: those that failed',
  failure_rate Nullable(Decimal(18, 6)) COMMENT 'errors in proportion to calls, from 0 to 1',
  avg_duration_ms Nullable(Decimal(38, 3)) COMMENT 'milliseconds of a call that reports a duration, on average',
  input_tokens Int64 COMMENT 'tokens sent, cached ones included',
  output_tokens Int64 COMMENT 'tokens received, reasoning included',
  avg_cost_usd Nullable(Decimal(38, 12)) COMMENT 'USD of a priced call on average',
  cost_usd Nullable(Decimal(38, 12)) COMMENT 'USD of the priced calls, exact, NULL where no call has a price',
  unpriced_calls Int64 COMMENT 'of the calls: those without a known price, which have no part in cost_usd',
  partial_calls Int64 COMMENT 'of the calls: those in cost_usd whose cost is not sure, it may be too high or too low'
)
SQL SECURITY DEFINER AS
SELECT
  provider, model,
  sum(u.calls) AS calls,
  sum(u.errors) AS errors,
  toDecimal64(errors, 6) / nullIf(calls, 0) AS failure_rate,
  toDecimal128(sum(u.duration_ms), 3) / nullIf(sum(u.duration_calls), 0) AS avg_duration_ms,
  sum(u.input_tokens) AS input_tokens,
  sum(u.output_tokens) AS output_tokens,
  cost_usd / nullIf(calls - unpriced_calls, 0) AS avg_cost_usd,
  sum(u.cost_usd) AS cost_usd,
  sum(u.unpriced_calls) AS unpriced_calls,
  sum(u.partial_calls) AS partial_calls
FROM usage_daily AS u
WHERE day > toDate(now('UTC')) - 30
GROUP BY provider, model
ORDER BY calls DESC, provider, model
COMMENT 'Models side by side: today and the 29 days before it, UTC.';

CREATE OR REPLACE VIEW model_performance_comparison_between (
  provider LowCardinality(String) COMMENT 'who sells the call, such as openai',
  model LowCardinality(String) COMMENT 'the model or the product that was called',
  calls Int64 COMMENT 'calls, each request_id once',
  errors Int64 COMMENT 'of the calls: those that failed',
  failure_rate Nullable(Decimal(18, 6)) COMMENT 'errors in proportion to calls, from 0 to 1',
  avg_duration_ms Nullable(Decimal(38, 3)) COMMENT 'milliseconds of a call that reports a duration, on average',
  input_tokens Int64 COMMENT 'tokens sent, cached ones included',
  output_tokens Int64 COMMENT 'tokens received, reasoning included',
  avg_cost_usd Nullable(Decimal(38, 12)) COMMENT 'USD of a priced call on average',
  cost_usd Nullable(Decimal(38, 12)) COMMENT 'USD of the priced calls, exact, NULL where no call has a price',
  unpriced_calls Int64 COMMENT 'of the calls: those without a known price, which have no part in cost_usd',
  partial_calls Int64 COMMENT 'of the calls: those in cost_usd whose cost is not sure, it may be too high or too low'
)
SQL SECURITY DEFINER AS
SELECT
  provider, model,
  sum(u.calls) AS calls,
  sum(u.errors) AS errors,
  toDecimal64(errors, 6) / nullIf(calls, 0) AS failure_rate,
  toDecimal128(sum(u.duration_ms), 3) / nullIf(sum(u.duration_calls), 0) AS avg_duration_ms,
  sum(u.input_tokens) AS input_tokens,
  sum(u.output_tokens) AS output_tokens,
  cost_usd / nullIf(calls - unpriced_calls, 0) AS avg_cost_usd,
  sum(u.cost_usd) AS cost_usd,
  sum(u.unpriced_calls) AS unpriced_calls,
  sum(u.partial_calls) AS partial_calls
FROM usage_between(from = {from:String}, to = {to:String}, zone = {zone:String}) AS u
GROUP BY provider, model
ORDER BY calls DESC, provider, model
COMMENT 'Models side by side: model_performance_comparison_between(from, to, zone).';

CREATE OR REPLACE VIEW feature_performance_summary (
  feature LowCardinality(String) COMMENT 'the feature of the product that made the call',
  calls Int64 COMMENT 'calls, each request_id once',
  errors Int64 COMMENT 'of the calls: those that failed',
  failure_rate Nullable(Decimal(18, 6)) COMMENT 'errors in proportion to calls, from 0 to 1',
  avg_duration_ms Nullable(Decimal(38, 3)) COMMENT 'milliseconds of a call that reports a duration, on average',
  input_tokens Int64 COMMENT 'tokens sent, cached ones included',
  output_tokens Int64 COMMENT 'tokens received, reasoning included',
  avg_cost_usd Nullable(Decimal(38, 12)) COMMENT 'USD of a priced call on average',
  cost_usd Nullable(Decimal(38, 12)) COMMENT 'USD of the priced calls, exact, NULL where no call has a price',
  unpriced_calls Int64 COMMENT 'of the calls: those without a known price, which have no part in cost_usd',
  partial_calls Int64 COMMENT 'of the calls: those in cost_usd whose cost is not sure, it may be too high or too low'
)
SQL SECURITY DEFINER AS
SELECT
  feature,
  sum(u.calls) AS calls,
  sum(u.errors) AS errors,
  toDecimal64(errors, 6) / nullIf(calls, 0) AS failure_rate,
  toDecimal128(sum(u.duration_ms), 3) / nullIf(sum(u.duration_calls), 0) AS avg_duration_ms,
  sum(u.input_tokens) AS input_tokens,
  sum(u.output_tokens) AS output_tokens,
  cost_usd / nullIf(calls - unpriced_calls, 0) AS avg_cost_usd,
  sum(u.cost_usd) AS cost_usd,
  sum(u.unpriced_calls) AS unpriced_calls,
  sum(u.partial_calls) AS partial_calls
FROM usage_daily AS u
WHERE day > toDate(now('UTC')) - 30
GROUP BY feature
ORDER BY calls DESC, feature
COMMENT 'How features do: today and the 29 days before it, UTC.';

CREATE OR REPLACE VIEW feature_performance_summary_between (
  feature LowCardinality(String) COMMENT 'the feature of the product that made the call',
  calls Int64 COMMENT 'calls, each request_id once',
  errors Int64 COMMENT 'of the calls: those that failed',
  failure_rate Nullable(Decimal(18, 6)) COMMENT 'errors in proportion to calls, from 0 to 1',
  avg_duration_ms Nullable(Decimal(38, 3)) COMMENT 'milliseconds of a call that reports a duration, on average',
  input_tokens Int64 COMMENT 'tokens sent, cached ones included',
  output_tokens Int64 COMMENT 'tokens received, reasoning included',
  avg_cost_usd Nullable(Decimal(38, 12)) COMMENT 'USD of a priced call on average',
  cost_usd Nullable(Decimal(38, 12)) COMMENT 'USD of the priced calls, exact, NULL where no call has a price',
  unpriced_calls Int64 COMMENT 'of the calls: those without a known price, which have no part in cost_usd',
  partial_calls Int64 COMMENT 'of the calls: those in cost_usd whose cost is not sure, it may be too high or too low'
)
SQL SECURITY DEFINER AS
SELECT
  feature,
  sum(u.calls) AS calls,
  sum(u.errors) AS errors,
  toDecimal64(errors, 6) / nullIf(calls, 0) AS failure_rate,
  toDecimal128(sum(u.duration_ms), 3) / nullIf(sum(u.duration_calls), 0) AS avg_duration_ms,
  sum(u.input_tokens) AS input_tokens,
  sum(u.output_tokens) AS output_tokens,
  cost_usd / nullIf(calls - unpriced_calls, 0) AS avg_cost_usd,
  sum(u.cost_usd) AS cost_usd,
  sum(u.unpriced_calls) AS unpriced_calls,
  sum(u.partial_calls) AS partial_calls
FROM usage_between(from = {from:String}, to = {to:String}, zone = {zone:String}) AS u
GROUP BY feature
ORDER BY calls DESC, feature
COMMENT 'How features do: feature_performance_summary_between(from, to, zone).';

CREATE OR REPLACE VIEW realtime_cost_monitor (
  hour DateTime('UTC') COMMENT 'the hour, by its first moment, UTC',
  calls Int64 COMMENT 'calls, each request_id once',
  errors Int64 COMMENT 'of the calls: those that failed',
  input_tokens Int64 COMMENT 'tokens sent, cached ones included',
  output_tokens Int64 COMMENT 'tokens received, reasoning included',
  cost_usd Nullable(Decimal(38, 12)) COMMENT 'USD of the priced calls, exact, NULL where no call has a price',
  unpriced_calls Int64 COMMENT 'of the calls: those without a known price, which have no part in cost_usd',
  partial_calls Int64 COMMENT 'of the calls: those in cost_usd whose cost is not sure, it may be too high or too low',
  cumulative_cost_usd Nullable(Decimal(38, 12)) COMMENT 'cost_usd of this hour and of those before it in this view'
)
SQL SECURITY DEFINER AS
SELECT
  hour,
  sum(u.calls) AS calls,
  sum(u.errors) AS errors,
  sum(u.input_tokens) AS input_tokens,
  sum(u.output_tokens) AS output_tokens,
  sum(u.cost_usd) AS cost_usd,
  sum(u.unpriced_calls) AS unpriced_calls,
  sum(u.partial_calls) AS partial_calls,
  sum(cost_usd) OVER (ORDER BY hour ASC ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS cumulative_cost_usd
FROM usage_hourly AS u
WHERE hour >= toStartOfHour(now('UTC')) - INTERVAL 23 HOUR
GROUP BY hour
ORDER BY hour DESC
COMMENT 'Cost by hour: the current hour, still filling, and the 23 before it, UTC, the newest first.';

CREATE OR REPLACE VIEW hourly_cost (
  hour DateTime('UTC') COMMENT 'the hour, by its first moment, UTC',
  calls Int64 COMMENT 'calls, each request_id once',
  errors Int64 COMMENT 'of the calls: those that failed',
  input_tokens Int64 COMMENT 'tokens sent, cached ones included',
  output_tokens Int64 COMMENT 'tokens received, reasoning included',
  cost_usd Nullable(Decimal(38, 12)) COMMENT 'USD of the priced calls, exact, NULL where no call has a price',
  unpriced_calls Int64 COMMENT 'of the calls: those without a known price, which have no part in cost_usd',
  partial_calls Int64 COMMENT 'of the calls: those in cost_usd whose cost is not sure, it may be too high or too low'
)
SQL SECURITY DEFINER AS
SELECT
  hour,
  sum(u.calls) AS calls,
  sum(u.errors) AS errors,
  sum(u.input_tokens) AS input_tokens,
  sum(u.output_tokens) AS output_tokens,
  sum(u.cost_usd) AS cost_usd,
  sum(u.unpriced_calls) AS unpriced_calls,
  sum(u.partial_calls) AS partial_calls
FROM usage_hourly AS u
GROUP BY hour
ORDER BY hour DESC
COMMENT 'Cost by hour, UTC, as long as hours are kept, the newest first.';

CREATE OR REPLACE VIEW hourly_calls_tokens_by_model (
  hour DateTime('UTC') COMMENT 'the hour, by its first moment, UTC',
  model LowCardinality(String) COMMENT 'the model or the product that was called',
  calls Int64 COMMENT 'calls, each request_id once',
  errors Int64 COMMENT 'of the calls: those that failed',
  input_tokens Int64 COMMENT 'tokens sent, cached ones included',
  output_tokens Int64 COMMENT 'tokens received, reasoning included',
  cost_usd Nullable(Decimal(38, 12)) COMMENT 'USD of the priced calls, exact, NULL where no call has a price',
  unpriced_calls Int64 COMMENT 'of the calls: those without a known price, which have no part in cost_usd',
  partial_calls Int64 COMMENT 'of the calls: those in cost_usd whose cost is not sure, it may be too high or too low'
)
SQL SECURITY DEFINER AS
SELECT
  hour, model,
  sum(u.calls) AS calls,
  sum(u.errors) AS errors,
  sum(u.input_tokens) AS input_tokens,
  sum(u.output_tokens) AS output_tokens,
  sum(u.cost_usd) AS cost_usd,
  sum(u.unpriced_calls) AS unpriced_calls,
  sum(u.partial_calls) AS partial_calls
FROM usage_hourly AS u
GROUP BY hour, model
ORDER BY hour, model
COMMENT 'Calls, tokens and cost by hour (UTC) and model.';

CREATE OR REPLACE VIEW daily_cost (
  day Date COMMENT 'the day, UTC',
  calls Int64 COMMENT 'calls, each request_id once',
  errors Int64 COMMENT 'of the calls: those that failed',
  input_tokens Int64 COMMENT 'tokens sent, cached ones included',
  output_tokens Int64 COMMENT 'tokens received, reasoning included',
  cost_usd Nullable(Decimal(38, 12)) COMMENT 'USD of the priced calls, exact, NULL where no call has a price',
  unpriced_calls Int64 COMMENT 'of the calls: those without a known price, which have no part in cost_usd',
  partial_calls Int64 COMMENT 'of the calls: those in cost_usd whose cost is not sure, it may be too high or too low'
)
SQL SECURITY DEFINER AS
SELECT
  day,
  sum(u.calls) AS calls,
  sum(u.errors) AS errors,
  sum(u.input_tokens) AS input_tokens,
  sum(u.output_tokens) AS output_tokens,
  sum(u.cost_usd) AS cost_usd,
  sum(u.unpriced_calls) AS unpriced_calls,
  sum(u.partial_calls) AS partial_calls
FROM usage_daily AS u
GROUP BY day
ORDER BY day
COMMENT 'Cost by day, UTC.';

CREATE OR REPLACE VIEW daily_cost_between (
  day Date COMMENT 'the day in the zone that was asked for',
  calls Int64 COMMENT 'calls, each request_id once',
  errors Int64 COMMENT 'of the calls: those that failed',
  input_tokens Int64 COMMENT 'tokens sent, cached ones included',
  output_tokens Int64 COMMENT 'tokens received, reasoning included',
  cost_usd Nullable(Decimal(38, 12)) COMMENT 'USD of the priced calls, exact, NULL where no call has a price',
  unpriced_calls Int64 COMMENT 'of the calls: those without a known price, which have no part in cost_usd',
  partial_calls Int64 COMMENT 'of the calls: those in cost_usd whose cost is not sure, it may be too high or too low'
)
SQL SECURITY DEFINER AS
SELECT
  day,
  sum(u.calls) AS calls,
  sum(u.errors) AS errors,
  sum(u.input_tokens) AS input_tokens,
  sum(u.output_tokens) AS output_tokens,
  sum(u.cost_usd) AS cost_usd,
  sum(u.unpriced_calls) AS unpriced_calls,
  sum(u.partial_calls) AS partial_calls
FROM usage_daily_between(from = {from:String}, to = {to:String}, zone = {zone:String}) AS u
GROUP BY day
ORDER BY day
COMMENT 'Cost by day in the zone: daily_cost_between(from, to, zone).';

CREATE OR REPLACE VIEW daily_cost_by_model (
  day Date COMMENT 'the day, UTC',
  model LowCardinality(String) COMMENT 'the model or the product that was called',
  calls Int64 COMMENT 'calls, each request_id once',
  errors Int64 COMMENT 'of the calls: those that failed',
  input_tokens Int64 COMMENT 'tokens sent, cached ones included',
  output_tokens Int64 COMMENT 'tokens received, reasoning included',
  cost_usd Nullable(Decimal(38, 12)) COMMENT 'USD of the priced calls, exact, NULL where no call has a price',
  unpriced_calls Int64 COMMENT 'of the calls: those without a known price, which have no part in cost_usd',
  partial_calls Int64 COMMENT 'of the calls: those in cost_usd whose cost is not sure, it may be too high or too low'
)
SQL SECURITY DEFINER AS
SELECT
  day, model,
  sum(u.calls) AS calls,
  sum(u.errors) AS errors,
  sum(u.input_tokens) AS input_tokens,
  sum(u.output_tokens) AS output_tokens,
  sum(u.cost_usd) AS cost_usd,
  sum(u.unpriced_calls) AS unpriced_calls,
  sum(u.partial_calls) AS partial_calls
FROM usage_daily AS u
GROUP BY day, model
ORDER BY day, model
COMMENT 'Cost by day (UTC) and model.';

CREATE OR REPLACE VIEW daily_cost_by_model_between (
  day Date COMMENT 'the day in the zone that was asked for',
  model LowCardinality(String) COMMENT 'the model or the product that was called',
  calls Int64 COMMENT 'calls, each request_id once',
  errors Int64 COMMENT 'of the calls: those that failed',
  input_tokens Int64 COMMENT 'tokens sent, cached ones included',
  output_tokens Int64 COMMENT 'tokens received, reasoning included',
  cost_usd Nullable(Decimal(38, 12)) COMMENT 'USD of the priced calls, exact, NULL where no call has a price',
  unpriced_calls Int64 COMMENT 'of the calls: those without a known price, which have no part in cost_usd',
  partial_calls Int64 COMMENT 'of the calls: those in cost_usd whose cost is not sure, it may be too high or too low'
)
SQL SECURITY DEFINER AS
SELECT
  day, model,
  sum(u.calls) AS calls,
  sum(u.errors) AS errors,
  sum(u.input_tokens) AS input_tokens,
  sum(u.output_tokens) AS output_tokens,
  sum(u.cost_usd) AS cost_usd,
  sum(u.unpriced_calls) AS unpriced_calls,
  sum(u.partial_calls) AS partial_calls
FROM usage_daily_between(from = {from:String}, to = {to:String}, zone = {zone:String}) AS u
GROUP BY day, model
ORDER BY day, model
COMMENT 'Cost by day in the zone and model: daily_cost_by_model_between(from, to, zone).';

CREATE OR REPLACE VIEW daily_cost_by_provider (
  day Date COMMENT 'the day, UTC',
  provider LowCardinality(String) COMMENT 'who sells the call, such as openai',
  calls Int64 COMMENT 'calls, each request_id once',
  errors Int64 COMMENT 'of the calls: those that failed',
  input_tokens Int64 COMMENT 'tokens sent, cached ones included',
  output_tokens Int64 COMMENT 'tokens received, reasoning included',
  cost_usd Nullable(Decimal(38, 12)) COMMENT 'USD of the priced calls, exact, NULL where no call has a price',
  unpriced_calls Int64 COMMENT 'of the calls: those without a known price, which have no part in cost_usd',
  partial_calls Int64 COMMENT 'of the calls: those in cost_usd whose cost is not sure, it may be too high or too low'
)
SQL SECURITY DEFINER AS
SELECT
  day, provider,
  sum(u.calls) AS calls,
  sum(u.errors) AS errors,
  sum(u.input_tokens) AS input_tokens,
  sum(u.output_tokens) AS output_tokens,
  sum(u.cost_usd) AS cost_usd,
  sum(u.unpriced_calls) AS unpriced_calls,
  sum(u.partial_calls) AS partial_calls
FROM usage_daily AS u
GROUP BY day, provider
ORDER BY day, provider
COMMENT 'Cost by day (UTC) and provider.';

CREATE OR REPLACE VIEW daily_cost_by_provider_between (
  day Date COMMENT 'the day in the zone that was asked for',
  provider LowCardinality(String) COMMENT 'who sells the call, such as openai',
  calls Int64 COMMENT 'calls, each request_id once',
  errors Int64 COMMENT 'of the calls: those that failed',
  input_tokens Int64 COMMENT 'tokens sent, cached ones included',
  output_tokens Int64 COMMENT 'tokens received, reasoning included',
  cost_usd Nullable(Decimal(38, 12)) COMMENT 'USD of the priced calls, exact, NULL where no call has a price',
  unpriced_calls Int64 COMMENT 'of the calls: those without a known price, which have no part in cost_usd',
  partial_calls Int64 COMMENT 'of the calls: those in cost_usd whose cost is not sure, it may be too high or too low'
)
SQL SECURITY DEFINER AS
SELECT
  day, provider,
  sum(u.calls) AS calls,
  sum(u.errors) AS errors,
  sum(u.input_tokens) AS input_tokens,
  sum(u.output_tokens) AS output_tokens,
  sum(u.cost_usd) AS cost_usd,
  sum(u.unpriced_calls) AS unpriced_calls,
  sum(u.partial_calls) AS partial_calls
FROM usage_daily_between(from = {from:String}, to = {to:String}, zone = {zone:String}) AS u
GROUP BY day, provider
ORDER BY day, provider
COMMENT 'Cost by day in the zone and provider: daily_cost_by_provider_between(from, to, zone).';

CREATE OR REPLACE VIEW weekly_cost (
  week Date COMMENT 'the Monday that the week begins with, UTC',
  calls Int64 COMMENT 'calls, each request_id once',
  errors Int64 COMMENT 'of the calls: those that failed',
  input_tokens Int64 COMMENT 'tokens sent, cached ones included',
  output_tokens Int64 COMMENT 'tokens received, reasoning included',
  cost_usd Nullable(Decimal(38, 12)) COMMENT 'USD of the priced calls, exact, NULL where no call has a price',
  unpriced_calls Int64 COMMENT 'of the calls: those without a known price, which have no part in cost_usd',
  partial_calls Int64 COMMENT 'of the calls: those in cost_usd whose cost is not sure, it may be too high or too low'
)
SQL SECURITY DEFINER AS
SELECT
  toMonday(day) AS week,
  sum(u.calls) AS calls,
  sum(u.errors) AS errors,
  sum(u.input_tokens) AS input_tokens,
  sum(u.output_tokens) AS output_tokens,
  sum(u.cost_usd) AS cost_usd,
  sum(u.unpriced_calls) AS unpriced_calls,
  sum(u.partial_calls) AS partial_calls
FROM usage_daily AS u
GROUP BY week
ORDER BY week
COMMENT 'Cost by week, from Monday, UTC.';

CREATE OR REPLACE VIEW monthly_cost (
  month Date COMMENT 'the first day of the month, UTC',
  calls Int64 COMMENT 'calls, each request_id once',
  errors Int64 COMMENT 'of the calls: those that failed',
  input_tokens Int64 COMMENT 'tokens sent, cached ones included',
  output_tokens Int64 COMMENT 'tokens received, reasoning included',
  cost_usd Nullable(Decimal(38, 12)) COMMENT 'USD of the priced calls, exact, NULL where no call has a price',
  unpriced_calls Int64 COMMENT 'of the calls: those without a known price, which have no part in cost_usd',
  partial_calls Int64 COMMENT 'of the calls: those in cost_usd whose cost is not sure, it may be too high or too low'
)
SQL SECURITY DEFINER AS
SELECT
  toStartOfMonth(day) AS month,
  sum(u.calls) AS calls,
  sum(u.errors) AS errors,
  sum(u.input_tokens) AS input_tokens,
  sum(u.output_tokens) AS output_tokens,
  sum(u.cost_usd) AS cost_usd,
  sum(u.unpriced_calls) AS unpriced_calls,
  sum(u.partial_calls) AS partial_calls
FROM usage_daily AS u
GROUP BY month
ORDER BY month
COMMENT 'Cost by month, UTC.';

CREATE OR REPLACE VIEW user_cost_summary_between (
  user_id String COMMENT 'who the call was made for, as the event says it',
  calls Int64 COMMENT 'calls, each request_id once',
  errors Int64 COMMENT 'of the calls: those that failed',
  unpriced_calls Int64 COMMENT 'of the calls: those without a known price, which have no part in cost_usd',
  partial_calls Int64 COMMENT 'of the calls: those in cost_usd whose cost is not sure, it may be too high or too low',
  input_tokens Int64 COMMENT 'tokens sent, cached ones included',
  output_tokens Int64 COMMENT 'tokens received, reasoning included',
  cost_usd Nullable(Decimal(38, 12)) COMMENT 'USD of the priced calls, exact, NULL where no call has a price',
  revenue_usd Decimal(38, 12) COMMENT 'USD of revenue that the events report'
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
  arrayFilter(h -> h < span_to AND (days_from >= days_to
      OR h < toDateTime(days_from, 'UTC') OR h >= toDateTime(days_to, 'UTC')),
    arrayMap(n -> first_hour + toIntervalHour(n),
      range(toUInt32(greatest(0, intDiv(toUnixTimestamp(span_to) - toUnixTimestamp(first_hour), 3600) + 1))))) AS parts
SELECT
  user_id,
  sum(r.calls) AS calls,
  sum(r.errors) AS errors,
  sum(r.unpriced_calls) AS unpriced_calls,
  sum(r.partial_calls) AS partial_calls,
  sum(r.input_tokens) AS input_tokens,
  sum(r.output_tokens) AS output_tokens,
  if(calls > unpriced_calls, sum(r.cost_usd), NULL) AS cost_usd,
  sum(r.revenue_usd) AS revenue_usd
FROM (
  SELECT user_id, calls, errors, unpriced_calls, partial_calls, input_tokens, output_tokens, cost_usd, revenue_usd
  FROM usage_user_daily_rows FINAL
  WHERE day >= days_from AND day < days_to
  UNION ALL
  SELECT user_id,
    toInt64(1) AS calls,
    toInt64(e.status = 'error') AS errors,
    toInt64(e.cost_status = 'unpriced') AS unpriced_calls,
    toInt64(e.cost_status = 'partial') AS partial_calls,
    toInt64(ifNull(e.input_tokens, 0)) AS input_tokens,
    toInt64(ifNull(e.output_tokens, 0)) AS output_tokens,
    toDecimal128(ifNull(e.cost_usd, 0), 12) AS cost_usd,
    toDecimal128(ifNull(e.revenue_usd, 0), 12) AS revenue_usd
  FROM usage_events_rows AS e FINAL
  WHERE toStartOfHour(occurred_at) IN (
      SELECT arrayJoin(parts) FROM raw_kept_since
      WHERE throwIf(since > arrayMin(arrayPushBack(parts, since)), concat(
      'users are kept by whole days of UTC, and this span needs parts of a day from before raw_kept_since, whose ',
      'single calls may have expired: ask for whole days with zone UTC, or for a later span')) = 0)
    AND occurred_at >= span_from AND occurred_at < span_to
) AS r
WHERE (SELECT throwIf(span_from >= span_to, 'the span is empty: `from` must be before `to`')) = 0
GROUP BY user_id
ORDER BY cost_usd DESC, user_id
SETTINGS do_not_merge_across_partitions_select_final = 1
COMMENT 'What users spend in a span, the dearest first: user_cost_summary_between(from, to, zone).';
