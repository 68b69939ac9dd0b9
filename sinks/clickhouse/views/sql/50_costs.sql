-- Made by `make schemas` from templates/50_costs.sql.jinja: edit that.
-- Summaries. Beside every cost stands what it leaves out: unpriced_calls have no known price and no part in the cost,
-- partial_calls are in it with only what could be priced. Where not one call has a price, the cost is NULL: unknown is
-- never 0. Averages divide by the priced calls alone.

CREATE OR REPLACE VIEW feature_cost_summary (
  feature LowCardinality(String) COMMENT 'the feature of the product that made the call',
  calls Int64 COMMENT 'calls, each request_id once',
  cost_usd Nullable(Decimal(38, 12)) COMMENT 'USD of the priced calls, exact, NULL where no call has a price',
  avg_cost_usd Nullable(Decimal(38, 12)) COMMENT 'USD of a priced call on average',
  unpriced_calls Int64 COMMENT 'of the calls: those without a known price, which have no part in cost_usd',
  partial_calls Int64 COMMENT 'of the calls: those in cost_usd whose cost is not sure, it may be too high or too low',
  unpriced_tokens Nullable(Int64) COMMENT 'input and output tokens of the unpriced calls, NULL where they are not known',
  partial_tokens Nullable(Int64) COMMENT 'input and output tokens of the partial calls, NULL where they are not known',
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
  if(count() = count(u.unpriced_tokens), sum(u.unpriced_tokens), NULL) AS unpriced_tokens,
  if(count() = count(u.partial_tokens), sum(u.partial_tokens), NULL) AS partial_tokens,
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
  currency String COMMENT 'the currency that was asked for, such as KRW',
  cost Nullable(Decimal(38, 12)) COMMENT 'cost_usd in that currency, NULL where a day of it has no exchange rate',
  avg_cost Nullable(Decimal(38, 12)) COMMENT 'the same of a priced call on average',
  unpriced_calls Int64 COMMENT 'of the calls: those without a known price, which have no part in cost_usd',
  partial_calls Int64 COMMENT 'of the calls: those in cost_usd whose cost is not sure, it may be too high or too low',
  unpriced_tokens Nullable(Int64) COMMENT 'input and output tokens of the unpriced calls, NULL where they are not known',
  partial_tokens Nullable(Int64) COMMENT 'input and output tokens of the partial calls, NULL where they are not known',
  cost_share Nullable(Decimal(38, 12)) COMMENT 'part of the cost of all rows, from 0 to 1'
)
SQL SECURITY DEFINER AS
SELECT
  feature,
  sum(u.calls) AS calls,
  sum(u.cost_usd) AS cost_usd,
  cost_usd / nullIf(calls - unpriced_calls, 0) AS avg_cost_usd,
  {currency:String} AS currency,
  if(countIf(u.cost_usd IS NOT NULL AND u.cost IS NULL) = 0, sum(u.cost), NULL) AS cost,
  cost / nullIf(calls - unpriced_calls, 0) AS avg_cost,
  sum(u.unpriced_calls) AS unpriced_calls,
  sum(u.partial_calls) AS partial_calls,
  if(count() = count(u.unpriced_tokens), sum(u.unpriced_tokens), NULL) AS unpriced_tokens,
  if(count() = count(u.partial_tokens), sum(u.partial_tokens), NULL) AS partial_tokens,
  cost_usd / nullIf(sum(cost_usd) OVER (), 0) AS cost_share
FROM usage_between(from = {from:String}, to = {to:String}, zone = {zone:String}, currency = {currency:String}) AS u
GROUP BY feature
ORDER BY cost_usd DESC, feature
COMMENT 'Cost by feature: feature_cost_summary_between(from, to, zone, currency).';

