-- Puts the map back. Stop the workers first and let them finish what they were storing: a row of usage_hourly takes its
-- units along as they stand, and what was stored of an hour and not yet of its units is lost to the release before.
ALTER TABLE usage_hourly ADD COLUMN IF NOT EXISTS quantities Map(String, Decimal(38, 12)) AFTER reasoning_tokens;

-- The same rows with the same version and their units: of two equal versions the one written last stays.
INSERT INTO usage_hourly (hour, provider, model, operation, feature, task_type, team, environment, source,
  source_partition, calls, errors, duplicates, unpriced_calls, partial_calls, input_tokens, output_tokens,
  cache_read_tokens, cache_write_tokens, reasoning_tokens, quantities, cost_usd, revenue_usd, duration_ms,
  duration_calls, price_versions, version)
SELECT hour, provider, model, operation, feature, task_type, team, environment, source,
  source_partition, calls, errors, duplicates, unpriced_calls, partial_calls, input_tokens, output_tokens,
  cache_read_tokens, cache_write_tokens, reasoning_tokens, units, cost_usd, revenue_usd, duration_ms,
  duration_calls, price_versions, version
FROM (SELECT * FROM usage_hourly FINAL) AS h
INNER JOIN (
  SELECT hour, provider, model, operation, feature, task_type, team, environment, source, source_partition,
    CAST((groupArray(toString(unit)), groupArray(amount)), 'Map(String, Decimal(38, 12))') AS units
  FROM usage_hourly_units FINAL
  GROUP BY hour, provider, model, operation, feature, task_type, team, environment, source, source_partition
) AS u USING (hour, provider, model, operation, feature, task_type, team, environment, source, source_partition);

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
  sumMap(h.quantities) AS quantities,
  sum(h.cost_usd) AS cost_usd,
  sum(h.revenue_usd) AS revenue_usd,
  sum(h.duration_ms) AS duration_ms,
  sum(h.duration_calls) AS duration_calls,
  arraySort(groupUniqArrayArray(h.price_versions)) AS price_versions
FROM usage_hourly AS h FINAL
GROUP BY hour, provider, model, operation, feature, task_type, team, environment;

DROP TABLE IF EXISTS usage_hourly_units;
