-- What people, dashboards and programs read: every name answers exactly, without FINAL. Superseded rows stand in tables
-- named *_rows, which readers are not granted; a view reads them with the rights of who made it.
--
-- Every amount is USD as Decimal, averages and shares too, never a float. Beside every cost stands what it leaves out:
-- unpriced_calls have no known price and no part in the cost, partial_calls are in it with only what could be priced.
-- Where not one call has a price, the cost is NULL: unknown is never 0. Averages divide by the priced calls alone.
--
-- Two layers: plain views speak UTC and of a span that their comment states. Those named *_between take the span:
-- `SELECT * FROM feature_cost_summary_between(from = '2026-11-01', to = '2026-12-01', zone = 'Asia/Kolkata')`. They
-- count from `from` on and until before `to`, two moments in that zone.

-- Single calls.
CREATE OR REPLACE VIEW usage_events (
  occurred_at DateTime64(3, 'UTC') COMMENT 'when the call was made, UTC',
  request_id String COMMENT 'the id of the call: each is here once',
  provider LowCardinality(String) COMMENT 'who sells the call, such as openai',
  model LowCardinality(String) COMMENT 'the model or the product that was called',
  operation LowCardinality(String) COMMENT 'what was asked of it, such as chat or embeddings',
  feature LowCardinality(String) COMMENT 'the feature of the product that made the call',
  task_type LowCardinality(String) COMMENT 'the kind of task within the feature',
  team LowCardinality(String) COMMENT 'the team that owns the call',
  environment LowCardinality(String) COMMENT 'such as production or staging',
  user_id String COMMENT 'who the call was made for, as the event says it',
  session_id String COMMENT 'the session or conversation that the call is part of',
  metadata String COMMENT 'JSON text of what else the service said of it: JSONExtractString(metadata, ''parent_id'')',
  status LowCardinality(String) COMMENT 'ok or error',
  error String COMMENT 'what failed, in the words of the service',
  duration_ms Nullable(UInt32) COMMENT 'milliseconds until the answer was complete, NULL where it was not reported',
  time_to_first_token_ms Nullable(UInt32) COMMENT 'milliseconds until the first token, NULL where it was not reported',
  input_tokens Nullable(UInt32) COMMENT 'tokens sent, cached ones included, NULL where they were not reported',
  output_tokens Nullable(UInt32) COMMENT 'tokens received, reasoning included, NULL where they were not reported',
  cache_read_tokens Nullable(UInt32) COMMENT 'of the input tokens: read from the cache of the provider',
  cache_write_tokens Nullable(UInt32) COMMENT 'of the input tokens: written to the cache of the provider',
  reasoning_tokens Nullable(UInt32) COMMENT 'of the output tokens: spent on reasoning',
  total_tokens Nullable(UInt64) COMMENT 'input and output tokens, NULL where one of them was not reported',
  quantities String COMMENT 'JSON text of every other unit and its amount as decimal text',
  usage_status LowCardinality(String) COMMENT 'whether the usage was reported, estimated or is missing',
  reported_cost_usd Nullable(Decimal(18, 12)) COMMENT 'USD as the service itself reported it',
  unit_prices String COMMENT 'JSON text of the prices that the service sent along, by unit',
  revenue_usd Nullable(Decimal(18, 12)) COMMENT 'USD of revenue that the service reported',
  cost_usd Nullable(Decimal(18, 12)) COMMENT 'USD, exact, NULL is unknown, never 0, and cost_reason says why',
  cost_status LowCardinality(String) COMMENT 'priced, partial (cost_usd is a lower bound) or unpriced',
  cost_reason LowCardinality(String) COMMENT 'why the cost is not known or not whole, empty where it is priced',
  price_version LowCardinality(String) COMMENT 'the version of the price table that made cost_usd',
  price_rev UInt16 COMMENT 'how often it was priced anew',
  source LowCardinality(String) COMMENT 'the topic it was read from, in one of its lives',
  source_partition UInt16 COMMENT 'the partition it was read from',
  source_offset UInt64 COMMENT 'the offset it was read from',
  received_at DateTime64(3, 'UTC') COMMENT 'when Kafka received it, UTC',
  stored_at DateTime64(3, 'UTC') COMMENT 'when it was stored, UTC'
)
SQL SECURITY DEFINER AS
SELECT
  occurred_at, request_id, provider, model, operation, feature, task_type, team, environment, user_id, session_id,
  metadata, status, error, duration_ms, time_to_first_token_ms, input_tokens, output_tokens, cache_read_tokens,
  cache_write_tokens, reasoning_tokens, total_tokens, quantities, usage_status, reported_cost_usd, unit_prices,
  revenue_usd, cost_usd, cost_status, cost_reason, price_version, price_rev, source, source_partition,
  source_offset, received_at, stored_at