CREATE OR REPLACE VIEW provider_cost_summary (
  provider LowCardinality(String) COMMENT 'who sells the call, such as openai',
  calls Int64 COMMENT 'calls, each request_id once',
  cost_usd Nullable(Decimal(38, 12)) COMMENT 'USD of the priced calls, exact, NULL where no call has a price',
  avg_cost_usd Nullable(Decimal(38, 12)) COMMENT 'USD of a priced call on average',
  unpriced_calls Int64 COMMENT 'of the calls: those without a known price, which have no part in cost_usd',
  partial_calls Int64 COMMENT 'of the calls: those in cost_usd whose cost is not sure, it may be too high or too low',
  unpriced_tokens Nullable(Int64) COMMENT 'input and output tokens of the unpriced calls, NULL where they are not known',
  partial_tokens Nullable(Int64) COMMENT 'input and output tokens of the partial calls, NULL where they are not known',
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
  if(count() = count(u.unpriced_tokens), sum(u.unpriced_tokens), NULL) AS unpriced_tokens,
  if(count() = count(u.partial_tokens), sum(u.partial_tokens), NULL) AS partial_tokens,
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
  currency String COMMENT 'the currency that was asked for, such as KRW',
  cost Nullable(Decimal(38, 12)) COMMENT 'cost_usd in that currency, NULL where a day of it has no exchange rate',
  avg_cost Nullable(Decimal(38, 12)) COMMENT 'the same of a priced call on average',
  unpriced_calls Int64 COMMENT 'of the calls: those without a known price, which have no part in cost_usd',
  partial_calls Int64 COMMENT 'of the calls: those in cost_usd whose cost is not sure, it may be too high or too low',
  unpriced_tokens Nullable(Int64) COMMENT 'input and output tokens of the unpriced calls, NULL where they are not known',
  partial_tokens Nullable(Int64) COMMENT 'input and output tokens of the partial calls, NULL where they are not known',
  cost_share Nullable(Decimal(38, 12)) COMMENT 'part of the cost of all rows, from 0 to 1'
)
SQL SECURITY DEFINER AS
SELECT
  provider,
  sum(u.calls) AS calls,
  sum(u.cost_usd) AS cost_usd,
  cost_usd / nullIf(calls - unpriced_calls, 0) AS avg_cost_usd,
  {currency:String} AS currency,
  if(countIf(u.cost_usd IS NOT NULL AND u.cost IS NULL) = 0, sum(u.cost), NULL) AS cost,
  cost / nullIf(calls - unpriced_calls, 0) AS avg_cost,
  sum(u.unpriced_calls) AS unpriced_calls,
  sum(u.partial_calls) AS partial_calls,
  if(count() = count(u.unpriced_tokens), sum(u.unpriced_tokens), NULL) AS unpriced_tokens,
  if(count() = count(u.partial_tokens), sum(u.partial_tokens), NULL) AS partial_tokens,
  cost_usd / nullIf(sum(cost_usd) OVER (), 0) AS cost_share
FROM usage_between(from = {from:String}, to = {to:String}, zone = {zone:String}, currency = {currency:String}) AS u
GROUP BY provider
ORDER BY cost_usd DESC, provider
COMMENT 'Cost by provider: provider_cost_summary_between(from, to, zone, currency).';

