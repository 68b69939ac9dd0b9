-- Made by `make schemas` from templates/73_quality.sql.jinja: edit that.
-- What the figures leave out, or only guess, day by day.
CREATE OR REPLACE VIEW data_quality (
  day Date COMMENT 'the day, UTC',
  calls Int64 COMMENT 'calls, each request_id once',
  unpriced_calls Int64 COMMENT 'of the calls: those without a known price, which have no part in cost_usd',
  partial_calls Int64 COMMENT 'of the calls: those in cost_usd whose cost is not sure, it may be too high or too low',
  estimated_calls Nullable(Int64) COMMENT 'of the calls: those whose usage was estimated, NULL where single calls of the day may have expired',
  missing_calls Nullable(Int64) COMMENT 'of the calls: those whose usage was not reported, NULL where single calls of the day may have expired',
  dead_letters Nullable(Int64) COMMENT 'records that were refused, by the day of their arrival, NULL where those of the day may have expired',
  dropped_events Int64 COMMENT 'events that clients say they had to drop: with these the calls are a lower bound'
)
SQL SECURITY DEFINER AS
WITH
  toDateTime64(toDate(now('UTC')) - 29, 3, 'UTC') AS span_from,
  (SELECT since FROM raw_kept_since) AS kept_since,
  toDateTime64(day, 3, 'UTC') >= kept_since AS is_kept
SELECT
  d.day AS day,
  sum(d.calls) AS calls,
  sum(d.unpriced_calls) AS unpriced_calls,
  sum(d.partial_calls) AS partial_calls,
  if(is_kept, sum(d.estimated), NULL) AS estimated_calls,
  if(is_kept, sum(d.missing), NULL) AS missing_calls,
  if(is_kept, sum(d.letters), NULL) AS dead_letters,
  toInt64(sum(d.dropped)) AS dropped_events
FROM (
  SELECT day, calls, unpriced_calls, partial_calls, toInt64(0) AS estimated, toInt64(0) AS missing,
    toInt64(0) AS letters, toDecimal256(0, 12) AS dropped
  FROM usage_daily
  WHERE day > toDate(now('UTC')) - 30
  UNION ALL
  SELECT toDate(occurred_at, 'UTC') AS day, toInt64(0), toInt64(0), toInt64(0), toInt64(e.usage_status = 'estimated'),
    toInt64(e.usage_status = 'missing'), toInt64(0), toDecimal256(0, 12)
  FROM usage_events_rows AS e FINAL
  WHERE occurred_at >= span_from AND usage_status != 'reported'
  UNION ALL
  SELECT toDate(received_at, 'UTC') AS day, toInt64(0), toInt64(0), toInt64(0), toInt64(0), toInt64(0), toInt64(1), toDecimal256(0, 12)
  FROM dead_letters_rows FINAL
  WHERE received_at >= span_from
  UNION ALL
  SELECT toDate(hour, 'UTC') AS day, toInt64(0), toInt64(0), toInt64(0), toInt64(0), toInt64(0), toInt64(0),
    map(toString(unit),
      toDecimal256(amount_whole, 12) + toDecimal256(amount_pico, 12) / toDecimal256('1000000000000', 0))['dropped_events']
  FROM usage_hourly_units_rows FINAL
  WHERE provider = 'costream' AND model = 'dropped-events'
    AND hour >= span_from
) AS d
GROUP BY day
ORDER BY day DESC
SETTINGS do_not_merge_across_partitions_select_final = 1
COMMENT 'How far the figures of a day can be trusted: today and the 29 days before it, UTC.';

