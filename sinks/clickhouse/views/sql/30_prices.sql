-- Made by `make schemas` from templates/30_prices.sql.jinja: edit that.
-- What calls were priced by, and what changed their prices.
CREATE OR REPLACE VIEW prices (
  price_id String COMMENT 'names the content: another price has another one',
  price_version String COMMENT 'the version of the price table, and the entries of files that stand over it',
  price String COMMENT 'JSON text of the price: USD for one of each unit, by input tokens, with its doubts and sources',
  stored_at DateTime64(3, 'UTC') COMMENT 'when it was stored, UTC: before the first call that names it'
)
SQL SECURITY DEFINER AS
SELECT price_id, any(p.price_version) AS price_version, argMin(p.price, p.stored_at) AS price,
  min(p.stored_at) AS stored_at
FROM prices_rows AS p
GROUP BY price_id
COMMENT 'What calls were priced by, each price once and whole: price_id of usage_events leads here.';

CREATE OR REPLACE VIEW price_revisions (
  revision UInt32 COMMENT 'the number: the greatest is in force, for calls that are stored from then on',
  published_at DateTime64(6, 'UTC') COMMENT 'when it was published, UTC',
  published_by String COMMENT 'who published it, as they said it',
  note String COMMENT 'why, as they said it',
  build String COMMENT 'the price table of the build that checked the files',
  file_names Array(String) COMMENT 'the files of own prices that it is made of, in their order',
  digest String COMMENT 'of the files: the same files have the same one'
)
SQL SECURITY DEFINER AS
SELECT
  revision, published_at, published_by, note, build, file_names, digest
FROM price_revisions_rows FINAL
ORDER BY revision, published_at, publication
LIMIT 1 BY revision
COMMENT 'Revisions of own prices, each number once. Their texts: costream prices show-revision NUMBER.';

CREATE OR REPLACE VIEW repricings (
  repricing UInt16 COMMENT 'its number, which its calls have as price_rev',
  begun_at DateTime64(3, 'UTC') COMMENT 'when it began, UTC',
  ended_at Nullable(DateTime64(3, 'UTC')) COMMENT 'when it ended, UTC (NULL while it is under way)',
  state LowCardinality(String) COMMENT 'under way, finished, or broken off: then what it had changed by then stands',
  begun_by String COMMENT 'who began it, as they said it',
  reason String COMMENT 'why, as they said it',
  span_start DateTime64(3, 'UTC') COMMENT 'of calls from this moment on, UTC',
  span_end DateTime64(3, 'UTC') COMMENT 'until before this moment, UTC',
  provider String COMMENT 'of this provider alone, empty for all',
  model String COMMENT 'of this model alone, empty for all',
  feature String COMMENT 'of this feature alone, empty for all',
  price_revision UInt32 COMMENT 'the revision of own prices that it went by, 0 for none',
  build String COMMENT 'the price table that it went by'
)
SQL SECURITY DEFINER AS
SELECT
  repricing, begun_at, ended_at, state, begun_by, reason, span_start, span_end, provider, model, feature,
  price_revision, build
FROM repricings_rows FINAL
COMMENT 'Re-pricings of stored calls (costream reprice), each once. What they changed is in cost_adjustments.';

CREATE OR REPLACE VIEW cost_adjustments (
  hour DateTime('UTC') COMMENT 'the hour, by its first moment, UTC',
  provider LowCardinality(String) COMMENT 'who sells the calls, such as openai',
  model LowCardinality(String) COMMENT 'the model or the product that was called',
  feature LowCardinality(String) COMMENT 'the feature of the product that made the calls',
  repricing UInt16 COMMENT 'the re-pricing that changed them',
  calls UInt64 COMMENT 'calls that it changed: their cost, or how sure it is, or the price that it is named by',
  cost_usd_before Nullable(Decimal(38, 12)) COMMENT 'USD of these calls before it, NULL where no cost was known',
  cost_usd Nullable(Decimal(38, 12)) COMMENT 'USD of these calls after it, NULL where no cost is known',
  difference_usd Decimal(38, 12) COMMENT 'what it added to the costs, in USD: an unknown cost adds nothing',
  unpriced_calls_before UInt64 COMMENT 'of the calls: those without a known cost before it',
  unpriced_calls UInt64 COMMENT 'of the calls: those without a known cost after it',
  partial_calls_before UInt64 COMMENT 'of the calls: those whose cost was not sure before it',
  partial_calls UInt64 COMMENT 'of the calls: those whose cost is not sure after it',
  adjusted_at DateTime64(3, 'UTC') COMMENT 'when they were changed, UTC',
  adjusted_by String COMMENT 'who began the re-pricing, as they said it',
  reason String COMMENT 'why, as they said it'
)
SQL SECURITY DEFINER AS
SELECT
  a.hour AS hour, a.provider AS provider, a.model AS model, a.feature AS feature, a.repricing AS repricing,
  a.calls_changed AS calls,
  if(a.calls_changed > a.unpriced_before, a.usd_before, NULL) AS cost_usd_before,
  if(a.calls_changed > a.unpriced_after, a.usd_after, NULL) AS cost_usd,
  a.usd_after - a.usd_before AS difference_usd,
  a.unpriced_before AS unpriced_calls_before,
  a.unpriced_after AS unpriced_calls,
  a.partial_before AS partial_calls_before,
  a.partial_after AS partial_calls,
  a.changed_at AS adjusted_at,
  r.begun_by AS adjusted_by,
  r.reason AS reason
FROM (
  SELECT hour, provider, model, feature, repricing,
    sum(c.calls) AS calls_changed, sum(c.cost_usd_before) AS usd_before, sum(c.cost_usd) AS usd_after,
    sum(c.unpriced_calls_before) AS unpriced_before, sum(c.unpriced_calls) AS unpriced_after,
    sum(c.partial_calls_before) AS partial_before, sum(c.partial_calls) AS partial_after,
    max(c.adjusted_at) AS changed_at
  FROM cost_adjustments_rows AS c FINAL
  WHERE c.state = 'applied'
  GROUP BY hour, provider, model, feature, repricing) AS a
LEFT ANY JOIN (SELECT * FROM repricings_rows FINAL) AS r ON r.repricing = a.repricing
COMMENT 'What re-pricings changed: old and new cost of the calls of an hour, model and feature. Kept for a year.';