CREATE OR REPLACE VIEW task_type_cost_summary (
  task_type LowCardinality(String) COMMENT 'the kind of task within the feature',
  calls Int64 COMMENT 'calls, each request_id once',
  cost_usd Nullable(Decimal(38, 12)) COMMENT 'USD of the priced calls, exact, NULL where no call has a price',
  avg_cost_usd Nullable(Decimal(38, 12)) COMMENT 'USD of a priced call on average',
  unpriced_calls Int64 COMMENT 'of the calls: those without a known price, which have no part in cost_usd',
  partial_calls Int64 COMMENT 'of the calls: those in cost_usd whose cost is not sure, it may be too high or too low',
  unpriced_tokens Nullable(Int64) COMMENT 'input and output tokens of the unpriced calls, NULL where they are not known',
  partial_tokens Nullable(Int64) COMMENT 'input and output tokens of the partial calls, NULL where they are not known',
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
  if(count() = count(u.unpriced_tokens), sum(u.unpriced_tokens), NULL) AS unpriced_tokens,
  if(count() = count(u.partial_tokens), sum(u.partial_tokens), NULL) AS partial_tokens,
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
  currency String COMMENT 'the currency that was asked for, such as KRW',
  cost Nullable(Decimal(38, 12)) COMMENT 'cost_usd in that currency, NULL where a day of it has no exchange rate',
  avg_cost Nullable(Decimal(38, 12)) COMMENT 'the same of a priced call on average',
  unpriced_calls Int64 COMMENT 'of the calls: those without a known price, which have no part in cost_usd',
  partial_calls Int64 COMMENT 'of the calls: those in cost_usd whose cost is not sure, it may be too high or too low',
  unpriced_tokens Nullable(Int64) COMMENT 'input and output tokens of the unpriced calls, NULL where they are not known',
  partial_tokens Nullable(Int64) COMMENT 'input and output tokens of the partial calls, NULL where they are not known',
  cost_share Nullable(Decimal(38, 12)) COMMENT 'part of the cost of all rows, from 0 to 1'
)
SQL SECURITY DEFINER AS
SELECT
  task_type,
  sum(u.calls) AS calls,
  sum(u.cost_usd) AS cost_usd,
  cost_usd / nullIf(calls - unpriced_calls, 0) AS avg_cost_usd,
  {currency:String} AS currency,
  if(countIf(u.cost_usd IS NOT NULL AND u.cost IS NULL) = 0, sum(u.cost), NULL) AS cost,
  cost / nullIf(calls - unpriced_calls, 0) AS avg_cost,
  sum(u.unpriced_calls) AS unpriced_calls,
  sum(u.partial_calls) AS partial_calls,
  if(count() = count(u.unpriced_tokens), sum(u.unpriced_tokens), NULL) AS unpriced_tokens,
  if(count() = count(u.partial_tokens), sum(u.partial_tokens), NULL) AS partial_tokens,
  cost_usd / nullIf(sum(cost_usd) OVER (), 0) AS cost_share
FROM usage_between(from = {from:String}, to = {to:String}, zone = {zone:String}, currency = {currency:String}) AS u
GROUP BY task_type
ORDER BY cost_usd DESC, task_type
COMMENT 'Cost by task_type: task_type_cost_summary_between(from, to, zone, currency).';

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
  partial_calls Int64 COMMENT 'of the calls: those in cost_usd whose cost is not sure, it may be too high or too low',
  unpriced_tokens Nullable(Int64) COMMENT 'input and output tokens of the unpriced calls, NULL where they are not known',
  partial_tokens Nullable(Int64) COMMENT 'input and output tokens of the partial calls, NULL where they are not known'
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
  sum(u.partial_calls) AS partial_calls,
  if(count() = count(u.unpriced_tokens), sum(u.unpriced_tokens), NULL) AS unpriced_tokens,
  if(count() = count(u.partial_tokens), sum(u.partial_tokens), NULL) AS partial_tokens
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
  currency String COMMENT 'the currency that was asked for, such as KRW',
  avg_cost Nullable(Decimal(38, 12)) COMMENT 'the same of a priced call on average',
  cost Nullable(Decimal(38, 12)) COMMENT 'cost_usd in that currency, NULL where a day of it has no exchange rate',
  unpriced_calls Int64 COMMENT 'of the calls: those without a known price, which have no part in cost_usd',
  partial_calls Int64 COMMENT 'of the calls: those in cost_usd whose cost is not sure, it may be too high or too low',
  unpriced_tokens Nullable(Int64) COMMENT 'input and output tokens of the unpriced calls, NULL where they are not known',
  partial_tokens Nullable(Int64) COMMENT 'input and output tokens of the partial calls, NULL where they are not known'
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
  {currency:String} AS currency,
  cost / nullIf(calls - unpriced_calls, 0) AS avg_cost,
  if(countIf(u.cost_usd IS NOT NULL AND u.cost IS NULL) = 0, sum(u.cost), NULL) AS cost,
  sum(u.unpriced_calls) AS unpriced_calls,
  sum(u.partial_calls) AS partial_calls,
  if(count() = count(u.unpriced_tokens), sum(u.unpriced_tokens), NULL) AS unpriced_tokens,
  if(count() = count(u.partial_tokens), sum(u.partial_tokens), NULL) AS partial_tokens
