-- Made by `make schemas` from templates/60_months.sql.jinja: edit that.
-- Each month beside the one before it. What had calls in one of the two is there, so what ended is seen as well as what is
-- new. The month that runs is told as far as it has come, against the whole month before. Days are kept for a year: a month
-- that is no longer kept whole is not compared with.
CREATE OR REPLACE VIEW month_over_month (
  month Date COMMENT 'the first day of the month, UTC',
  calls Int64 COMMENT 'calls of the month, each request_id once (0 where the month before alone had some)',
  cost_usd Nullable(Decimal(38, 12)) COMMENT 'USD of the priced calls, exact, NULL where there are calls and none has a price',
  unpriced_calls Int64 COMMENT 'of the calls: those without a known price, which have no part in cost_usd',
  partial_calls Int64 COMMENT 'of the calls: those in cost_usd whose cost is not sure, it may be too high or too low',
  previous_calls Nullable(Int64) COMMENT 'calls of the month before, NULL where that is not kept whole or nothing was stored yet',
  previous_cost_usd Nullable(Decimal(38, 12)) COMMENT 'USD of the priced calls of the month before, NULL where they are not known',
  previous_unpriced_calls Nullable(Int64) COMMENT 'of previous_calls: those without a known price',
  difference_usd Nullable(Decimal(38, 12)) COMMENT 'cost_usd less previous_cost_usd, NULL where one of them is',
  change_percent Nullable(Decimal(38, 12)) COMMENT 'the difference in percent of previous_cost_usd, NULL where that is 0 or NULL'
)
SQL SECURITY DEFINER AS
WITH
  (SELECT toStartOfMonth(min(day)) FROM usage_daily) AS first_month,
  (SELECT toStartOfMonth(max(day)) FROM usage_daily) AS last_month,
  month > first_month AND addMonths(month, -1) > subtractYears(toDate(now('UTC')), 1) AS is_known_before
SELECT
  month,
  sum(u.calls) AS calls,
  if(calls > 0, sumOrNull(u.cost_usd), toDecimal128(0, 12)) AS cost_usd,
  sum(u.unpriced_calls) AS unpriced_calls,
  sum(u.partial_calls) AS partial_calls,
  if(is_known_before, sum(u.calls_before), NULL) AS previous_calls,
  multiIf(NOT is_known_before, NULL, previous_calls > 0, sumOrNull(u.cost_before_usd), toDecimal128(0, 12))
    AS previous_cost_usd,
  if(is_known_before, sum(u.unpriced_calls_before), NULL) AS previous_unpriced_calls,
  cost_usd - previous_cost_usd AS difference_usd,
  difference_usd * 100 / nullIf(previous_cost_usd, 0) AS change_percent
FROM (
  SELECT toStartOfMonth(day) AS month, calls, unpriced_calls, partial_calls, cost_usd,
    toInt64(0) AS calls_before, toInt64(0) AS unpriced_calls_before,
    CAST(NULL AS Nullable(Decimal(38, 12))) AS cost_before_usd
  FROM usage_daily
  UNION ALL
  SELECT addMonths(toStartOfMonth(day), 1) AS month, 0, 0, 0, NULL, calls, unpriced_calls, cost_usd
  FROM usage_daily
) AS u
WHERE month <= last_month
GROUP BY month
ORDER BY month DESC, abs(difference_usd) DESC NULLS LAST
COMMENT 'The cost of each month (UTC) beside that of the month before.';

CREATE OR REPLACE VIEW month_over_month_by_feature (
  month Date COMMENT 'the first day of the month, UTC',
  feature LowCardinality(String) COMMENT 'the feature of the product that made the call',
  calls Int64 COMMENT 'calls of the month, each request_id once (0 where the month before alone had some)',
  cost_usd Nullable(Decimal(38, 12)) COMMENT 'USD of the priced calls, exact, NULL where there are calls and none has a price',
  unpriced_calls Int64 COMMENT 'of the calls: those without a known price, which have no part in cost_usd',
  partial_calls Int64 COMMENT 'of the calls: those in cost_usd whose cost is not sure, it may be too high or too low',
  previous_calls Nullable(Int64) COMMENT 'calls of the month before, NULL where that is not kept whole or nothing was stored yet',
  previous_cost_usd Nullable(Decimal(38, 12)) COMMENT 'USD of the priced calls of the month before, NULL where they are not known',
  previous_unpriced_calls Nullable(Int64) COMMENT 'of previous_calls: those without a known price',
  difference_usd Nullable(Decimal(38, 12)) COMMENT 'cost_usd less previous_cost_usd, NULL where one of them is',
  change_percent Nullable(Decimal(38, 12)) COMMENT 'the difference in percent of previous_cost_usd, NULL where that is 0 or NULL'
)
SQL SECURITY DEFINER AS
WITH
  (SELECT toStartOfMonth(min(day)) FROM usage_daily) AS first_month,
  (SELECT toStartOfMonth(max(day)) FROM usage_daily) AS last_month,
  month > first_month AND addMonths(month, -1) > subtractYears(toDate(now('UTC')), 1) AS is_known_before
