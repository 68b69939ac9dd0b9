-- Made by `make schemas` from templates/57_resources.sql.jinja: edit that.
-- Servers, storage and networks. Units are told each for itself and never added together.
CREATE OR REPLACE VIEW resource_usage (
  provider LowCardinality(String) COMMENT 'who sells the call, such as openai',
  operation LowCardinality(String) COMMENT 'gpu, cpu, storage or network',
  model LowCardinality(String) COMMENT 'the instance type of a server, or the product',
  calls Int64 COMMENT 'reports of what was used, each request_id once',
  errors Int64 COMMENT 'of the calls: those that failed',
  hours Nullable(Decimal(38, 12)) COMMENT 'hours of the servers: the unit gpu_hours or cpu_hours, NULL where none were told',
  avg_utilization Nullable(Decimal(38, 12)) COMMENT 'how busy the servers were, 0 to 1, by the hours of reports that tell it, NULL where none does or single calls may have expired',
  quantities Map(String, Decimal(38, 12)) COMMENT 'every other unit and its amount, such as audio_seconds',
  cost_usd Nullable(Decimal(38, 12)) COMMENT 'USD of the priced calls, exact, NULL where no call has a price',
  unpriced_calls Int64 COMMENT 'of the calls: those without a known price, which have no part in cost_usd',
  partial_calls Int64 COMMENT 'of the calls: those in cost_usd whose cost is not sure, it may be too high or too low'
)
SQL SECURITY DEFINER AS
WITH
  toDateTime64(toDate(now('UTC')) - 29, 3, 'UTC') AS span_from,
  (SELECT since FROM raw_kept_since) AS kept_since
SELECT
  provider, operation, model,
  sum(u.calls) AS calls,
  sum(u.errors) AS errors,
  if(mapContains(quantities, concat(operation, '_hours')), quantities[concat(operation, '_hours')], NULL) AS hours,
  if(span_from >= kept_since AND sum(u.hours_told) > 0,
    toDecimal128(round(sum(u.hours_busy) / sum(u.hours_told), 12), 12), NULL) AS avg_utilization,
  mapApply((unit, amount) -> (unit, toDecimal128(least(amount,
    toDecimal256('99999999999999999999999999.999999999999', 12)), 12)), sumMap(u.units)) AS quantities,
  sum(u.cost_usd) AS cost_usd,
  sum(u.unpriced_calls) AS unpriced_calls,
  sum(u.partial_calls) AS partial_calls
FROM (
  SELECT provider, operation, model, calls, errors, unpriced_calls, partial_calls, cost_usd,
    CAST(map(), 'Map(String, Decimal(76, 12))') AS units, toDecimal256(0, 12) AS hours_told, toDecimal256(0, 18) AS hours_busy
  FROM usage_daily
  WHERE day > toDate(now('UTC')) - 30 AND operation IN ('gpu', 'cpu', 'storage', 'network')
  UNION ALL
  SELECT provider, operation, model, toInt64(0), toInt64(0), toInt64(0), toInt64(0), NULL, map(toString(unit),
      toDecimal256(amount_whole, 12) + toDecimal256(amount_pico, 12) / toDecimal256('1000000000000', 0)),
    toDecimal256(0, 12), toDecimal256(0, 18)
  FROM usage_hourly_units_rows FINAL
  WHERE hour >= span_from AND operation IN ('gpu', 'cpu', 'storage', 'network')
  UNION ALL
  SELECT provider, operation, model, toInt64(0), toInt64(0), toInt64(0), toInt64(0), NULL, CAST(map(), 'Map(String, Decimal(76, 12))'),
    CAST(arrayMap(unit -> (unit.1, toDecimal256(unit.2, 12)), JSONExtractKeysAndValues(e.quantities, 'String')),
      'Map(String, Decimal(76, 12))')[concat(operation, '_hours')] AS hours_told,
    hours_told * e.utilization AS hours_busy
  FROM usage_events_rows AS e FINAL
  WHERE occurred_at >= span_from AND operation IN ('gpu', 'cpu')
    AND utilization IS NOT NULL AND span_from >= kept_since
) AS u
GROUP BY provider, operation, model
ORDER BY cost_usd DESC NULLS LAST, provider, operation, model
SETTINGS do_not_merge_across_partitions_select_final = 1
COMMENT 'Hours of servers, and what storage and networks took, by instance type: today and the 29 days before it, UTC.';