FROM usage_between(from = {from:String}, to = {to:String}, zone = {zone:String}, currency = {currency:String}) AS u
GROUP BY provider, model
ORDER BY calls DESC, provider, model
COMMENT 'Models side by side: model_performance_comparison_between(from, to, zone, currency).';

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
  partial_calls Int64 COMMENT 'of the calls: those in cost_usd whose cost is not sure, it may be too high or too low',
  unpriced_tokens Nullable(Int64) COMMENT 'input and output tokens of the unpriced calls, NULL where they are not known',
  partial_tokens Nullable(Int64) COMMENT 'input and output tokens of the partial calls, NULL where they are not known'
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
  sum(u.partial_calls) AS partial_calls,
  if(count() = count(u.unpriced_tokens), sum(u.unpriced_tokens), NULL) AS unpriced_tokens,
  if(count() = count(u.partial_tokens), sum(u.partial_tokens), NULL) AS partial_tokens
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
  currency String COMMENT 'the currency that was asked for, such as KRW',
  avg_cost Nullable(Decimal(38, 12)) COMMENT 'the same of a priced call on average',
  cost Nullable(Decimal(38, 12)) COMMENT 'cost_usd in that currency, NULL where a day of it has no exchange rate',
  unpriced_calls Int64 COMMENT 'of the calls: those without a known price, which have no part in cost_usd',
  partial_calls Int64 COMMENT 'of the calls: those in cost_usd whose cost is not sure, it may be too high or too low',
  unpriced_tokens Nullable(Int64) COMMENT 'input and output tokens of the unpriced calls, NULL where they are not known',
  partial_tokens Nullable(Int64) COMMENT 'input and output tokens of the partial calls, NULL where they are not known'
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
  {currency:String} AS currency,
  cost / nullIf(calls - unpriced_calls, 0) AS avg_cost,
  if(countIf(u.cost_usd IS NOT NULL AND u.cost IS NULL) = 0, sum(u.cost), NULL) AS cost,
  sum(u.unpriced_calls) AS unpriced_calls,
  sum(u.partial_calls) AS partial_calls,
  if(count() = count(u.unpriced_tokens), sum(u.unpriced_tokens), NULL) AS unpriced_tokens,
  if(count() = count(u.partial_tokens), sum(u.partial_tokens), NULL) AS partial_tokens
FROM usage_between(from = {from:String}, to = {to:String}, zone = {zone:String}, currency = {currency:String}) AS u
GROUP BY feature
ORDER BY calls DESC, feature
COMMENT 'How features do: feature_performance_summary_between(from, to, zone, currency).';