SELECT
  month, feature,
  sum(u.calls) AS calls,
  if(calls > 0, sumOrNull(u.cost_usd), toDecimal128(0, 12)) AS cost_usd,
  sum(u.unpriced_calls) AS unpriced_calls,
  sum(u.partial_calls) AS partial_calls,
  if(is_known_before, sum(u.calls_before), NULL) AS previous_calls,
  multiIf(NOT is_known_before, NULL, previous_calls > 0, sumOrNull(u.cost_before_usd), toDecimal128(0, 12))
    AS previous_cost_usd,
  if(is_known_before, sum(u.unpriced_calls_before), NULL) AS previous_unpriced_calls,
  cost_usd - previous_cost_usd AS difference_usd,
  difference_usd * 100 / nullIf(previous_cost_usd, 0) AS change_percent
FROM (
  SELECT toStartOfMonth(day) AS month, feature, calls, unpriced_calls, partial_calls, cost_usd,
    toInt64(0) AS calls_before, toInt64(0) AS unpriced_calls_before,
    CAST(NULL AS Nullable(Decimal(38, 12))) AS cost_before_usd
  FROM usage_daily
  UNION ALL
  SELECT addMonths(toStartOfMonth(day), 1) AS month, feature, 0, 0, 0, NULL, calls, unpriced_calls, cost_usd
  FROM usage_daily
) AS u
WHERE month <= last_month
GROUP BY month, feature
ORDER BY month DESC, abs(difference_usd) DESC NULLS LAST, feature
COMMENT 'The cost of each month (UTC) and feature beside that of the month before.';

CREATE OR REPLACE VIEW month_over_month_by_model (
  month Date COMMENT 'the first day of the month, UTC',
  provider LowCardinality(String) COMMENT 'who sells the call, such as openai',
  model LowCardinality(String) COMMENT 'the model or the product that was called',
  calls Int64 COMMENT 'calls of the month, each request_id once (0 where the month before alone had some)',
  cost_usd Nullable(Decimal(38, 12)) COMMENT 'USD of the priced calls, exact, NULL where there are calls and none has a price',
  unpriced_calls Int64 COMMENT 'of the calls: those without a known price, which have no part in cost_usd',
  partial_calls Int64 COMMENT 'of the calls: those in cost_usd whose cost is not sure, it may be too high or too low',
  previous_calls Nullable(Int64) COMMENT 'calls of the month before, NULL where that is not kept whole or nothing was stored yet',
  previous_cost_usd Nullable(Decimal(38, 12)) COMMENT 'USD of the priced calls of the month before, NULL where they are not known',
  previous_unpriced_calls Nullable(Int64) COMMENT 'of previous_calls: those without a known price',
  difference_usd Nullable(Decimal(38, 12)) COMMENT 'cost_usd less previous_cost_usd, NULL where one of them is',
  change_percent Nullable(Decimal(38, 12)) COMMENT 'the difference in percent of previous_cost_usd, NULL where that is 0 or NULL'
)
SQL SECURITY DEFINER AS
WITH
  (SELECT toStartOfMonth(min(day)) FROM usage_daily) AS first_month,
  (SELECT toStartOfMonth(max(day)) FROM usage_daily) AS last_month,
  month > first_month AND addMonths(month, -1) > subtractYears(toDate(now('UTC')), 1) AS is_known_before
SELECT
  month, provider, model,
  sum(u.calls) AS calls,
  if(calls > 0, sumOrNull(u.cost_usd), toDecimal128(0, 12)) AS cost_usd,
  sum(u.unpriced_calls) AS unpriced_calls,
  sum(u.partial_calls) AS partial_calls,
  if(is_known_before, sum(u.calls_before), NULL) AS previous_calls,
  multiIf(NOT is_known_before, NULL, previous_calls > 0, sumOrNull(u.cost_before_usd), toDecimal128(0, 12))
    AS previous_cost_usd,
  if(is_known_before, sum(u.unpriced_calls_before), NULL) AS previous_unpriced_calls,
  cost_usd - previous_cost_usd AS difference_usd,
  difference_usd * 100 / nullIf(previous_cost_usd, 0) AS change_percent
FROM (
  SELECT toStartOfMonth(day) AS month, provider, model, calls, unpriced_calls, partial_calls, cost_usd,
    toInt64(0) AS calls_before, toInt64(0) AS unpriced_calls_before,
    CAST(NULL AS Nullable(Decimal(38, 12))) AS cost_before_usd
  FROM usage_daily
  UNION ALL
  SELECT addMonths(toStartOfMonth(day), 1) AS month, provider, model, 0, 0, 0, NULL, calls, unpriced_calls, cost_usd
  FROM usage_daily
) AS u
WHERE month <= last_month
GROUP BY month, provider, model
ORDER BY month DESC, abs(difference_usd) DESC NULLS LAST, provider, model
COMMENT 'The cost of each month (UTC) and model beside that of the month before.';
