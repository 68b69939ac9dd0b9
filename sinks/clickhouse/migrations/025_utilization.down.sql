-- How busy servers were is forgotten. An event that said so and is sent again is a conflict then, since what is stored of
-- it no longer says the same.
CREATE OR REPLACE VIEW usage_events (
  occurred_at DateTime64(3, 'UTC') COMMENT 'when the call was made, UTC',
  request_id String COMMENT 'the id of the call: each is here once',
  provider LowCardinality(String) COMMENT 'who sells the call, such as openai',
  model LowCardinality(String) COMMENT 'the model or the product that was called',
  provider_sent LowCardinality(String) COMMENT 'the provider as the event says it',
  model_sent LowCardinality(String) COMMENT 'the model as the event says it',
  operation LowCardinality(String) COMMENT 'what was asked of it, such as chat or embeddings',
  feature LowCardinality(String) COMMENT 'the feature of the product that made the call',
  task_type LowCardinality(String) COMMENT 'the kind of task within the feature',
  team LowCardinality(String) COMMENT 'the team that owns the call',
  environment LowCardinality(String) COMMENT 'such as production or staging',
  user_id String COMMENT 'who the call was made for, as the event says it',
  session_id String COMMENT 'the session or conversation that the call is part of',
  service_tier LowCardinality(String) COMMENT 'the tier that served the call, as the event says it, such as flex or batch',
  inference_geo LowCardinality(String) COMMENT 'where the model ran, as the event says it',
  metadata String COMMENT 'JSON text of what else the service said of it: JSONExtractString(metadata, ''parent_id'')',
  status LowCardinality(String) COMMENT 'ok or error',
  error String COMMENT 'what failed, in the words of the service',
  duration_ms Nullable(UInt32) COMMENT 'milliseconds until the answer was complete, NULL where it was not reported',
  time_to_first_token_ms Nullable(UInt32) COMMENT 'milliseconds until the first token, NULL where it was not reported',
  input_tokens Nullable(UInt32) COMMENT 'tokens sent, cached ones included, NULL where they were not reported',
  output_tokens Nullable(UInt32) COMMENT 'tokens received, reasoning included, NULL where they were not reported',
  cache_read_tokens Nullable(UInt32) COMMENT 'of the input tokens: read from the cache of the provider',
  cache_write_tokens Nullable(UInt32) COMMENT 'of the input tokens: written to the cache of the provider',
  reasoning_tokens Nullable(UInt32) COMMENT 'of the output tokens: spent on reasoning',
  total_tokens Nullable(UInt64) COMMENT 'input and output tokens, NULL where one of them was not reported',
  quantities String COMMENT 'JSON text of every other unit and its amount as decimal text',
  usage_status LowCardinality(String) COMMENT 'whether the usage was reported, estimated or is missing',
  reported_cost_usd Nullable(Decimal(18, 12)) COMMENT 'USD as the service itself reported it',
  unit_prices String COMMENT 'JSON text of the prices that the service sent along, by unit',
  revenue_usd Nullable(Decimal(18, 12)) COMMENT 'USD of revenue that the service reported',
  cost_usd Nullable(Decimal(18, 12)) COMMENT 'USD, exact (NULL: unknown, which is never 0, and cost_reason says why)',
  cost_status LowCardinality(String) COMMENT 'priced, partial (cost_usd is what could be priced, and may be too high or too low) or unpriced',
  cost_reason LowCardinality(String) COMMENT 'a code: why the cost is not known or not sure (empty where nothing is in doubt)',
  cost_detail String COMMENT 'the same in words: which name, which unit, which rule',
  price_version LowCardinality(String) COMMENT 'the version of the price table that made cost_usd',
  price_source LowCardinality(String) COMMENT 'list (the price table), override or rate_card (an entry of a file), caller (unit_prices of the event), empty without a price',
  price_id LowCardinality(String) COMMENT 'the price in the view prices, empty without one and for calls stored before migration 013',
  price_rev UInt16 COMMENT 'the re-pricing that gave it its price (see repricings), 0 for none',
  source LowCardinality(String) COMMENT 'the topic it was read from, in one of its lives',
  source_partition UInt16 COMMENT 'the partition it was read from',
  source_offset UInt64 COMMENT 'the offset it was read from',
  received_at DateTime64(3, 'UTC') COMMENT 'when Kafka received it, UTC',
  stored_at DateTime64(3, 'UTC') COMMENT 'when it was stored, UTC'
)
SQL SECURITY DEFINER AS
SELECT
  occurred_at, request_id, provider, model,
  if(e.provider_sent = '', e.provider, e.provider_sent) AS provider_sent,
  if(e.model_sent = '', e.model, e.model_sent) AS model_sent,
  operation, feature, task_type, team, environment, user_id, session_id,
  service_tier, inference_geo, metadata, status, error, duration_ms, time_to_first_token_ms, input_tokens, output_tokens, cache_read_tokens,
  cache_write_tokens, reasoning_tokens, total_tokens, quantities, usage_status, reported_cost_usd, unit_prices,
  revenue_usd, cost_usd, cost_status, cost_reason, cost_detail, price_version, price_source, price_id, price_rev,
  source, source_partition, source_offset, received_at, stored_at
FROM usage_events_rows AS e FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1
COMMENT 'Single calls, each request_id once, kept for the retention of raw rows.';

-- These ask for the column, and the release before makes its own of those that it has.
DROP VIEW IF EXISTS utilization_hourly;
DROP VIEW IF EXISTS resource_usage_between;
DROP VIEW IF EXISTS resource_usage;
ALTER TABLE usage_events_rows DROP COLUMN IF EXISTS utilization;
-- These have no step of their own: they came with this one.
DROP VIEW IF EXISTS system_cost_summary_between;
DROP VIEW IF EXISTS data_quality_between;
DROP VIEW IF EXISTS data_quality;
DROP VIEW IF EXISTS reported_costs_between;
DROP VIEW IF EXISTS calls_between;
