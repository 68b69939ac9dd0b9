-- The names of the release before, and its views. No row is touched.
RENAME TABLE IF EXISTS retention_changes_rows TO retention_changes;
RENAME TABLE IF EXISTS vanished_records_rows TO vanished_records;
RENAME TABLE IF EXISTS removed_events_rows TO removed_events;
RENAME TABLE IF EXISTS alerts_rows TO alerts;
RENAME TABLE IF EXISTS dead_letters_rows TO dead_letters;
RENAME TABLE IF EXISTS ingest_ledger_rows TO ingest_ledger;
RENAME TABLE IF EXISTS usage_user_daily_rows TO usage_user_daily;
RENAME TABLE IF EXISTS usage_hourly_units_rows TO usage_hourly_units;
RENAME TABLE IF EXISTS usage_hourly_rows TO usage_hourly;
RENAME TABLE IF EXISTS usage_events_rows TO usage_events;

CREATE OR REPLACE VIEW hourly AS
SELECT
  hour, provider, model, operation, feature, task_type, team, environment,
  sum(h.calls) AS calls,
  sum(h.errors) AS errors,
  sum(h.duplicates) AS duplicates,
  sum(h.unpriced_calls) AS unpriced_calls,
  sum(h.partial_calls) AS partial_calls,
  sum(h.input_tokens) AS input_tokens,
  sum(h.output_tokens) AS output_tokens,
  sum(h.cache_read_tokens) AS cache_read_tokens,
  sum(h.cache_write_tokens) AS cache_write_tokens,
  sum(h.reasoning_tokens) AS reasoning_tokens,
  mapApply((unit, amount) -> (unit, toDecimal128(least(amount,
    toDecimal256('99999999999999999999999999.999999999999', 12)), 12)), sumMap(h.units)) AS quantities,
  sum(h.cost_usd) AS cost_usd,
  sum(h.revenue_usd) AS revenue_usd,
  sum(h.duration_ms) AS duration_ms,
  sum(h.duration_calls) AS duration_calls,
  arraySort(groupUniqArrayArray(h.price_versions)) AS price_versions
FROM (
  SELECT hour, provider, model, operation, feature, task_type, team, environment,
    calls, errors, duplicates, unpriced_calls, partial_calls,
    input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens,
    CAST(map(), 'Map(String, Decimal(76, 12))') AS units,
    cost_usd, revenue_usd, duration_ms, duration_calls, price_versions
  FROM usage_hourly FINAL
  UNION ALL
  SELECT hour, provider, model, operation, feature, task_type, team, environment,
    0, 0, 0, 0, 0,
    0, 0, 0, 0, 0,
    map(toString(unit),
      toDecimal256(amount_whole, 12) + toDecimal256(amount_pico, 12) / toDecimal256('1000000000000', 0)),
    toDecimal128(0, 12), toDecimal128(0, 12), 0, 0, []
  FROM usage_hourly_units FINAL
) AS h
GROUP BY hour, provider, model, operation, feature, task_type, team, environment;

CREATE OR REPLACE VIEW user_daily AS
SELECT
  day, user_id,
  sum(d.calls) AS calls,
  sum(d.errors) AS errors,
  sum(d.unpriced_calls) AS unpriced_calls,
  sum(d.partial_calls) AS partial_calls,
  sum(d.input_tokens) AS input_tokens,
  sum(d.output_tokens) AS output_tokens,
  sum(d.cost_usd) AS cost_usd,
  sum(d.revenue_usd) AS revenue_usd
FROM usage_user_daily AS d FINAL
GROUP BY day, user_id;

CREATE OR REPLACE VIEW feature_cost_summary AS
SELECT
  feature,
  sum(h.calls) AS call_count,
  sumOrNullIf(h.cost_usd, h.calls > h.unpriced_calls) AS total_cost,
  total_cost / nullIf(call_count - unpriced_calls, 0) AS avg_cost_per_call,
  sum(h.unpriced_calls) AS unpriced_calls,
  sum(h.partial_calls) AS partial_calls,
  total_cost / nullIf(sum(total_cost) OVER (), 0) AS cost_share
FROM hourly AS h
WHERE hour >= toStartOfHour(now('UTC')) - INTERVAL 30 DAY
GROUP BY feature
ORDER BY total_cost DESC, feature;

CREATE OR REPLACE VIEW provider_cost_summary AS
SELECT
  provider,
  sum(h.calls) AS call_count,
  sumOrNullIf(h.cost_usd, h.calls > h.unpriced_calls) AS total_cost,
  total_cost / nullIf(call_count - unpriced_calls, 0) AS avg_cost_per_call,
  sum(h.unpriced_calls) AS unpriced_calls,
  sum(h.partial_calls) AS partial_calls,
  total_cost / nullIf(sum(total_cost) OVER (), 0) AS cost_share