CREATE OR REPLACE VIEW realtime_cost_monitor (
  hour DateTime('UTC') COMMENT 'the hour, by its first moment, UTC',
  calls Int64 COMMENT 'calls, each request_id once',
  errors Int64 COMMENT 'of the calls: those that failed',
  input_tokens Int64 COMMENT 'tokens sent, cached ones included',
  output_tokens Int64 COMMENT 'tokens received, reasoning included',
  cost_usd Nullable(Decimal(38, 12)) COMMENT 'USD of the priced calls, exact, NULL where no call has a price',
  unpriced_calls Int64 COMMENT 'of the calls: those without a known price, which have no part in cost_usd',
  partial_calls Int64 COMMENT 'of the calls: those in cost_usd whose cost is not sure, it may be too high or too low',
  unpriced_tokens Nullable(Int64) COMMENT 'input and output tokens of the unpriced calls, NULL where they are not known',
  partial_tokens Nullable(Int64) COMMENT 'input and output tokens of the partial calls, NULL where they are not known',
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
  if(count() = count(u.unpriced_tokens), sum(u.unpriced_tokens), NULL) AS unpriced_tokens,
  if(count() = count(u.partial_tokens), sum(u.partial_tokens), NULL) AS partial_tokens,
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
  partial_calls Int64 COMMENT 'of the calls: those in cost_usd whose cost is not sure, it may be too high or too low',
  unpriced_tokens Nullable(Int64) COMMENT 'input and output tokens of the unpriced calls, NULL where they are not known',
  partial_tokens Nullable(Int64) COMMENT 'input and output tokens of the partial calls, NULL where they are not known'
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
  if(count() = count(u.unpriced_tokens), sum(u.unpriced_tokens), NULL) AS unpriced_tokens,
  if(count() = count(u.partial_tokens), sum(u.partial_tokens), NULL) AS partial_tokens
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
  partial_calls Int64 COMMENT 'of the calls: those in cost_usd whose cost is not sure, it may be too high or too low',
  unpriced_tokens Nullable(Int64) COMMENT 'input and output tokens of the unpriced calls, NULL where they are not known',
  partial_tokens Nullable(Int64) COMMENT 'input and output tokens of the partial calls, NULL where they are not known'
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
  sum(u.partial_calls) AS partial_calls,
  if(count() = count(u.unpriced_tokens), sum(u.unpriced_tokens), NULL) AS unpriced_tokens,
  if(count() = count(u.partial_tokens), sum(u.partial_tokens), NULL) AS partial_tokens
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
  partial_calls Int64 COMMENT 'of the calls: those in cost_usd whose cost is not sure, it may be too high or too low',
  unpriced_tokens Nullable(Int64) COMMENT 'input and output tokens of the unpriced calls, NULL where they are not known',
  partial_tokens Nullable(Int64) COMMENT 'input and output tokens of the partial calls, NULL where they are not known'
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
  sum(u.partial_calls) AS partial_calls,
  if(count() = count(u.unpriced_tokens), sum(u.unpriced_tokens), NULL) AS unpriced_tokens,
  if(count() = count(u.partial_tokens), sum(u.partial_tokens), NULL) AS partial_tokens
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
  currency String COMMENT 'the currency that was asked for, such as KRW',
  cost Nullable(Decimal(38, 12)) COMMENT 'cost_usd in that currency, NULL where a day of it has no exchange rate',
  unpriced_calls Int64 COMMENT 'of the calls: those without a known price, which have no part in cost_usd',
  partial_calls Int64 COMMENT 'of the calls: those in cost_usd whose cost is not sure, it may be too high or too low',
  unpriced_tokens Nullable(Int64) COMMENT 'input and output tokens of the unpriced calls, NULL where they are not known',
  partial_tokens Nullable(Int64) COMMENT 'input and output tokens of the partial calls, NULL where they are not known'
)
SQL SECURITY DEFINER AS
SELECT
  day,
  sum(u.calls) AS calls,
  sum(u.errors) AS errors,
  sum(u.input_tokens) AS input_tokens,
  sum(u.output_tokens) AS output_tokens,
  sum(u.cost_usd) AS cost_usd,
  {currency:String} AS currency,
  if(countIf(u.cost_usd IS NOT NULL AND u.cost IS NULL) = 0, sum(u.cost), NULL) AS cost,
  sum(u.unpriced_calls) AS unpriced_calls,
  sum(u.partial_calls) AS partial_calls,
  if(count() = count(u.unpriced_tokens), sum(u.unpriced_tokens), NULL) AS unpriced_tokens,
  if(count() = count(u.partial_tokens), sum(u.partial_tokens), NULL) AS partial_tokens
FROM usage_daily_between(from = {from:String}, to = {to:String}, zone = {zone:String}, currency = {currency:String}) AS u
GROUP BY day
ORDER BY day
COMMENT 'Cost by day in the zone: daily_cost_between(from, to, zone, currency).';

