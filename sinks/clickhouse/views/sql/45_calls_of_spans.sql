-- Made by `make schemas` from templates/45_calls_of_spans.sql.jinja: edit that.
-- Single calls of a span, in its currency.
CREATE OR REPLACE VIEW calls_between (
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
  service_tier LowCardinality(String) COMMENT 'the tier that served the call, as the event says it, such as flex',
  status LowCardinality(String) COMMENT 'ok or error',
  error String COMMENT 'what failed, in the words of the service',
  duration_ms Nullable(UInt32) COMMENT 'milliseconds until the answer was complete, NULL where it was not reported',
  input_tokens Nullable(UInt32) COMMENT 'tokens sent, cached ones included, NULL where they were not reported',
  output_tokens Nullable(UInt32) COMMENT 'tokens received, reasoning included, NULL where they were not reported',
  cost_usd Nullable(Decimal(38, 12)) COMMENT 'USD, exact (NULL: unknown, which is never 0, and cost_reason says why)',
  currency String COMMENT 'the currency that was asked for, such as KRW',
  cost Nullable(Decimal(38, 12)) COMMENT 'the same in that currency, rounded to 1e-12, NULL where its day has no exchange rate',
  cost_status LowCardinality(String) COMMENT 'priced, partial (cost_usd is what could be priced, and may be too high or too low) or unpriced',
  cost_reason LowCardinality(String) COMMENT 'a code: why the cost is not known or not sure (empty where nothing is in doubt)',
  cost_detail String COMMENT 'the same in words: which name, which unit, which rule',
  price_version LowCardinality(String) COMMENT 'the version of the price table that made cost_usd'
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
  rate_of_day[toUInt32(greatest(0, toDate(e.occurred_at, 'UTC') - first_day_of_span)) + 1] AS rate
SELECT
  occurred_at, request_id, provider, model, operation, feature, task_type, team, environment, user_id, session_id, service_tier, status, error, duration_ms, input_tokens, output_tokens,
  toDecimal128(e.cost_usd, 12) AS cost_usd,
  {currency:String} AS currency,
  multiIf(e.cost_usd = 0, toDecimal128(0, 12), rate = 0, NULL,
    toDecimal128(round(toDecimal256(e.cost_usd, 12) * rates[rate].2, 12), 12)) AS cost,
  cost_status, cost_reason, cost_detail, price_version
FROM usage_events_rows AS e FINAL
WHERE occurred_at >= span_from AND occurred_at < span_to
  AND (SELECT throwIf(span_from >= span_to, 'the span is empty: `from` must be before `to`')) = 0
  AND (SELECT throwIf(empty(rates), concat('there is no exchange rate of ''', {currency:String}, ''', and without one ',
    'nothing is known in it: publish an [[exchange_rate]] of it (costream prices publish), or ask for USD'))) = 0
SETTINGS do_not_merge_across_partitions_select_final = 1
COMMENT 'Single calls of a span, of those that are kept (raw_kept_since): calls_between(from, to, zone, currency).';

CREATE OR REPLACE VIEW reported_costs_between (
  provider LowCardinality(String) COMMENT 'who sells the call, such as openai',
  model LowCardinality(String) COMMENT 'the model or the product that was called',
  calls Int64 COMMENT 'calls with a reported cost, each request_id once',
  differing_calls Int64 COMMENT 'of these, calls whose cost is known and is another',
  unpriced_calls Int64 COMMENT 'of these, calls without a known price: not in the figures to the right',
  reported_cost_usd Nullable(Decimal(38, 12)) COMMENT 'USD as reported, of the calls with a known cost',
  cost_usd Nullable(Decimal(38, 12)) COMMENT 'USD of the same calls, exact',
  difference_usd Nullable(Decimal(38, 12)) COMMENT 'what was reported less what it cost',
  currency String COMMENT 'the currency that was asked for, such as KRW',
  reported_cost Nullable(Decimal(38, 12)) COMMENT 'reported_cost_usd in that currency, NULL where a day of it has no exchange rate',
  cost Nullable(Decimal(38, 12)) COMMENT 'cost_usd in that currency, NULL where a day of it has no exchange rate',
  difference Nullable(Decimal(38, 12)) COMMENT 'difference_usd in that currency, NULL where a day of it has no exchange rate'
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
    range(toUInt32(greatest(0, toDate(span_to, 'UTC') - first_day_of_span + 1)))) AS rate_of_day
SELECT
  provider, model,
  sum(r.calls) AS calls,
  sum(r.differing_calls) AS differing_calls,
  sum(r.unpriced_calls) AS unpriced_calls,
  if(calls > unpriced_calls, sum(r.reported_cost_usd), NULL) AS reported_cost_usd,
  if(calls > unpriced_calls, sum(r.cost_usd), NULL) AS cost_usd,
  reported_cost_usd - cost_usd AS difference_usd,
  {currency:String} AS currency,
  if(calls > unpriced_calls,
    if(countIf(r.rate = 0 AND r.reported_cost_usd != 0) > 0, NULL, toDecimal128(round(
    sum(toDecimal256(r.reported_cost_usd, 12) * if(r.rate = 0, toDecimal128(0, 12), rates[r.rate].2)), 12), 12)), NULL) AS reported_cost,
  if(calls > unpriced_calls,
    if(countIf(r.rate = 0 AND r.cost_usd != 0) > 0, NULL, toDecimal128(round(
    sum(toDecimal256(r.cost_usd, 12) * if(r.rate = 0, toDecimal128(0, 12), rates[r.rate].2)), 12), 12)), NULL) AS cost,
  reported_cost - cost AS difference
FROM (
  SELECT provider, model,
    rate_of_day[toUInt32(greatest(0, toDate(occurred_at, 'UTC') - first_day_of_span)) + 1] AS rate,
    toInt64(count()) AS calls,
    toInt64(countIf(e.cost_usd != e.reported_cost_usd)) AS differing_calls,
    toInt64(countIf(e.cost_usd IS NULL)) AS unpriced_calls,
    sumIf(toDecimal128(ifNull(e.reported_cost_usd, 0), 12), e.cost_usd IS NOT NULL) AS reported_cost_usd,
    sum(toDecimal128(ifNull(e.cost_usd, 0), 12)) AS cost_usd
  FROM usage_events_rows AS e FINAL
  WHERE occurred_at >= span_from AND occurred_at < span_to AND e.reported_cost_usd IS NOT NULL
    AND (SELECT throwIf(span_from < since, 'what was reported is told by single calls, and those from before raw_kept_since may have expired: ask for a later span')
      FROM raw_kept_since) = 0
  GROUP BY provider, model, rate
) AS r
WHERE (SELECT throwIf(span_from >= span_to, 'the span is empty: `from` must be before `to`')) = 0
  AND (SELECT throwIf(empty(rates), concat('there is no exchange rate of ''', {currency:String}, ''', and without one ',
    'nothing is known in it: publish an [[exchange_rate]] of it (costream prices publish), or ask for USD'))) = 0
GROUP BY provider, model
ORDER BY abs(difference_usd) DESC NULLS LAST, provider, model
SETTINGS do_not_merge_across_partitions_select_final = 1
COMMENT 'What calls of a span were reported to cost beside what they cost: reported_costs_between(from, to, zone, currency).';