FROM hourly AS h
WHERE hour >= toStartOfHour(now('UTC')) - INTERVAL 30 DAY
GROUP BY provider
ORDER BY total_cost DESC, provider;

CREATE OR REPLACE VIEW task_type_cost_summary AS
SELECT
  task_type,
  sum(h.calls) AS call_count,
  sumOrNullIf(h.cost_usd, h.calls > h.unpriced_calls) AS total_cost,
  total_cost / nullIf(call_count - unpriced_calls, 0) AS avg_cost_per_call,
  sum(h.unpriced_calls) AS unpriced_calls,
  sum(h.partial_calls) AS partial_calls,
  total_cost / nullIf(sum(total_cost) OVER (), 0) AS cost_share
FROM hourly AS h
WHERE hour >= toStartOfHour(now('UTC')) - INTERVAL 30 DAY
GROUP BY task_type
ORDER BY total_cost DESC, task_type;

CREATE OR REPLACE VIEW model_performance_summary AS
SELECT
  provider, model,
  sum(h.calls) AS call_count,
  sum(h.errors) AS failures,
  toDecimal64(failures, 6) / nullIf(call_count, 0) AS failure_rate,
  toDecimal128(sum(h.duration_ms), 3) / nullIf(sum(h.duration_calls), 0) AS avg_duration_ms,
  sumOrNullIf(h.cost_usd, h.calls > h.unpriced_calls) AS total_cost,
  sum(h.unpriced_calls) AS unpriced_calls,
  sum(h.partial_calls) AS partial_calls
FROM hourly AS h
WHERE hour >= toStartOfHour(now('UTC')) - INTERVAL 30 DAY
GROUP BY provider, model
ORDER BY call_count DESC, provider, model;

CREATE OR REPLACE VIEW feature_performance_summary AS
SELECT
  feature,
  sum(h.calls) AS call_count,
  sum(h.errors) AS failures,
  toDecimal64(failures, 6) / nullIf(call_count, 0) AS failure_rate,
  toDecimal128(sum(h.duration_ms), 3) / nullIf(sum(h.duration_calls), 0) AS avg_duration_ms,
  sumOrNullIf(h.cost_usd, h.calls > h.unpriced_calls) AS total_cost,
  sum(h.unpriced_calls) AS unpriced_calls,
  sum(h.partial_calls) AS partial_calls
FROM hourly AS h
WHERE hour >= toStartOfHour(now('UTC')) - INTERVAL 30 DAY
GROUP BY feature
ORDER BY call_count DESC, feature;

