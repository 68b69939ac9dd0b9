-- Made by `make schemas` from templates/65_margin.sql.jinja: edit that.
-- Margin. A feature earns what its credits are sold for, for each call that did not fail; without credits, what its events
-- report.
CREATE OR REPLACE VIEW feature_margin (
  feature LowCardinality(String) COMMENT 'the feature of the product that made the call',
  calls Int64 COMMENT 'calls, each request_id once',
  errors Int64 COMMENT 'of the calls: those that failed',
  revenue_usd Nullable(Decimal(38, 12)) COMMENT 'USD that its credits are sold for, on days without credits what its events report, NULL where a credit has no known price',
  reported_revenue_usd Decimal(38, 12) COMMENT 'USD of revenue that the events report, on days with credits too',
  cost_usd Nullable(Decimal(38, 12)) COMMENT 'USD of the priced calls, exact, NULL where no call has a price',
  margin_usd Nullable(Decimal(38, 12)) COMMENT 'revenue_usd less cost_usd, NULL where one of them is',
  margin_percent Nullable(Decimal(38, 12)) COMMENT 'margin_usd in percent of revenue_usd, NULL where that is 0 or NULL',
  is_loss Nullable(UInt8) COMMENT '1 where margin_percent is below 0, NULL where it is NULL',
  unpriced_calls Int64 COMMENT 'of the calls: those without a known price, which have no part in cost_usd: the margin is lower than it says',
  partial_calls Int64 COMMENT 'of the calls: those in cost_usd whose cost is not sure, it may be too high or too low'
)
SQL SECURITY DEFINER AS
WITH
  (SELECT arraySort(groupArray((first_day, price, per_usd))) FROM credit_prices) AS prices,
  toDate(now('UTC')) - 29 AS first_day
SELECT
  feature,
  sum(d.calls) AS calls,
  sum(d.errors) AS errors,
  if(countIf(d.revenue_usd IS NULL) > 0, NULL, toDecimal128(round(sum(d.revenue_usd), 12), 12)) AS revenue_usd,
  sum(d.reported_revenue_usd) AS reported_revenue_usd,
  if(calls > unpriced_calls, sum(d.cost_usd), NULL) AS cost_usd,
  revenue_usd - cost_usd AS margin_usd,
  margin_usd * 100 / nullIf(revenue_usd, 0) AS margin_percent,
  margin_percent < 0 AS is_loss,
  sum(d.unpriced_calls) AS unpriced_calls,
  sum(d.partial_calls) AS partial_calls
FROM (
  SELECT c.*,
    arrayLast(p -> p.1 <= c.utc_day, prices) AS price,
    multiIf(
      f.credits IS NULL, toDecimal256(c.reported_revenue_usd, 24),
      f.credits = 0 OR c.calls = c.errors, toDecimal256(0, 24),
      toDecimal256(c.calls - c.errors, 0) * f.credits * price.2 / price.3) AS revenue_usd
  FROM (
    SELECT utc_day, feature,
      sum(r.calls) AS calls,
      sum(r.errors) AS errors,
      sum(r.unpriced_calls) AS unpriced_calls,
      sum(r.partial_calls) AS partial_calls,
      sum(r.cost_usd) AS cost_usd,
      sum(r.revenue_usd) AS reported_revenue_usd
    FROM (
      SELECT day AS utc_day, feature, calls, errors, unpriced_calls, partial_calls, cost_usd, revenue_usd
      FROM usage_daily_rows FINAL
      WHERE day >= first_day
    ) AS r
    GROUP BY utc_day, feature
  ) AS c
  ASOF LEFT JOIN feature_credits AS f ON f.feature = c.feature AND c.utc_day >= f.first_day
) AS d
GROUP BY feature
ORDER BY margin_usd NULLS LAST, feature
SETTINGS do_not_merge_across_partitions_select_final = 1
COMMENT 'Revenue, cost and margin by feature, the worst first: today and the 29 days before it, UTC.';

