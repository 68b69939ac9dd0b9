-- Made by `make schemas` from templates/52_system.sql.jinja: edit that.
-- Everything together. Without one call the cost is known: it is 0.
CREATE OR REPLACE VIEW system_cost_summary_between (
  calls Int64 COMMENT 'calls, each request_id once',
  errors Int64 COMMENT 'of the calls: those that failed',
  failure_rate Nullable(Decimal(18, 6)) COMMENT 'errors in proportion to calls, from 0 to 1',
  input_tokens Int64 COMMENT 'tokens sent, cached ones included',
  output_tokens Int64 COMMENT 'tokens received, reasoning included',
  cost_usd Nullable(Decimal(38, 12)) COMMENT 'USD of the priced calls, exact, NULL where no call has a price',
  avg_cost_usd Nullable(Decimal(38, 12)) COMMENT 'USD of a priced call on average',
  currency String COMMENT 'the currency that was asked for, such as KRW',
  cost Nullable(Decimal(38, 12)) COMMENT 'cost_usd in that currency, NULL where a day of it has no exchange rate',
  avg_cost Nullable(Decimal(38, 12)) COMMENT 'the same of a priced call on average',
  unpriced_calls Int64 COMMENT 'of the calls: those without a known price, which have no part in cost_usd',
  partial_calls Int64 COMMENT 'of the calls: those in cost_usd whose cost is not sure, it may be too high or too low',
  unpriced_tokens Nullable(Int64) COMMENT 'input and output tokens of the unpriced calls, NULL where they are not known',
  partial_tokens Nullable(Int64) COMMENT 'input and output tokens of the partial calls, NULL where they are not known'
)
SQL SECURITY DEFINER AS
SELECT
  toInt64(sum(u.calls)) AS calls,
  toInt64(sum(u.errors)) AS errors,
  toDecimal64(errors, 6) / nullIf(calls, 0) AS failure_rate,
  toInt64(sum(u.input_tokens)) AS input_tokens,
  toInt64(sum(u.output_tokens)) AS output_tokens,
  if(calls = 0, toDecimal128(0, 12), sum(u.cost_usd)) AS cost_usd,
  cost_usd / nullIf(calls - unpriced_calls, 0) AS avg_cost_usd,
  {currency:String} AS currency,
  if(calls = 0, toDecimal128(0, 12), if(countIf(u.cost_usd IS NOT NULL AND u.cost IS NULL) = 0, sum(u.cost), NULL)) AS cost,
  cost / nullIf(calls - unpriced_calls, 0) AS avg_cost,
  toInt64(sum(u.unpriced_calls)) AS unpriced_calls,
  toInt64(sum(u.partial_calls)) AS partial_calls,
  if(count() = count(u.unpriced_tokens), sum(u.unpriced_tokens), NULL) AS unpriced_tokens,
  if(count() = count(u.partial_tokens), sum(u.partial_tokens), NULL) AS partial_tokens
FROM usage_between(from = {from:String}, to = {to:String}, zone = {zone:String}, currency = {currency:String}) AS u
COMMENT 'All calls of a span in one row: system_cost_summary_between(from, to, zone, currency).';