CREATE OR REPLACE VIEW realtime_cost_monitor AS
SELECT
  hour,
  sum(h.calls) AS calls,
  sum(h.errors) AS errors,
  sum(h.input_tokens) + sum(h.output_tokens) AS tokens,
  sumOrNullIf(h.cost_usd, h.calls > h.unpriced_calls) AS cost_usd,
  sum(h.unpriced_calls) AS unpriced_calls,
  sum(h.partial_calls) AS partial_calls,
  sum(cost_usd) OVER (ORDER BY hour ASC ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS cumulative_cost_usd
FROM hourly AS h
WHERE hour >= toStartOfHour(now('UTC')) - INTERVAL 23 HOUR
GROUP BY hour
ORDER BY hour DESC;

CREATE OR REPLACE VIEW hourly_cost AS
SELECT
  hour,
  sumOrNullIf(h.cost_usd, h.calls > h.unpriced_calls) AS hourly_cost,
  sum(h.calls) AS call_count,
  sum(h.unpriced_calls) AS unpriced_calls,
  sum(h.partial_calls) AS partial_calls
FROM hourly AS h
GROUP BY hour
ORDER BY hour DESC;

CREATE OR REPLACE VIEW hourly_calls_tokens_by_model AS
SELECT
  hour, model,
  sum(h.calls) AS calls,
  sum(h.input_tokens) AS input_tokens,
  sum(h.output_tokens) AS output_tokens,
  sumOrNullIf(h.cost_usd, h.calls > h.unpriced_calls) AS cost_usd,
  sum(h.unpriced_calls) AS unpriced_calls,
  sum(h.partial_calls) AS partial_calls
FROM hourly AS h
GROUP BY hour, model
ORDER BY hour, model;

CREATE OR REPLACE VIEW daily_cost_by_model AS
SELECT
  toDate(hour) AS day, model,
  sum(h.calls) AS calls,
  sumOrNullIf(h.cost_usd, h.calls > h.unpriced_calls) AS cost_usd,
  sum(h.unpriced_calls) AS unpriced_calls,
  sum(h.partial_calls) AS partial_calls
FROM hourly AS h
GROUP BY day, model
ORDER BY day, model;

CREATE OR REPLACE VIEW daily_cost_by_provider AS
SELECT
  toDate(hour) AS day, provider,
  sum(h.calls) AS calls,
  sumOrNullIf(h.cost_usd, h.calls > h.unpriced_calls) AS cost_usd,
  sum(h.unpriced_calls) AS unpriced_calls,
  sum(h.partial_calls) AS partial_calls
FROM hourly AS h
GROUP BY day, provider
ORDER BY day, provider;

CREATE OR REPLACE VIEW daily_cost AS
SELECT
  toDate(hour) AS day,
  sum(h.calls) AS calls,
  sum(h.errors) AS errors,
  sum(h.input_tokens) AS input_tokens,
  sum(h.output_tokens) AS output_tokens,
  sumOrNullIf(h.cost_usd, h.calls > h.unpriced_calls) AS cost_usd,
  sum(h.unpriced_calls) AS unpriced_calls,
  sum(h.partial_calls) AS partial_calls
FROM hourly AS h
GROUP BY day
ORDER BY day;

CREATE OR REPLACE VIEW weekly_cost AS
SELECT
  toMonday(hour) AS week,
  sum(h.calls) AS calls,
  sum(h.errors) AS errors,
  sum(h.input_tokens) AS input_tokens,
  sum(h.output_tokens) AS output_tokens,
  sumOrNullIf(h.cost_usd, h.calls > h.unpriced_calls) AS cost_usd,
  sum(h.unpriced_calls) AS unpriced_calls,
  sum(h.partial_calls) AS partial_calls
FROM hourly AS h
GROUP BY week
ORDER BY week;

CREATE OR REPLACE VIEW monthly_cost AS
SELECT
  toStartOfMonth(hour) AS month,
  sum(h.calls) AS calls,
  sum(h.errors) AS errors,
  sum(h.input_tokens) AS input_tokens,
  sum(h.output_tokens) AS output_tokens,
  sumOrNullIf(h.cost_usd, h.calls > h.unpriced_calls) AS cost_usd,
  sum(h.unpriced_calls) AS unpriced_calls,
  sum(h.partial_calls) AS partial_calls
FROM hourly AS h
GROUP BY month
ORDER BY month;

CREATE OR REPLACE VIEW user_cost_summary AS
SELECT
  provider, model,
  count() AS total_calls,
  sum(ifNull(e.input_tokens, 0)) AS total_input_tokens,
  sum(ifNull(e.output_tokens, 0)) AS total_output_tokens,
  sum(e.cost_usd) AS total_cost,
  countIf(e.cost_status = 'unpriced') AS unpriced_calls,
  countIf(e.cost_status = 'partial') AS partial_calls
FROM usage_events AS e FINAL
WHERE user_id = {user_id:String} AND occurred_at >= now('UTC') - toIntervalHour({period_hours:UInt32})
GROUP BY provider, model
ORDER BY total_cost DESC, provider, model;

CREATE OR REPLACE VIEW unknown_cost_calls AS
SELECT
  toDate(occurred_at) AS day, provider, model, cost_reason,
  count() AS calls,
  sum(ifNull(e.input_tokens, 0)) + sum(ifNull(e.output_tokens, 0)) AS tokens,
  max(e.occurred_at) AS last_occurred_at
FROM usage_events AS e FINAL
WHERE e.cost_usd IS NULL
GROUP BY day, provider, model, cost_reason
ORDER BY day DESC, calls DESC, provider, model, cost_reason;

CREATE OR REPLACE VIEW partial_cost_calls AS
SELECT
  toDate(occurred_at) AS day, provider, model, cost_reason,
  count() AS calls,
  sum(ifNull(e.cost_usd, 0)) AS cost_usd,
  max(e.occurred_at) AS last_occurred_at
FROM usage_events AS e FINAL
WHERE e.cost_status = 'partial'
GROUP BY day, provider, model, cost_reason
ORDER BY day DESC, calls DESC, provider, model, cost_reason;

CREATE OR REPLACE VIEW dropped_events AS
SELECT
  hour, feature, team, environment,
  sum(h.calls) AS reports,
  toInt64(sum(h.quantities['dropped_events'])) AS dropped_events
FROM hourly AS h
WHERE provider = 'costream' AND model = 'dropped-events'
GROUP BY hour, feature, team, environment
ORDER BY hour DESC, feature, team, environment;
