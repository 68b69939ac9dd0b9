-- Made by `make schemas` from templates/40_spans.sql.jinja: edit that.
-- Those named *_between take the span, and the currency of `cost`. They count from `from` on and until before `to`, two
-- moments in that zone. A day of UTC is converted by the rate that holds at its first moment, so that sums by hour, day
-- and span are the same money.
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
  cost Nullable(Decimal(38, 12)) COMMENT 'cost_usd in that currency, NULL where a day of it has no exchange rate',
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
  (SELECT groupArray((first_day, per_usd)) FROM
    (SELECT first_day, per_usd FROM exchange_rates WHERE currency = {currency:String} ORDER BY first_day)) AS rates,
  toDate(first_hour, 'UTC') AS first_day_of_span,
  arrayMap(n -> toUInt16(arrayCount(rate -> rate.1 <= first_day_of_span + n, rates)),
    range(toUInt32(greatest(0, toDate(span_to, 'UTC') - first_day_of_span + 1)))) AS rate_of_day,
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
  if(calls > unpriced_calls,
    if(countIf(r.rate = 0 AND r.cost_usd != 0) > 0, NULL, toDecimal128(round(
    sum(toDecimal256(r.cost_usd, 12) * if(r.rate = 0, toDecimal128(0, 12), rates[r.rate].2)), 12), 12)), NULL) AS cost,
  sum(r.revenue_usd) AS revenue_usd,
  sum(r.duration_ms) AS duration_ms,
  sum(r.duration_calls) AS duration_calls,
  arraySort(groupUniqArrayArray(r.price_versions)) AS price_versions
