-- Made by `make schemas` from templates/62_thresholds.sql.jinja: edit that.
-- Has more been spent than an amount? Exactly the amount is not more.
CREATE OR REPLACE VIEW check_cost_threshold (
  month Date COMMENT 'the first day of the month, UTC',
  calls Int64 COMMENT 'calls, each request_id once',
  cost_usd Nullable(Decimal(38, 12)) COMMENT 'USD of the priced calls, exact, NULL where no call has a price',
  unpriced_calls Int64 COMMENT 'of the calls: those without a known price, which have no part in cost_usd',
  partial_calls Int64 COMMENT 'of the calls: those in cost_usd whose cost is not sure, it may be too high or too low',
  threshold Decimal(38, 12) COMMENT 'the amount that was asked about',
  ratio Nullable(Decimal(38, 4)) COMMENT 'what was spent in proportion to it, cut and never rounded up',
  is_exceeded Nullable(UInt8) COMMENT '1 where more than it was spent, 0 where not, NULL where that is not known'
)
SQL SECURITY DEFINER AS
SELECT
  toStartOfMonth(toDate(now('UTC'))) AS month,
  sum(u.calls) AS calls,
  if(calls = 0, toDecimal128(0, 12), sumOrNull(u.cost_usd)) AS cost_usd,
  sum(u.unpriced_calls) AS unpriced_calls,
  sum(u.partial_calls) AS partial_calls,
  {threshold:Decimal(38, 12)} AS threshold,
  toDecimal128(trunc(toDecimal256(cost_usd, 24) / nullIf({threshold:Decimal(38, 12)}, 0), 4), 4) AS ratio,
  cost_usd > threshold AS is_exceeded
FROM usage_daily AS u
WHERE day >= toStartOfMonth(toDate(now('UTC')))
COMMENT 'Whether this month, UTC, has cost more USD than an amount: check_cost_threshold(threshold).';

CREATE OR REPLACE VIEW check_cost_threshold_between (
  calls Int64 COMMENT 'calls, each request_id once',
  cost_usd Nullable(Decimal(38, 12)) COMMENT 'USD of the priced calls, exact, NULL where no call has a price',
  currency String COMMENT 'the currency that was asked for, such as KRW',
  cost Nullable(Decimal(38, 12)) COMMENT 'cost_usd in that currency, NULL where a day of it has no exchange rate',
  unpriced_calls Int64 COMMENT 'of the calls: those without a known price, which have no part in cost_usd',
  partial_calls Int64 COMMENT 'of the calls: those in cost_usd whose cost is not sure, it may be too high or too low',
  threshold Decimal(38, 12) COMMENT 'the amount that was asked about',
  ratio Nullable(Decimal(38, 4)) COMMENT 'what was spent in proportion to it, cut and never rounded up',
  is_exceeded Nullable(UInt8) COMMENT '1 where more than it was spent, 0 where not, NULL where that is not known'
)
SQL SECURITY DEFINER AS
SELECT
  sum(u.calls) AS calls,
  if(calls = 0, toDecimal128(0, 12), sumOrNull(u.cost_usd)) AS cost_usd,
  {currency:String} AS currency,
  if(calls = 0, toDecimal128(0, 12), if(countIf(u.cost_usd IS NOT NULL AND u.cost IS NULL) = 0, sum(u.cost), NULL)) AS cost,
  sum(u.unpriced_calls) AS unpriced_calls,
  sum(u.partial_calls) AS partial_calls,
  {threshold:Decimal(38, 12)} AS threshold,
  toDecimal128(trunc(toDecimal256(cost, 24) / nullIf({threshold:Decimal(38, 12)}, 0), 4), 4) AS ratio,
  cost > threshold AS is_exceeded
FROM usage_between(from = {from:String}, to = {to:String}, zone = {zone:String}, currency = {currency:String}) AS u
COMMENT 'Whether a span has cost more than an amount: check_cost_threshold_between(threshold, from, to, zone, currency).';