FROM usage_events_rows FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1
COMMENT 'Single calls, each request_id once, kept for the retention of raw rows.';

-- Sums. `sum(calls)` is over sources: partitions, lives of the topic, and the audit's corrections.
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
  partial_calls Int64 COMMENT 'of the calls: those priced in part, so that cost_usd is a lower bound',
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
    calls, errors, duplicates, unpriced_calls, partial_calls,
    input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens,
    CAST(map(), 'Map(String, Decimal(76, 12))') AS units,
    cost_usd, revenue_usd, duration_ms, duration_calls, price_versions
  FROM usage_hourly_rows FINAL
  UNION ALL
  SELECT hour, provider, model, operation, feature, task_type, team, environment,
    0, 0, 0, 0, 0,
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
  partial_calls Int64 COMMENT 'of the calls: those priced in part, so that cost_usd is a lower bound',
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
  partial_calls Int64 COMMENT 'of the calls: those priced in part, so that cost_usd is a lower bound',
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
  sum(r.input_tokens) AS input_tokens,
  sum(r.output_tokens) AS output_tokens,
  if(calls > unpriced_calls, sum(r.cost_usd), NULL) AS cost_usd,
  sum(r.revenue_usd) AS revenue_usd
FROM usage_user_daily_rows AS r FINAL
GROUP BY day, user_id
SETTINGS do_not_merge_across_partitions_select_final = 1
COMMENT 'Calls by day (UTC) and user, one row each, kept for a year.';

-- What a span needs of days, of hours and of single calls. Whole days come from usage_daily_rows, the rest of the whole
-- hours from usage_hourly_rows, and what is left, parts of an hour, from single calls: a zone may be half an hour off,
-- and a span may begin at 09:20. Single calls are kept for a while only; a span that needs older ones is refused.
CREATE OR REPLACE VIEW raw_kept_since (
  since DateTime64(3, 'UTC') COMMENT 'single calls that occurred before this moment may have expired'
)
SQL SECURITY DEFINER AS
WITH
  (SELECT arraySort(groupArray((changed_at, days))) FROM retention_changes_rows FINAL) AS changes,
  arrayPushFront(arrayMap(c -> c.2, changes), 90) AS spans
SELECT arrayMax(arrayPushBack(
  arrayMap((c, days) -> c.1 - toIntervalDay(days), changes, arrayPopBack(spans)),
  now64(3, 'UTC') - toIntervalDay(spans[-1]))) AS since
COMMENT 'Since when single calls are kept: usage_events is complete from this moment on.';

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
  partial_calls Int64 COMMENT 'of the calls: those priced in part, so that cost_usd is a lower bound',
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
    calls, errors, unpriced_calls, partial_calls, input_tokens, output_tokens, cache_read_tokens,
    cache_write_tokens, reasoning_tokens, cost_usd, revenue_usd, duration_ms, duration_calls, price_versions
  FROM usage_daily_rows FINAL
  WHERE day >= days_from AND day < days_to
  UNION ALL
  SELECT provider, model, operation, feature, task_type, team, environment,
    calls, errors, unpriced_calls, partial_calls, input_tokens, output_tokens, cache_read_tokens,
    cache_write_tokens, reasoning_tokens, cost_usd, revenue_usd, duration_ms, duration_calls, price_versions
  FROM usage_hourly_rows FINAL
  WHERE hour >= hours_from AND hour < hours_to AND (days_from >= days_to OR hour < days_from OR hour >= days_to)
  UNION ALL
  SELECT provider, model, operation, feature, task_type, team, environment,
    toInt64(1) AS calls,
    toInt64(e.status = 'error') AS errors,
    toInt64(e.cost_status = 'unpriced') AS unpriced_calls,
    toInt64(e.cost_status = 'partial') AS partial_calls,
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
  partial_calls Int64 COMMENT 'of the calls: those priced in part, so that cost_usd is a lower bound',
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
    calls, errors, unpriced_calls, partial_calls, input_tokens, output_tokens, cache_read_tokens,
    cache_write_tokens, reasoning_tokens, cost_usd, revenue_usd, duration_ms, duration_calls, price_versions
  FROM usage_daily_rows FINAL
  WHERE day >= days_from AND day < days_end
  UNION ALL
  SELECT toDate(hour, {zone:String}) AS zone_day,
    provider, model, operation, feature, task_type, team, environment,
    calls, errors, unpriced_calls, partial_calls, input_tokens, output_tokens, cache_read_tokens,
    cache_write_tokens, reasoning_tokens, cost_usd, revenue_usd, duration_ms, duration_calls, price_versions
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