CREATE OR REPLACE VIEW daily_cost_by_model (
  day Date COMMENT 'the day, UTC',
  model LowCardinality(String) COMMENT 'the model or the product that was called',
  calls Int64 COMMENT 'calls, each request_id once',
  errors Int64 COMMENT 'of the calls: those that failed',
  input_tokens Int64 COMMENT 'tokens sent, cached ones included',
  output_tokens Int64 COMMENT 'tokens received, reasoning included',
  cost_usd Nullable(Decimal(38, 12)) COMMENT 'USD of the priced calls, exact, NULL where no call has a price',
  unpriced_calls Int64 COMMENT 'of the calls: those without a known price, which have no part in cost_usd',
  partial_calls Int64 COMMENT 'of the calls: those in cost_usd whose cost is not sure, it may be too high or too low',
  unpriced_tokens Nullable(Int64) COMMENT 'input and output tokens of the unpriced calls, NULL where they are not known',
  partial_tokens Nullable(Int64) COMMENT 'input and output tokens of the partial calls, NULL where they are not known'
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
  sum(u.partial_calls) AS partial_calls,
  if(count() = count(u.unpriced_tokens), sum(u.unpriced_tokens), NULL) AS unpriced_tokens,
  if(count() = count(u.partial_tokens), sum(u.partial_tokens), NULL) AS partial_tokens
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
  currency String COMMENT 'the currency that was asked for, such as KRW',
  cost Nullable(Decimal(38, 12)) COMMENT 'cost_usd in that currency, NULL where a day of it has no exchange rate',
  unpriced_calls Int64 COMMENT 'of the calls: those without a known price, which have no part in cost_usd',
  partial_calls Int64 COMMENT 'of the calls: those in cost_usd whose cost is not sure, it may be too high or too low',
  unpriced_tokens Nullable(Int64) COMMENT 'input and output tokens of the unpriced calls, NULL where they are not known',
  partial_tokens Nullable(Int64) COMMENT 'input and output tokens of the partial calls, NULL where they are not known'
)
SQL SECURITY DEFINER AS
SELECT
  day, model,
  sum(u.calls) AS calls,
  sum(u.errors) AS errors,
  sum(u.input_tokens) AS input_tokens,
  sum(u.output_tokens) AS output_tokens,
  sum(u.cost_usd) AS cost_usd,
  {currency:String} AS currency,
  if(countIf(u.cost_usd IS NOT NULL AND u.cost IS NULL) = 0, sum(u.cost), NULL) AS cost,
  sum(u.unpriced_calls) AS unpriced_calls,
  sum(u.partial_calls) AS partial_calls,
  if(count() = count(u.unpriced_tokens), sum(u.unpriced_tokens), NULL) AS unpriced_tokens,
  if(count() = count(u.partial_tokens), sum(u.partial_tokens), NULL) AS partial_tokens
FROM usage_daily_between(from = {from:String}, to = {to:String}, zone = {zone:String}, currency = {currency:String}) AS u
GROUP BY day, model
ORDER BY day, model
COMMENT 'Cost by day in the zone and model: daily_cost_by_model_between(from, to, zone, currency).';