CREATE OR REPLACE VIEW resource_usage_between (
  provider LowCardinality(String) COMMENT 'who sells the call, such as openai',
  operation LowCardinality(String) COMMENT 'gpu, cpu, storage or network',
  model LowCardinality(String) COMMENT 'the instance type of a server, or the product',
  calls Int64 COMMENT 'reports of what was used, each request_id once',
  errors Int64 COMMENT 'of the calls: those that failed',
  hours Nullable(Decimal(38, 12)) COMMENT 'hours of the servers: the unit gpu_hours or cpu_hours, NULL where none were told',
  avg_utilization Nullable(Decimal(38, 12)) COMMENT 'how busy the servers were, 0 to 1, by the hours of reports that tell it, NULL where none does or single calls may have expired',
  quantities Map(String, Decimal(38, 12)) COMMENT 'every other unit and its amount, such as audio_seconds',
  cost_usd Nullable(Decimal(38, 12)) COMMENT 'USD of the priced calls, exact, NULL where no call has a price',
  currency String COMMENT 'the currency that was asked for, such as KRW',
  cost Nullable(Decimal(38, 12)) COMMENT 'cost_usd in that currency, NULL where a day of it has no exchange rate',
  unpriced_calls Int64 COMMENT 'of the calls: those without a known price, which have no part in cost_usd',
  partial_calls Int64 COMMENT 'of the calls: those in cost_usd whose cost is not sure, it may be too high or too low'
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
  arrayFilter(h -> h < span_to AND (h < span_from OR h + toIntervalHour(1) > span_to),
    arrayDistinct([first_hour, hours_to])) AS parts,
  (SELECT since FROM raw_kept_since) AS kept_since
SELECT
  provider, operation, model,
  sum(u.calls) AS calls,
  sum(u.errors) AS errors,
  if(mapContains(quantities, concat(operation, '_hours')), quantities[concat(operation, '_hours')], NULL) AS hours,
  if(span_from >= kept_since AND sum(u.hours_told) > 0,
    toDecimal128(round(sum(u.hours_busy) / sum(u.hours_told), 12), 12), NULL) AS avg_utilization,
  mapApply((unit, amount) -> (unit, toDecimal128(least(amount,
    toDecimal256('99999999999999999999999999.999999999999', 12)), 12)), sumMap(u.units)) AS quantities,
  sum(u.cost_usd) AS cost_usd,
  {currency:String} AS currency,
  if(countIf(u.cost_usd IS NOT NULL AND u.cost IS NULL) = 0, sum(u.cost), NULL) AS cost,
  sum(u.unpriced_calls) AS unpriced_calls,
  sum(u.partial_calls) AS partial_calls
FROM (
  SELECT provider, operation, model, calls, errors, unpriced_calls, partial_calls, cost_usd, cost,
    CAST(map(), 'Map(String, Decimal(76, 12))') AS units, toDecimal256(0, 12) AS hours_told, toDecimal256(0, 18) AS hours_busy
  FROM usage_between(from = {from:String}, to = {to:String}, zone = {zone:String}, currency = {currency:String})
  WHERE operation IN ('gpu', 'cpu', 'storage', 'network')
  UNION ALL
  SELECT provider, operation, model, toInt64(0), toInt64(0), toInt64(0), toInt64(0), NULL, NULL, map(toString(unit),
      toDecimal256(amount_whole, 12) + toDecimal256(amount_pico, 12) / toDecimal256('1000000000000', 0)),
    toDecimal256(0, 12), toDecimal256(0, 18)
  FROM usage_hourly_units_rows FINAL
  WHERE hour >= hours_from AND hour < hours_to AND operation IN ('gpu', 'cpu', 'storage', 'network')
  UNION ALL
  SELECT provider, operation, model, toInt64(0), toInt64(0), toInt64(0), toInt64(0), NULL, NULL, CAST(arrayMap(unit -> (unit.1, toDecimal256(unit.2, 12)), JSONExtractKeysAndValues(e.quantities, 'String')),
      'Map(String, Decimal(76, 12))'),
    toDecimal256(0, 12), toDecimal256(0, 18)
  FROM usage_events_rows AS e FINAL
  WHERE toStartOfHour(occurred_at) IN (
      SELECT arrayJoin(parts) FROM raw_kept_since
      WHERE throwIf(since > arrayMin(arrayPushBack(parts, since)), concat(
      'this span needs parts of hours from before raw_kept_since, whose single calls may have expired: ',
      'ask for whole hours of UTC, or for a later span')) = 0)
    AND occurred_at >= span_from AND occurred_at < span_to
    AND operation IN ('gpu', 'cpu', 'storage', 'network')
  UNION ALL
  SELECT provider, operation, model, toInt64(0), toInt64(0), toInt64(0), toInt64(0), NULL, NULL, CAST(map(), 'Map(String, Decimal(76, 12))'),
    CAST(arrayMap(unit -> (unit.1, toDecimal256(unit.2, 12)), JSONExtractKeysAndValues(e.quantities, 'String')),
      'Map(String, Decimal(76, 12))')[concat(operation, '_hours')] AS hours_told,
    hours_told * e.utilization AS hours_busy
  FROM usage_events_rows AS e FINAL
  WHERE occurred_at >= span_from AND occurred_at < span_to AND operation IN ('gpu', 'cpu')
    AND utilization IS NOT NULL AND span_from >= kept_since
) AS u
GROUP BY provider, operation, model
ORDER BY cost_usd DESC NULLS LAST, provider, operation, model
SETTINGS do_not_merge_across_partitions_select_final = 1
COMMENT 'Hours of servers, and what storage and networks took, by instance type: resource_usage_between(from, to, zone, currency).';

CREATE OR REPLACE VIEW utilization_hourly (
  hour DateTime('UTC') COMMENT 'the hour, by its first moment, UTC',
  provider LowCardinality(String) COMMENT 'who sells the call, such as openai',
  operation LowCardinality(String) COMMENT 'gpu or cpu',
  model LowCardinality(String) COMMENT 'the instance type of the server',
  calls Int64 COMMENT 'reports that tell how busy the server was, each request_id once',
  hours_told Decimal(38, 12) COMMENT 'hours of these reports: the unit gpu_hours or cpu_hours',
  hours_busy Decimal(38, 12) COMMENT 'the same hours, each times how busy the server was in it',
  avg_utilization Nullable(Decimal(38, 12)) COMMENT 'how busy the servers were, 0 to 1: hours_busy by hours_told, NULL where these are 0'
)
SQL SECURITY DEFINER AS
SELECT
  toStartOfHour(occurred_at) AS hour, provider, operation, model,
  toInt64(count()) AS calls,
  sum(CAST(arrayMap(unit -> (unit.1, toDecimal256(unit.2, 12)), JSONExtractKeysAndValues(e.quantities, 'String')),
      'Map(String, Decimal(76, 12))')[concat(operation, '_hours')] AS of_call) AS told,
  sum(of_call * e.utilization) AS busy,
  toDecimal128(told, 12) AS hours_told,
  toDecimal128(round(busy, 12), 12) AS hours_busy,
  if(told > 0, toDecimal128(round(busy / told, 12), 12), NULL) AS avg_utilization
FROM usage_events_rows AS e FINAL
WHERE operation IN ('gpu', 'cpu') AND utilization IS NOT NULL
GROUP BY hour, provider, operation, model
ORDER BY hour DESC, provider, operation, model
SETTINGS do_not_merge_across_partitions_select_final = 1
COMMENT 'How busy servers were, by hour (UTC) and instance type, for as long as single calls are kept (raw_kept_since).';