-- Summaries: what costs how much, and what works how well.
CREATE OR REPLACE VIEW feature_cost_summary (
  feature LowCardinality(String) COMMENT 'the feature of the product that made the call',
  calls Int64 COMMENT 'calls, each request_id once',
  cost_usd Nullable(Decimal(38, 12)) COMMENT 'USD of the priced calls, exact, NULL where no call has a price',
  avg_cost_usd Nullable(Decimal(38, 12)) COMMENT 'USD of a priced call on average',
  unpriced_calls Int64 COMMENT 'of the calls: those without a known price, which have no part in cost_usd',
  partial_calls Int64 COMMENT 'of the calls: those priced in part, so that cost_usd is a lower bound',
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
  partial_calls Int64 COMMENT 'of the calls: those priced in part, so that cost_usd is a lower bound',
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
  partial_calls Int64 COMMENT 'of the calls: those priced in part, so that cost_usd is a lower bound',
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
  partial_calls Int64 COMMENT 'of the calls: those priced in part, so that cost_usd is a lower bound',
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
  partial_calls Int64 COMMENT 'of the calls: those priced in part, so that cost_usd is a lower bound',
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
  partial_calls Int64 COMMENT 'of the calls: those priced in part, so that cost_usd is a lower bound',
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
  partial_calls Int64 COMMENT 'of the calls: those priced in part, so that cost_usd is a lower bound'
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
  partial_calls Int64 COMMENT 'of the calls: those priced in part, so that cost_usd is a lower bound'
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
  partial_calls Int64 COMMENT 'of the calls: those priced in part, so that cost_usd is a lower bound'
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
  partial_calls Int64 COMMENT 'of the calls: those priced in part, so that cost_usd is a lower bound'
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

-- Series over time.
CREATE OR REPLACE VIEW realtime_cost_monitor (
  hour DateTime('UTC') COMMENT 'the hour, by its first moment, UTC',
  calls Int64 COMMENT 'calls, each request_id once',
  errors Int64 COMMENT 'of the calls: those that failed',
  input_tokens Int64 COMMENT 'tokens sent, cached ones included',
  output_tokens Int64 COMMENT 'tokens received, reasoning included',
  cost_usd Nullable(Decimal(38, 12)) COMMENT 'USD of the priced calls, exact, NULL where no call has a price',
  unpriced_calls Int64 COMMENT 'of the calls: those without a known price, which have no part in cost_usd',
  partial_calls Int64 COMMENT 'of the calls: those priced in part, so that cost_usd is a lower bound',
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
  partial_calls Int64 COMMENT 'of the calls: those priced in part, so that cost_usd is a lower bound'
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
  partial_calls Int64 COMMENT 'of the calls: those priced in part, so that cost_usd is a lower bound'
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
  partial_calls Int64 COMMENT 'of the calls: those priced in part, so that cost_usd is a lower bound'
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
  partial_calls Int64 COMMENT 'of the calls: those priced in part, so that cost_usd is a lower bound'
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
  partial_calls Int64 COMMENT 'of the calls: those priced in part, so that cost_usd is a lower bound'
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
  partial_calls Int64 COMMENT 'of the calls: those priced in part, so that cost_usd is a lower bound'
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
  partial_calls Int64 COMMENT 'of the calls: those priced in part, so that cost_usd is a lower bound'
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
  partial_calls Int64 COMMENT 'of the calls: those priced in part, so that cost_usd is a lower bound'
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
  partial_calls Int64 COMMENT 'of the calls: those priced in part, so that cost_usd is a lower bound'
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
  partial_calls Int64 COMMENT 'of the calls: those priced in part, so that cost_usd is a lower bound'
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

-- Users.
CREATE OR REPLACE VIEW user_cost_summary (
  provider LowCardinality(String) COMMENT 'who sells the call, such as openai',
  model LowCardinality(String) COMMENT 'the model or the product that was called',
  calls Int64 COMMENT 'calls, each request_id once',
  input_tokens Int64 COMMENT 'tokens sent, cached ones included',
  output_tokens Int64 COMMENT 'tokens received, reasoning included',
  cost_usd Nullable(Decimal(38, 12)) COMMENT 'USD of the priced calls, exact, NULL where no call has a price',
  unpriced_calls Int64 COMMENT 'of the calls: those without a known price, which have no part in cost_usd',
  partial_calls Int64 COMMENT 'of the calls: those priced in part, so that cost_usd is a lower bound'
)
SQL SECURITY DEFINER AS
SELECT
  provider, model,
  toInt64(count()) AS calls,
  toInt64(sum(ifNull(e.input_tokens, 0))) AS input_tokens,
  toInt64(sum(ifNull(e.output_tokens, 0))) AS output_tokens,
  sum(e.cost_usd) AS cost_usd,
  toInt64(countIf(e.cost_status = 'unpriced')) AS unpriced_calls,
  toInt64(countIf(e.cost_status = 'partial')) AS partial_calls
FROM usage_events AS e
WHERE user_id = {user_id:String} AND occurred_at >= now('UTC') - toIntervalHour({period_hours:UInt32})
GROUP BY provider, model
ORDER BY cost_usd DESC, provider, model
COMMENT 'What one user spends by model: user_cost_summary(user_id, period_hours).';

CREATE OR REPLACE VIEW user_cost_summary_between (
  user_id String COMMENT 'who the call was made for, as the event says it',
  calls Int64 COMMENT 'calls, each request_id once',
  errors Int64 COMMENT 'of the calls: those that failed',
  unpriced_calls Int64 COMMENT 'of the calls: those without a known price, which have no part in cost_usd',
  partial_calls Int64 COMMENT 'of the calls: those priced in part, so that cost_usd is a lower bound',
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

-- What is not known, and what was lost.
CREATE OR REPLACE VIEW unknown_cost_calls (
  day Date COMMENT 'the day, UTC',
  provider LowCardinality(String) COMMENT 'who sells the call, such as openai',
  model LowCardinality(String) COMMENT 'the model or the product that was called',
  cost_reason LowCardinality(String) COMMENT 'why there is no price, or not a whole one',
  calls Int64 COMMENT 'calls, each request_id once',
  tokens Int64 COMMENT 'input and output tokens of these calls',
  last_occurred_at DateTime64(3, 'UTC') COMMENT 'when the latest of them was made, UTC'
)
SQL SECURITY DEFINER AS
SELECT
  toDate(occurred_at) AS day, provider, model, cost_reason,
  toInt64(count()) AS calls,
  toInt64(sum(ifNull(e.input_tokens, 0)) + sum(ifNull(e.output_tokens, 0))) AS tokens,
  max(e.occurred_at) AS last_occurred_at
FROM usage_events AS e
WHERE e.cost_usd IS NULL
GROUP BY day, provider, model, cost_reason
ORDER BY day DESC, calls DESC, provider, model, cost_reason
COMMENT 'Calls that no price was found for, by day (UTC), model and reason.';

CREATE OR REPLACE VIEW partial_cost_calls (
  day Date COMMENT 'the day, UTC',
  provider LowCardinality(String) COMMENT 'who sells the call, such as openai',
  model LowCardinality(String) COMMENT 'the model or the product that was called',
  cost_reason LowCardinality(String) COMMENT 'why there is no price, or not a whole one',
  calls Int64 COMMENT 'calls, each request_id once',
  cost_usd Nullable(Decimal(38, 12)) COMMENT 'USD of the priced calls, exact, NULL where no call has a price',
  last_occurred_at DateTime64(3, 'UTC') COMMENT 'when the latest of them was made, UTC'
)
SQL SECURITY DEFINER AS
SELECT
  toDate(occurred_at) AS day, provider, model, cost_reason,
  toInt64(count()) AS calls,
  sum(e.cost_usd) AS cost_usd,
  max(e.occurred_at) AS last_occurred_at
FROM usage_events AS e
WHERE e.cost_status = 'partial'
GROUP BY day, provider, model, cost_reason
ORDER BY day DESC, calls DESC, provider, model, cost_reason
COMMENT 'Calls that were priced only in part, by day (UTC), model and reason: cost_usd is a lower bound.';

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

-- What the pipeline itself keeps.
CREATE OR REPLACE VIEW dead_letters (
  source LowCardinality(String) COMMENT 'the topic the record was read from, in one of its lives',
  source_partition UInt16 COMMENT 'the partition it was read from',
  source_offset UInt64 COMMENT 'the offset it was read from',
  received_at DateTime64(3, 'UTC') COMMENT 'when Kafka received it, UTC',
  kind LowCardinality(String) COMMENT 'malformed, invalid, conflict, too_early, too_old or another kind',
  reason String COMMENT 'which field, which value, which rule',
  request_id String COMMENT 'its request_id, empty where it could not be read',
  key String COMMENT 'the key of the record, or its head',
  value String COMMENT 'the bytes of the record, or their head',
  headers String COMMENT 'JSON text of [[name, base64 of the value], ...]',
  stored_at DateTime64(3, 'UTC') COMMENT 'when it was stored, UTC',
  value_bytes UInt64 COMMENT 'length of the whole value',
  value_sha256 String COMMENT 'SHA-256 of the whole value, empty where all of it is kept',
  key_bytes UInt64 COMMENT 'length of the whole key',
  key_sha256 String COMMENT 'SHA-256 of the whole key, empty where all of it is kept',
  headers_count UInt64 COMMENT 'how many headers there were',
  headers_bytes UInt64 COMMENT 'length of all headers',
  headers_sha256 String COMMENT 'SHA-256 of all headers, empty where all of them are kept'
)
SQL SECURITY DEFINER AS
SELECT
  source, source_partition, source_offset, received_at, kind, reason, request_id, key, value, headers, stored_at,
  value_bytes, value_sha256, key_bytes, key_sha256, headers_count, headers_bytes, headers_sha256
FROM dead_letters_rows FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1
COMMENT 'Records that were refused, each once.';

CREATE OR REPLACE VIEW alerts (
  alert_id String COMMENT 'the alert',
  revision UInt32 COMMENT 'its revision, from 1',
  status LowCardinality(String) COMMENT 'open, updated, cleared or retracted',
  level LowCardinality(String) COMMENT 'info, warning, critical or emergency',
  rule LowCardinality(String) COMMENT 'the rule that raised it',
  metric_name LowCardinality(String) COMMENT 'the figure that the rule judges',
  scope String COMMENT 'what was judged, such as system or feature=chatbot',
  user_id Nullable(String) COMMENT 'the user it is about, if it is about one',
  title String COMMENT 'one line',
  message String COMMENT 'what happened, in words',
  window_start DateTime('UTC') COMMENT 'from when, UTC',
  window_end DateTime('UTC') COMMENT 'until when, UTC',
  current_value Decimal(38, 12) COMMENT 'the figure',
  threshold_value Decimal(38, 12) COMMENT 'the threshold that it crossed',
  expected_value Nullable(Decimal(38, 12)) COMMENT 'what was to be expected',
  ratio Nullable(Decimal(18, 4)) COMMENT 'figure in proportion to what was to be expected',
  unpriced_calls Int64 COMMENT 'calls of the window without a known price',
  drivers String COMMENT 'JSON text of what drove it',
  metadata String COMMENT 'JSON text of what else is known',
  timestamp DateTime64(3, 'UTC') COMMENT 'when this revision was decided, UTC',
  stored_at DateTime64(3, 'UTC') COMMENT 'when it was stored, UTC'
)
SQL SECURITY DEFINER AS
SELECT
  alert_id, revision, status, level, rule, metric_name, scope, user_id, title, message, window_start, window_end,
  current_value, threshold_value, expected_value, ratio, unpriced_calls, drivers, metadata, timestamp, stored_at
FROM alerts_rows FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1
COMMENT 'Alerts, one row a revision, kept for a year.';

CREATE OR REPLACE VIEW ingest_ledger (
  source LowCardinality(String) COMMENT 'the topic, in one of its lives',
  source_partition UInt16 COMMENT 'the partition',
  offset_block UInt64 COMMENT 'the block of 65,536 offsets',
  offset_first UInt64 COMMENT 'the first offset of it that was read',
  received UInt64 COMMENT 'records read = stored + duplicates + dead_lettered + forwarded',
  stored UInt64 COMMENT 'records stored as calls',
  duplicates UInt64 COMMENT 'records with an id that was counted before',
  dead_lettered UInt64 COMMENT 'records refused',
  forwarded UInt64 COMMENT 'records sent on to the partition of their id',
  version UInt64 COMMENT 'the last offset that this row has counted'
)
SQL SECURITY DEFINER AS
SELECT
  source, source_partition, offset_block, offset_first, received, stored, duplicates, dead_lettered, forwarded,
  version
FROM ingest_ledger_rows FINAL
COMMENT 'Where every record of a partition went, in blocks of 65,536 offsets.';

CREATE OR REPLACE VIEW removed_events (
  occurred_at DateTime64(3, 'UTC') COMMENT 'when the call was made, UTC',
  request_id String COMMENT 'the id of the call',
  source LowCardinality(String) COMMENT 'the topic, in one of its lives',
  source_partition UInt16 COMMENT 'the partition',
  source_offset UInt64 COMMENT 'the offset',
  event String COMMENT 'the removed row as JSON text',
  reason String COMMENT 'why it was removed',
  removed_at DateTime64(3, 'UTC') COMMENT 'when it was removed, UTC'
)
SQL SECURITY DEFINER AS
SELECT
  occurred_at, request_id, source, source_partition, source_offset, event, reason, removed_at
FROM removed_events_rows FINAL
COMMENT 'Rows that an audit took out of usage_events, whole.';

CREATE OR REPLACE VIEW vanished_records (
  source LowCardinality(String) COMMENT 'the topic, in one of its lives',
  source_partition UInt16 COMMENT 'the partition',
  offset_first UInt64 COMMENT 'the first of the offsets',
  offset_last UInt64 COMMENT 'the last of the offsets',
  noticed_at DateTime64(3, 'UTC') COMMENT 'when it was noticed, UTC',
  consumer_group String COMMENT 'the group that noticed it',
  accepted UInt8 COMMENT '1 where a person knows of it',
  accepted_reason String COMMENT 'what that person says of it',
  accepted_at Nullable(DateTime64(3, 'UTC')) COMMENT 'when, UTC'
)
SQL SECURITY DEFINER AS
SELECT
  source, source_partition, offset_first, offset_last, noticed_at, consumer_group, accepted, accepted_reason,
  accepted_at
FROM vanished_records_rows FINAL
COMMENT 'Records that were gone from Kafka before they were read: offsets, each of which was at most one record.';

-- What is not for readers says what to ask instead.
ALTER TABLE alerts_rows MODIFY COMMENT 'Stored rows, superseded ones included: read alerts';
ALTER TABLE usage_daily_rows MODIFY COMMENT 'Stored rows, superseded ones included: read usage_daily';
ALTER TABLE usage_events_rows MODIFY COMMENT 'Stored rows, superseded ones included: read usage_events';
ALTER TABLE usage_hourly_rows MODIFY COMMENT 'Stored rows, superseded ones included: read usage_hourly';
ALTER TABLE dead_letters_rows MODIFY COMMENT 'Stored rows, superseded ones included: read dead_letters';
ALTER TABLE ingest_ledger_rows MODIFY COMMENT 'Stored rows, superseded ones included: read ingest_ledger';
ALTER TABLE removed_events_rows MODIFY COMMENT 'Stored rows, superseded ones included: read removed_events';
ALTER TABLE usage_user_daily_rows MODIFY COMMENT 'Stored rows, superseded ones included: read usage_user_daily';
ALTER TABLE vanished_records_rows MODIFY COMMENT 'Stored rows, superseded ones included: read vanished_records';
ALTER TABLE usage_hourly_units_rows MODIFY COMMENT 'Stored rows, superseded ones included: read usage_hourly_units';