CREATE OR REPLACE VIEW feature_margin_between (
  feature LowCardinality(String) COMMENT 'the feature of the product that made the call',
  calls Int64 COMMENT 'calls, each request_id once',
  errors Int64 COMMENT 'of the calls: those that failed',
  revenue_usd Nullable(Decimal(38, 12)) COMMENT 'USD that its credits are sold for, on days without credits what its events report, NULL where a credit has no known price',
  reported_revenue_usd Decimal(38, 12) COMMENT 'USD of revenue that the events report, on days with credits too',
  cost_usd Nullable(Decimal(38, 12)) COMMENT 'USD of the priced calls, exact, NULL where no call has a price',
  margin_usd Nullable(Decimal(38, 12)) COMMENT 'revenue_usd less cost_usd, NULL where one of them is',
  margin_percent Nullable(Decimal(38, 12)) COMMENT 'margin_usd in percent of revenue_usd, NULL where that is 0 or NULL',
  is_loss Nullable(UInt8) COMMENT '1 where margin_percent is below 0, NULL where it is NULL',
  currency String COMMENT 'the currency that was asked for, such as KRW',
  revenue Nullable(Decimal(38, 12)) COMMENT 'revenue_usd in that currency, NULL where a day of it has no exchange rate',
  cost Nullable(Decimal(38, 12)) COMMENT 'cost_usd in that currency, NULL where a day of it has no exchange rate',
  margin Nullable(Decimal(38, 12)) COMMENT 'revenue less cost, NULL where one of them is',
  unpriced_calls Int64 COMMENT 'of the calls: those without a known price, which have no part in cost_usd: the margin is lower than it says',
  partial_calls Int64 COMMENT 'of the calls: those in cost_usd whose cost is not sure, it may be too high or too low'
)
SQL SECURITY DEFINER AS
WITH
  (SELECT arraySort(groupArray((first_day, price, per_usd))) FROM credit_prices) AS prices,
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
  feature,
  sum(d.calls) AS calls,
  sum(d.errors) AS errors,
  if(countIf(d.revenue_usd IS NULL) > 0, NULL, toDecimal128(round(sum(d.revenue_usd), 12), 12)) AS revenue_usd,
  sum(d.reported_revenue_usd) AS reported_revenue_usd,
  if(calls > unpriced_calls, sum(d.cost_usd), NULL) AS cost_usd,
  revenue_usd - cost_usd AS margin_usd,
  margin_usd * 100 / nullIf(revenue_usd, 0) AS margin_percent,
  margin_percent < 0 AS is_loss,
  {currency:String} AS currency,
  if(countIf(d.revenue_usd IS NULL OR (d.rate = 0 AND d.revenue_usd != 0)) > 0, NULL, toDecimal128(round(
    sum(d.revenue_usd * if(d.rate = 0, toDecimal128(0, 12), rates[d.rate].2)), 12), 12)) AS revenue,
  if(calls > unpriced_calls,
    if(countIf(d.cost_usd IS NULL OR (d.rate = 0 AND d.cost_usd != 0)) > 0, NULL, toDecimal128(round(
    sum(d.cost_usd * if(d.rate = 0, toDecimal128(0, 12), rates[d.rate].2)), 12), 12)), NULL) AS cost,
  revenue - cost AS margin,
  sum(d.unpriced_calls) AS unpriced_calls,
  sum(d.partial_calls) AS partial_calls
FROM (
  SELECT c.*, rate_of_day[toUInt32(greatest(0, c.utc_day - first_day_of_span)) + 1] AS rate,
    arrayLast(p -> p.1 <= c.utc_day, prices) AS price,
    multiIf(
      f.credits IS NULL, toDecimal256(c.reported_revenue_usd, 24),
      f.credits = 0 OR c.calls = c.errors, toDecimal256(0, 24),
      toDecimal256(c.calls - c.errors, 0) * f.credits * price.2 / price.3) AS revenue_usd
  FROM (
    SELECT utc_day, feature,
      sum(r.calls) AS calls,
      sum(r.errors) AS errors,
      sum(r.unpriced_calls) AS unpriced_calls,
      sum(r.partial_calls) AS partial_calls,
      sum(r.cost_usd) AS cost_usd,
      sum(r.revenue_usd) AS reported_revenue_usd
    FROM (
      SELECT day AS utc_day, feature, calls, errors, unpriced_calls, partial_calls, cost_usd, revenue_usd
      FROM usage_daily_rows FINAL
      WHERE day >= days_from AND day < days_to
      UNION ALL
      SELECT toDate(hour, 'UTC') AS utc_day, feature, calls, errors, unpriced_calls, partial_calls, cost_usd, revenue_usd
      FROM usage_hourly_rows FINAL
      WHERE hour >= hours_from AND hour < hours_to AND (days_from >= days_to OR hour < days_from OR hour >= days_to)
      UNION ALL
      SELECT toDate(occurred_at, 'UTC') AS utc_day, feature,
        toInt64(1) AS calls,
        toInt64(e.status = 'error') AS errors,
        toInt64(e.cost_status = 'unpriced') AS unpriced_calls,
        toInt64(e.cost_status = 'partial') AS partial_calls,
        toDecimal128(ifNull(e.cost_usd, 0), 12) AS cost_usd,
        toDecimal128(ifNull(e.revenue_usd, 0), 12) AS revenue_usd
      FROM usage_events_rows AS e FINAL
      WHERE toStartOfHour(occurred_at) IN (
          SELECT arrayJoin(parts) FROM raw_kept_since
          WHERE throwIf(since > arrayMin(arrayPushBack(parts, since)), concat(
          'this span needs parts of hours from before raw_kept_since, whose single calls may have expired: ',
          'ask for whole hours of UTC, or for a later span')) = 0)
        AND occurred_at >= span_from AND occurred_at < span_to
    ) AS r
    GROUP BY utc_day, feature
  ) AS c
  ASOF LEFT JOIN feature_credits AS f ON f.feature = c.feature AND c.utc_day >= f.first_day
) AS d
WHERE (SELECT throwIf(span_from >= span_to, 'the span is empty: `from` must be before `to`')) = 0
  AND (SELECT throwIf(empty(rates), concat('there is no exchange rate of ''', {currency:String}, ''', and without one ',
    'nothing is known in it: publish an [[exchange_rate]] of it (costream prices publish), or ask for USD'))) = 0
GROUP BY feature
ORDER BY margin_usd NULLS LAST, feature
SETTINGS do_not_merge_across_partitions_select_final = 1
COMMENT 'Revenue, cost and margin by feature, the worst first: feature_margin_between(from, to, zone, currency).';