FROM (
  SELECT provider, model, operation, feature, task_type, team, environment,
    rate_of_day[toUInt32(greatest(0, c.utc_day - first_day_of_span)) + 1] AS rate,
    sum(c.calls) AS calls,
    sum(c.errors) AS errors,
    sum(c.unpriced_calls) AS unpriced_calls,
    sum(c.partial_calls) AS partial_calls,
    if(count() = count(c.unpriced_tokens), sum(c.unpriced_tokens), NULL) AS unpriced_tokens,
    if(count() = count(c.partial_tokens), sum(c.partial_tokens), NULL) AS partial_tokens,
    sum(c.input_tokens) AS input_tokens,
    sum(c.output_tokens) AS output_tokens,
    sum(c.cache_read_tokens) AS cache_read_tokens,
    sum(c.cache_write_tokens) AS cache_write_tokens,
    sum(c.reasoning_tokens) AS reasoning_tokens,
    sum(c.cost_usd) AS cost_usd,
    sum(c.revenue_usd) AS revenue_usd,
    sum(c.duration_ms) AS duration_ms,
    sum(c.duration_calls) AS duration_calls,
    groupUniqArrayArray(c.price_versions) AS price_versions
  FROM (
  SELECT day AS utc_day, provider, model, operation, feature, task_type, team, environment,
    calls, errors, unpriced_calls, partial_calls, unpriced_tokens, partial_tokens, input_tokens, output_tokens,
    cache_read_tokens, cache_write_tokens, reasoning_tokens, cost_usd, revenue_usd, duration_ms, duration_calls,
    price_versions
  FROM usage_daily_rows FINAL
  WHERE day >= days_from AND day < days_to
  UNION ALL
  SELECT toDate(hour, 'UTC') AS utc_day, provider, model, operation, feature, task_type, team, environment,
    calls, errors, unpriced_calls, partial_calls, unpriced_tokens, partial_tokens, input_tokens, output_tokens,
    cache_read_tokens, cache_write_tokens, reasoning_tokens, cost_usd, revenue_usd, duration_ms, duration_calls,
    price_versions
  FROM usage_hourly_rows FINAL
  WHERE hour >= hours_from AND hour < hours_to AND (days_from >= days_to OR hour < days_from OR hour >= days_to)
  UNION ALL
  SELECT toDate(occurred_at, 'UTC') AS utc_day, provider, model, operation, feature, task_type, team, environment,
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
  ) AS c
  GROUP BY provider, model, operation, feature, task_type, team, environment, rate
) AS r
WHERE (SELECT throwIf(span_from >= span_to, 'the span is empty: `from` must be before `to`')) = 0
  AND (SELECT throwIf(empty(rates), concat('there is no exchange rate of ''', {currency:String}, ''', and without one ',
    'nothing is known in it: publish an [[exchange_rate]] of it (costream prices publish), or ask for USD'))) = 0
GROUP BY provider, model, operation, feature, task_type, team, environment
SETTINGS do_not_merge_across_partitions_select_final = 1
COMMENT 'Calls of a span by the seven dimensions: usage_between(from, to, zone, currency).';

CREATE OR REPLACE VIEW usage_hourly_between (
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
  cost Nullable(Decimal(38, 12)) COMMENT 'cost_usd in that currency, NULL where a day of it has no exchange rate',
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
  (SELECT groupArray((first_day, per_usd)) FROM
    (SELECT first_day, per_usd FROM exchange_rates WHERE currency = {currency:String} ORDER BY first_day)) AS rates,
  toDate(first_hour, 'UTC') AS first_day_of_span,
  arrayMap(n -> toUInt16(arrayCount(rate -> rate.1 <= first_day_of_span + n, rates)),
    range(toUInt32(greatest(0, toDate(span_to, 'UTC') - first_day_of_span + 1)))) AS rate_of_day,
  rate_of_day[toUInt32(greatest(0, toDate(hour, 'UTC') - first_day_of_span)) + 1] AS rate
SELECT
  hour, provider, model, operation, feature, task_type, team, environment, calls, errors, unpriced_calls, partial_calls, unpriced_tokens, partial_tokens, input_tokens,
  output_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens, cost_usd,
  multiIf(cost_usd = 0, cost_usd, rate = 0, NULL,
    toDecimal128(round(toDecimal256(cost_usd, 12) * rates[rate].2, 12), 12)) AS cost,
  revenue_usd, duration_ms, duration_calls, price_versions
FROM usage_hourly
WHERE hour >= span_from AND hour < span_to
  AND (SELECT throwIf(span_from >= span_to, 'the span is empty: `from` must be before `to`')) = 0
  AND (SELECT throwIf(empty(rates), concat('there is no exchange rate of ''', {currency:String}, ''', and without one ',
    'nothing is known in it: publish an [[exchange_rate]] of it (costream prices publish), or ask for USD'))) = 0
COMMENT 'Hours (UTC) that begin in a span, by the seven dimensions: usage_hourly_between(from, to, zone, currency).';

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
  cost Nullable(Decimal(38, 12)) COMMENT 'cost_usd in that currency, NULL where a day of it has no exchange rate',
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
  (SELECT groupArray((first_day, per_usd)) FROM
    (SELECT first_day, per_usd FROM exchange_rates WHERE currency = {currency:String} ORDER BY first_day)) AS rates,
  toDate(first_hour, 'UTC') AS first_day_of_span,
  arrayMap(n -> toUInt16(arrayCount(rate -> rate.1 <= first_day_of_span + n, rates)),
    range(toUInt32(greatest(0, toDate(span_to, 'UTC') - first_day_of_span + 1)))) AS rate_of_day,
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
  if(calls > unpriced_calls,
    if(countIf(r.rate = 0 AND r.cost_usd != 0) > 0, NULL, toDecimal128(round(
    sum(toDecimal256(r.cost_usd, 12) * if(r.rate = 0, toDecimal128(0, 12), rates[r.rate].2)), 12), 12)), NULL) AS cost,
  sum(r.revenue_usd) AS revenue_usd,
  sum(r.duration_ms) AS duration_ms,
  sum(r.duration_calls) AS duration_calls,
  arraySort(groupUniqArrayArray(r.price_versions)) AS price_versions
FROM (
  SELECT zone_day, provider, model, operation, feature, task_type, team, environment,
    rate_of_day[toUInt32(greatest(0, c.utc_day - first_day_of_span)) + 1] AS rate,
    sum(c.calls) AS calls,
    sum(c.errors) AS errors,
    sum(c.unpriced_calls) AS unpriced_calls,
    sum(c.partial_calls) AS partial_calls,
    if(count() = count(c.unpriced_tokens), sum(c.unpriced_tokens), NULL) AS unpriced_tokens,
    if(count() = count(c.partial_tokens), sum(c.partial_tokens), NULL) AS partial_tokens,
    sum(c.input_tokens) AS input_tokens,
    sum(c.output_tokens) AS output_tokens,
    sum(c.cache_read_tokens) AS cache_read_tokens,
    sum(c.cache_write_tokens) AS cache_write_tokens,
    sum(c.reasoning_tokens) AS reasoning_tokens,
    sum(c.cost_usd) AS cost_usd,
    sum(c.revenue_usd) AS revenue_usd,
    sum(c.duration_ms) AS duration_ms,
    sum(c.duration_calls) AS duration_calls,
    groupUniqArrayArray(c.price_versions) AS price_versions
  FROM (
  SELECT day AS zone_day, day AS utc_day, provider, model, operation, feature, task_type, team, environment,
    calls, errors, unpriced_calls, partial_calls, unpriced_tokens, partial_tokens, input_tokens, output_tokens,
    cache_read_tokens, cache_write_tokens, reasoning_tokens, cost_usd, revenue_usd, duration_ms, duration_calls,
    price_versions
  FROM usage_daily_rows FINAL
  WHERE day >= days_from AND day < days_end
  UNION ALL
  SELECT toDate(hour, {zone:String}) AS zone_day, toDate(hour, 'UTC') AS utc_day, provider, model, operation, feature, task_type, team, environment,
    calls, errors, unpriced_calls, partial_calls, unpriced_tokens, partial_tokens, input_tokens, output_tokens,
    cache_read_tokens, cache_write_tokens, reasoning_tokens, cost_usd, revenue_usd, duration_ms, duration_calls,
    price_versions
  FROM usage_hourly_rows FINAL
  WHERE hour >= hours_from AND hour < hours_to AND hour NOT IN (SELECT arrayJoin(parts))
    AND (days_from >= days_end OR hour < days_from OR hour >= days_end)
  UNION ALL
  SELECT toDate(occurred_at, {zone:String}) AS zone_day, toDate(occurred_at, 'UTC') AS utc_day, provider, model, operation, feature, task_type, team, environment,
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
  ) AS c
  GROUP BY zone_day, provider, model, operation, feature, task_type, team, environment, rate
) AS r
WHERE (SELECT throwIf(span_from >= span_to, 'the span is empty: `from` must be before `to`')) = 0
  AND (SELECT throwIf(empty(rates), concat('there is no exchange rate of ''', {currency:String}, ''', and without one ',
    'nothing is known in it: publish an [[exchange_rate]] of it (costream prices publish), or ask for USD'))) = 0
GROUP BY zone_day, provider, model, operation, feature, task_type, team, environment
SETTINGS do_not_merge_across_partitions_select_final = 1
COMMENT 'Calls of a span by day in the zone and the seven dimensions: usage_daily_between(from, to, zone, currency).';
