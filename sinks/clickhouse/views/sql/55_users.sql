-- Made by `make schemas` from templates/55_users.sql.jinja: edit that.
-- What users spend. Users are kept by whole days of UTC.
CREATE OR REPLACE VIEW user_cost_summary (
  provider LowCardinality(String) COMMENT 'who sells the call, such as openai',
  model LowCardinality(String) COMMENT 'the model or the product that was called',
  calls Int64 COMMENT 'calls, each request_id once',
  input_tokens Int64 COMMENT 'tokens sent, cached ones included',
  output_tokens Int64 COMMENT 'tokens received, reasoning included',
  cost_usd Nullable(Decimal(38, 12)) COMMENT 'USD of the priced calls, exact, NULL where no call has a price',
  unpriced_calls Int64 COMMENT 'of the calls: those without a known price, which have no part in cost_usd',
  partial_calls Int64 COMMENT 'of the calls: those in cost_usd whose cost is not sure, it may be too high or too low'
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

CREATE OR REPLACE VIEW top_users (
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
  user_id,
  sum(u.calls) AS calls,
  sum(u.errors) AS errors,
  sum(u.unpriced_calls) AS unpriced_calls,
  sum(u.partial_calls) AS partial_calls,
  if(count() = count(u.unpriced_tokens), sum(u.unpriced_tokens), NULL) AS unpriced_tokens,
  if(count() = count(u.partial_tokens), sum(u.partial_tokens), NULL) AS partial_tokens,
  sum(u.input_tokens) AS input_tokens,
  sum(u.output_tokens) AS output_tokens,
  sum(u.cost_usd) AS cost_usd,
  sum(u.revenue_usd) AS revenue_usd
FROM usage_user_daily AS u
WHERE day >= toStartOfMonth(toDate(now('UTC'))) AND user_id != ''
GROUP BY user_id
ORDER BY cost_usd DESC NULLS LAST, user_id
LIMIT 10
COMMENT 'The ten users who cost most this month, UTC, the dearest first.';

CREATE OR REPLACE VIEW user_cost_summary_between (
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
  currency String COMMENT 'the currency that was asked for, such as KRW',
  cost Nullable(Decimal(38, 12)) COMMENT 'cost_usd in that currency, NULL where a day of it has no exchange rate',
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
  (SELECT groupArray((first_day, per_usd)) FROM
    (SELECT first_day, per_usd FROM exchange_rates WHERE currency = {currency:String} ORDER BY first_day)) AS rates,
  toDate(first_hour, 'UTC') AS first_day_of_span,
  arrayMap(n -> toUInt16(arrayCount(rate -> rate.1 <= first_day_of_span + n, rates)),
    range(toUInt32(greatest(0, toDate(span_to, 'UTC') - first_day_of_span + 1)))) AS rate_of_day,
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
  if(count() = count(r.unpriced_tokens), sum(r.unpriced_tokens), NULL) AS unpriced_tokens,
  if(count() = count(r.partial_tokens), sum(r.partial_tokens), NULL) AS partial_tokens,
  sum(r.input_tokens) AS input_tokens,
  sum(r.output_tokens) AS output_tokens,
  if(calls > unpriced_calls, sum(r.cost_usd), NULL) AS cost_usd,
  {currency:String} AS currency,
  if(calls > unpriced_calls,
    if(countIf(r.rate = 0 AND r.cost_usd != 0) > 0, NULL, toDecimal128(round(
    sum(toDecimal256(r.cost_usd, 12) * if(r.rate = 0, toDecimal128(0, 12), rates[r.rate].2)), 12), 12)), NULL) AS cost,
  sum(r.revenue_usd) AS revenue_usd
FROM (
  SELECT user_id,
    rate_of_day[toUInt32(greatest(0, c.utc_day - first_day_of_span)) + 1] AS rate,
    sum(c.calls) AS calls,
    sum(c.errors) AS errors,
    sum(c.unpriced_calls) AS unpriced_calls,
    sum(c.partial_calls) AS partial_calls,
    if(count() = count(c.unpriced_tokens), sum(c.unpriced_tokens), NULL) AS unpriced_tokens,
    if(count() = count(c.partial_tokens), sum(c.partial_tokens), NULL) AS partial_tokens,
    sum(c.input_tokens) AS input_tokens,
    sum(c.output_tokens) AS output_tokens,
    sum(c.cost_usd) AS cost_usd,
    sum(c.revenue_usd) AS revenue_usd
  FROM (
  SELECT day AS utc_day, user_id, calls, errors, unpriced_calls, partial_calls, unpriced_tokens, partial_tokens, input_tokens, output_tokens,
    cost_usd, revenue_usd
  FROM usage_user_daily_rows FINAL
  WHERE day >= days_from AND day < days_to
  UNION ALL
  SELECT toDate(occurred_at, 'UTC') AS utc_day, user_id,
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
    toDecimal128(ifNull(e.cost_usd, 0), 12) AS cost_usd,
    toDecimal128(ifNull(e.revenue_usd, 0), 12) AS revenue_usd
  FROM usage_events_rows AS e FINAL
  WHERE toStartOfHour(occurred_at) IN (
      SELECT arrayJoin(parts) FROM raw_kept_since
      WHERE throwIf(since > arrayMin(arrayPushBack(parts, since)), concat(
      'users are kept by whole days of UTC, and this span needs parts of a day from before raw_kept_since, whose ',
      'single calls may have expired: ask for whole days with zone UTC, or for a later span')) = 0)
    AND occurred_at >= span_from AND occurred_at < span_to
  ) AS c
  GROUP BY user_id, rate
) AS r
WHERE (SELECT throwIf(span_from >= span_to, 'the span is empty: `from` must be before `to`')) = 0
  AND (SELECT throwIf(empty(rates), concat('there is no exchange rate of ''', {currency:String}, ''', and without one ',
    'nothing is known in it: publish an [[exchange_rate]] of it (costream prices publish), or ask for USD'))) = 0
GROUP BY user_id
ORDER BY cost_usd DESC, user_id
SETTINGS do_not_merge_across_partitions_select_final = 1
COMMENT 'What users spend in a span, the dearest first: user_cost_summary_between(from, to, zone, currency).';