CREATE OR REPLACE VIEW daily_cost_by_provider (
  day Date COMMENT 'the day, UTC',
  provider LowCardinality(String) COMMENT 'who sells the call, such as openai',
  calls Int64 COMMENT 'calls, each request_id once',
  errors Int64 COMMENT 'of the calls: those that failed',
  input_tokens Int64 COMMENT 'tokens sent, cached ones included',
  output_tokens Int64 COMMENT 'tokens received, reasoning included',
  cost_usd Nullable(Decimal(38, 12)) COMMENT 'USD of the priced calls, exact, NULL where no call has a price',
  unpriced_calls Int64 COMMENT 'of the calls: those without a known price, which have no part in cost_usd',
  partial_calls Int64 COMMENT 'of the calls: those in cost_usd whose cost is not sure, it may be too high or too low',
  unpriced_tokens Nullable(Int64) COMMENT 'input and output tokens of the unpriced calls, NULL where they are not known',
  partial_tokens Nullable(Int64) COMMENT 'input and output tokens of the partial calls, NULL where they are not known'
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
  sum(u.partial_calls) AS partial_calls,
  if(count() = count(u.unpriced_tokens), sum(u.unpriced_tokens), NULL) AS unpriced_tokens,
  if(count() = count(u.partial_tokens), sum(u.partial_tokens), NULL) AS partial_tokens
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
  currency String COMMENT 'the currency that was asked for, such as KRW',
  cost Nullable(Decimal(38, 12)) COMMENT 'cost_usd in that currency, NULL where a day of it has no exchange rate',
  unpriced_calls Int64 COMMENT 'of the calls: those without a known price, which have no part in cost_usd',
  partial_calls Int64 COMMENT 'of the calls: those in cost_usd whose cost is not sure, it may be too high or too low',
  unpriced_tokens Nullable(Int64) COMMENT 'input and output tokens of the unpriced calls, NULL where they are not known',
  partial_tokens Nullable(Int64) COMMENT 'input and output tokens of the partial calls, NULL where they are not known'
)
SQL SECURITY DEFINER AS
SELECT
  day, provider,
  sum(u.calls) AS calls,
  sum(u.errors) AS errors,
  sum(u.input_tokens) AS input_tokens,
  sum(u.output_tokens) AS output_tokens,
  sum(u.cost_usd) AS cost_usd,
  {currency:String} AS currency,
  if(countIf(u.cost_usd IS NOT NULL AND u.cost IS NULL) = 0, sum(u.cost), NULL) AS cost,
  sum(u.unpriced_calls) AS unpriced_calls,
  sum(u.partial_calls) AS partial_calls,
  if(count() = count(u.unpriced_tokens), sum(u.unpriced_tokens), NULL) AS unpriced_tokens,
  if(count() = count(u.partial_tokens), sum(u.partial_tokens), NULL) AS partial_tokens
FROM usage_daily_between(from = {from:String}, to = {to:String}, zone = {zone:String}, currency = {currency:String}) AS u
GROUP BY day, provider
ORDER BY day, provider
COMMENT 'Cost by day in the zone and provider: daily_cost_by_provider_between(from, to, zone, currency).';

CREATE OR REPLACE VIEW weekly_cost (
  week Date COMMENT 'the Monday that the week begins with, UTC',
  calls Int64 COMMENT 'calls, each request_id once',
  errors Int64 COMMENT 'of the calls: those that failed',
  input_tokens Int64 COMMENT 'tokens sent, cached ones included',
  output_tokens Int64 COMMENT 'tokens received, reasoning included',
  cost_usd Nullable(Decimal(38, 12)) COMMENT 'USD of the priced calls, exact, NULL where no call has a price',
  unpriced_calls Int64 COMMENT 'of the calls: those without a known price, which have no part in cost_usd',
  partial_calls Int64 COMMENT 'of the calls: those in cost_usd whose cost is not sure, it may be too high or too low',
  unpriced_tokens Nullable(Int64) COMMENT 'input and output tokens of the unpriced calls, NULL where they are not known',
  partial_tokens Nullable(Int64) COMMENT 'input and output tokens of the partial calls, NULL where they are not known'
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
  sum(u.partial_calls) AS partial_calls,
  if(count() = count(u.unpriced_tokens), sum(u.unpriced_tokens), NULL) AS unpriced_tokens,
  if(count() = count(u.partial_tokens), sum(u.partial_tokens), NULL) AS partial_tokens
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
  partial_calls Int64 COMMENT 'of the calls: those in cost_usd whose cost is not sure, it may be too high or too low',
  unpriced_tokens Nullable(Int64) COMMENT 'input and output tokens of the unpriced calls, NULL where they are not known',
  partial_tokens Nullable(Int64) COMMENT 'input and output tokens of the partial calls, NULL where they are not known'
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
  sum(u.partial_calls) AS partial_calls,
  if(count() = count(u.unpriced_tokens), sum(u.unpriced_tokens), NULL) AS unpriced_tokens,
  if(count() = count(u.partial_tokens), sum(u.partial_tokens), NULL) AS partial_tokens
FROM usage_daily AS u
GROUP BY month
ORDER BY month
COMMENT 'Cost by month, UTC.';