CREATE OR REPLACE VIEW data_quality_between (
  day Date COMMENT 'the day in the zone that was asked for',
  calls Int64 COMMENT 'calls, each request_id once',
  unpriced_calls Int64 COMMENT 'of the calls: those without a known price, which have no part in cost_usd',
  partial_calls Int64 COMMENT 'of the calls: those in cost_usd whose cost is not sure, it may be too high or too low',
  estimated_calls Nullable(Int64) COMMENT 'of the calls: those whose usage was estimated, NULL where single calls of the day may have expired',
  missing_calls Nullable(Int64) COMMENT 'of the calls: those whose usage was not reported, NULL where single calls of the day may have expired',
  dead_letters Nullable(Int64) COMMENT 'records that were refused, by the day of their arrival, NULL where those of the day may have expired',
  dropped_events Int64 COMMENT 'events that clients say they had to drop: with these the calls are a lower bound'
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
  arrayFilter(h -> h < span_to AND (h < span_from OR h + toIntervalHour(1) > span_to
      OR toDate(h, {zone:String}) != toDate(h + toIntervalSecond(3599), {zone:String})),
    arrayMap(n -> first_hour + toIntervalHour(n),
      range(toUInt32(greatest(0, intDiv(toUnixTimestamp(span_to) - toUnixTimestamp(first_hour), 3600) + 1))))) AS parts,
  (SELECT since FROM raw_kept_since) AS kept_since,
  toDateTime64(day, 3, {zone:String}) >= kept_since OR span_from >= kept_since AS is_kept
SELECT
  d.day AS day,
  sum(d.calls) AS calls,
  sum(d.unpriced_calls) AS unpriced_calls,
  sum(d.partial_calls) AS partial_calls,
  if(is_kept, sum(d.estimated), NULL) AS estimated_calls,
  if(is_kept, sum(d.missing), NULL) AS missing_calls,
  if(is_kept, sum(d.letters), NULL) AS dead_letters,
  toInt64(sum(d.dropped)) AS dropped_events
FROM (
  SELECT day, calls, unpriced_calls, partial_calls, toInt64(0) AS estimated, toInt64(0) AS missing,
    toInt64(0) AS letters, toDecimal256(0, 12) AS dropped
  FROM usage_daily_between(from = {from:String}, to = {to:String}, zone = {zone:String}, currency = {currency:String})
  UNION ALL
  SELECT toDate(occurred_at, {zone:String}) AS day, toInt64(0), toInt64(0), toInt64(0), toInt64(e.usage_status = 'estimated'),
    toInt64(e.usage_status = 'missing'), toInt64(0), toDecimal256(0, 12)
  FROM usage_events_rows AS e FINAL
  WHERE occurred_at >= span_from AND occurred_at < span_to AND usage_status != 'reported'
  UNION ALL
  SELECT toDate(received_at, {zone:String}) AS day, toInt64(0), toInt64(0), toInt64(0), toInt64(0), toInt64(0), toInt64(1), toDecimal256(0, 12)
  FROM dead_letters_rows FINAL
  WHERE received_at >= span_from AND received_at < span_to
  UNION ALL
  SELECT toDate(hour, {zone:String}) AS day, toInt64(0), toInt64(0), toInt64(0), toInt64(0), toInt64(0), toInt64(0),
    map(toString(unit),
      toDecimal256(amount_whole, 12) + toDecimal256(amount_pico, 12) / toDecimal256('1000000000000', 0))['dropped_events']
  FROM usage_hourly_units_rows FINAL
  WHERE provider = 'costream' AND model = 'dropped-events'
    AND hour >= hours_from AND hour < hours_to AND hour NOT IN (SELECT arrayJoin(parts))
  UNION ALL
  SELECT toDate(occurred_at, {zone:String}) AS day, toInt64(0), toInt64(0), toInt64(0), toInt64(0), toInt64(0), toInt64(0),
    CAST(arrayMap(unit -> (unit.1, toDecimal256(unit.2, 12)), JSONExtractKeysAndValues(e.quantities, 'String')),
      'Map(String, Decimal(76, 12))')['dropped_events']
  FROM usage_events_rows AS e FINAL
  WHERE toStartOfHour(occurred_at) IN (
      SELECT arrayJoin(parts) FROM raw_kept_since
      WHERE throwIf(since > arrayMin(arrayPushBack(parts, since)), concat(
      'this span needs parts of hours from before raw_kept_since, whose single calls may have expired: ',
      'ask for whole hours of UTC, or for a later span')) = 0)
    AND occurred_at >= span_from AND occurred_at < span_to
    AND provider = 'costream' AND model = 'dropped-events'
) AS d
GROUP BY day
ORDER BY day DESC
SETTINGS do_not_merge_across_partitions_select_final = 1
COMMENT 'How far the figures of a day can be trusted: data_quality_between(from, to, zone, currency).';
