-- Made by `make schemas` from templates/69_forecasts.sql.jinja: edit that.
-- What was expected, day by day.
CREATE OR REPLACE VIEW forecasts (
  day Date COMMENT 'the day of the zone on which it was told last',
  scope String COMMENT 'of what: system (everything together), or a budget as its alerts have it, such as budget=NAME',
  period LowCardinality(String) COMMENT 'day, week or month: the one that was running',
  zone LowCardinality(String) COMMENT 'by whose clocks the day and the period begin',
  period_start DateTime('UTC') COMMENT 'the first moment of the period, UTC',
  period_end DateTime('UTC') COMMENT 'the first moment after it, UTC',
  currency LowCardinality(String) COMMENT 'of the amounts',
  so_far Decimal(38, 12) COMMENT 'what was spent of the period by then',
  expected Nullable(Decimal(38, 12)) COMMENT 'what the whole period was expected to cost, NULL where too little of it was over to tell',
  low Nullable(Decimal(38, 12)) COMMENT 'the end was to be above it in 90 of 100 cases, NULL where that was not known',
  high Nullable(Decimal(38, 12)) COMMENT 'the end was to be below it in 90 of 100 cases, NULL where that was not known',
  method LowCardinality(String) COMMENT 'rhythm, or elapsed where there were less than 14 whole days to tell it from',
  whole_days UInt16 COMMENT 'days that it was told from',
  unpriced_calls Int64 COMMENT 'calls of the period without a price by then: they are in none of the amounts',
  made_at DateTime64(3, 'UTC') COMMENT 'when it was told, UTC'
)
SQL SECURITY DEFINER AS
SELECT day, scope, period, zone, period_start, period_end, currency, so_far, expected, low, high, method, whole_days,
  unpriced_calls, made_at
FROM forecasts_rows FINAL
ORDER BY scope, period, zone, currency, day
SETTINGS do_not_merge_across_partitions_select_final = 1
COMMENT 'What was expected by the end of each day, of everything together and of each budget that is foreseen, kept for a year.';
