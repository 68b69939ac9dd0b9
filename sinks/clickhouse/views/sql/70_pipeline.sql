-- Made by `make schemas` from templates/70_pipeline.sql.jinja: edit that.
-- What became of every record, and what was told of it.
CREATE OR REPLACE VIEW dead_letter_states (
  source LowCardinality(String) COMMENT 'the topic the record was read from, in one of its lives',
  source_partition UInt16 COMMENT 'the partition it was read from',
  source_offset UInt64 COMMENT 'the offset it was read from',
  received_at DateTime64(3, 'UTC') COMMENT 'when Kafka received it, UTC',
  state LowCardinality(String) COMMENT 'replayed, given_up, or open where it was opened again',
  reason String COMMENT 'why, as the person gave it',
  decided_at DateTime64(3, 'UTC') COMMENT 'when it was decided, UTC',
  decided_by String COMMENT 'who decided it, empty where nobody was named',
  sent_topic LowCardinality(String) COMMENT 'the topic that a replayed record was sent to, else empty',
  sent_partition Nullable(UInt16) COMMENT 'the partition that it was sent to',
  sent_offset Nullable(UInt64) COMMENT 'the offset that it has there'
)
SQL SECURITY DEFINER AS
SELECT
  source, source_partition, source_offset, received_at, state, reason, decided_at, decided_by,
  sent_topic, sent_partition, sent_offset
FROM dead_letter_states_rows FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1
COMMENT 'What a person has decided of a refused record, the last decision of each. One that is not here is open.';

CREATE OR REPLACE VIEW dead_letters (
  source LowCardinality(String) COMMENT 'the topic the record was read from, in one of its lives',
  source_partition UInt16 COMMENT 'the partition it was read from',
  source_offset UInt64 COMMENT 'the offset it was read from',
  received_at DateTime64(3, 'UTC') COMMENT 'when Kafka received it, UTC',
  kind LowCardinality(String) COMMENT 'malformed, invalid, conflict, too_early, too_old or another kind',
  reason String COMMENT 'which field, which value, which rule',
  request_id String COMMENT 'its request_id, empty where it could not be read',
  key String COMMENT 'the key of the record, or its head',
  value String COMMENT 'the bytes of the record, or their head',
  headers String COMMENT 'JSON text of [[name, base64 of the value], ...]',
  stored_at DateTime64(3, 'UTC') COMMENT 'when it was stored, UTC',
  value_bytes UInt64 COMMENT 'length of the whole value',
  value_sha256 String COMMENT 'SHA-256 of the whole value, empty where all of it is kept',
  key_bytes UInt64 COMMENT 'length of the whole key',
  key_sha256 String COMMENT 'SHA-256 of the whole key, empty where all of it is kept',
  headers_count UInt64 COMMENT 'how many headers there were',
  headers_bytes UInt64 COMMENT 'length of all headers',
  headers_sha256 String COMMENT 'SHA-256 of all headers, empty where all of them are kept',
  state LowCardinality(String) COMMENT 'open, replayed or given_up',
  state_reason String COMMENT 'why, as the person who decided it gave it',
  decided_at Nullable(DateTime64(3, 'UTC')) COMMENT 'when that was decided, UTC, NULL where nothing was',
  decided_by String COMMENT 'who decided it, empty where nobody was named',
  sent_topic LowCardinality(String) COMMENT 'the topic that a replayed record was sent to, else empty',
  sent_partition Nullable(UInt16) COMMENT 'the partition that it was sent to',
  sent_offset Nullable(UInt64) COMMENT 'the offset that it has there'
)
SQL SECURITY DEFINER AS
SELECT
  l.source AS source, l.source_partition AS source_partition, l.source_offset AS source_offset,
  l.received_at AS received_at, l.kind AS kind, l.reason AS reason, l.request_id AS request_id, l.key AS key,
  l.value AS value, l.headers AS headers, l.stored_at AS stored_at, l.value_bytes AS value_bytes,
  l.value_sha256 AS value_sha256, l.key_bytes AS key_bytes, l.key_sha256 AS key_sha256,
  l.headers_count AS headers_count, l.headers_bytes AS headers_bytes, l.headers_sha256 AS headers_sha256,
  if(d.state = '', 'open', d.state) AS state, d.reason AS state_reason,
  if(d.state = '', NULL, d.decided_at) AS decided_at, d.decided_by AS decided_by,
  d.sent_topic AS sent_topic, d.sent_partition AS sent_partition, d.sent_offset AS sent_offset
FROM (SELECT * FROM dead_letters_rows FINAL) AS l
LEFT JOIN dead_letter_states AS d USING (source, source_partition, source_offset)
SETTINGS do_not_merge_across_partitions_select_final = 1, join_use_nulls = 0
COMMENT 'Records that were refused, each once, with what a person has decided of it.';

CREATE OR REPLACE VIEW alerts (
  alert_id String COMMENT 'the alert',
  revision UInt32 COMMENT 'its revision, from 1',
  status LowCardinality(String) COMMENT 'open, updated, cleared or retracted',
  level LowCardinality(String) COMMENT 'info, warning, critical or emergency',
  rule LowCardinality(String) COMMENT 'the rule that raised it',
  metric_name LowCardinality(String) COMMENT 'the figure that the rule judges',
  scope String COMMENT 'what was judged, such as system or feature=chatbot',
  user_id Nullable(String) COMMENT 'the user it is about, if it is about one',
  title String COMMENT 'one line',
  message String COMMENT 'what happened, in words',
  window_start DateTime('UTC') COMMENT 'from when, UTC',
  window_end DateTime('UTC') COMMENT 'until when, UTC',
  current_value Decimal(38, 12) COMMENT 'the figure',
  threshold_value Decimal(38, 12) COMMENT 'the threshold that it crossed',
  expected_value Nullable(Decimal(38, 12)) COMMENT 'what was to be expected',
  ratio Nullable(Decimal(18, 4)) COMMENT 'figure in proportion to what was to be expected',
  unpriced_calls Int64 COMMENT 'calls of the window without a known price',
  drivers String COMMENT 'JSON text of what drove it',
  metadata String COMMENT 'JSON text of what else is known',
  timestamp DateTime64(3, 'UTC') COMMENT 'when this revision was decided, UTC',
  stored_at DateTime64(3, 'UTC') COMMENT 'when it was stored, UTC'
)
SQL SECURITY DEFINER AS
SELECT
  alert_id, revision, status, level, rule, metric_name, scope, user_id, title, message, window_start, window_end,
  current_value, threshold_value, expected_value, ratio, unpriced_calls, drivers, metadata, timestamp, stored_at
FROM alerts_rows FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1
COMMENT 'Alerts, one row a revision, kept for a year.';

CREATE OR REPLACE VIEW ingest_ledger (
  source LowCardinality(String) COMMENT 'the topic, in one of its lives',
  source_partition UInt16 COMMENT 'the partition',
  offset_block UInt64 COMMENT 'the block of 65,536 offsets',
  offset_first UInt64 COMMENT 'the first offset of it that was read',
  received UInt64 COMMENT 'records read = stored + duplicates + dead_lettered + forwarded',
  stored UInt64 COMMENT 'records stored as calls',
  duplicates UInt64 COMMENT 'records with an id that was counted before',
  dead_lettered UInt64 COMMENT 'records refused',
  forwarded UInt64 COMMENT 'records sent on to the partition of their id',
  version UInt64 COMMENT 'the last offset that this row has counted'
)
SQL SECURITY DEFINER AS
SELECT
  source, source_partition, offset_block, offset_first, received, stored, duplicates, dead_lettered, forwarded,
  version
FROM ingest_ledger_rows FINAL
COMMENT 'Where every record of a partition went, in blocks of 65,536 offsets.';

CREATE OR REPLACE VIEW removed_events (
  occurred_at DateTime64(3, 'UTC') COMMENT 'when the call was made, UTC',
  request_id String COMMENT 'the id of the call',
  source LowCardinality(String) COMMENT 'the topic, in one of its lives',
  source_partition UInt16 COMMENT 'the partition',
  source_offset UInt64 COMMENT 'the offset',
  event String COMMENT 'the removed row as JSON text',
  reason String COMMENT 'why it was removed',
  removed_at DateTime64(3, 'UTC') COMMENT 'when it was removed, UTC'
)
SQL SECURITY DEFINER AS
SELECT
  occurred_at, request_id, source, source_partition, source_offset, event, reason, removed_at
FROM removed_events_rows FINAL
COMMENT 'Rows that an audit took out of usage_events, whole.';

CREATE OR REPLACE VIEW vanished_records (
  source LowCardinality(String) COMMENT 'the topic, in one of its lives',
  source_partition UInt16 COMMENT 'the partition',
  offset_first UInt64 COMMENT 'the first of the offsets',
  offset_last UInt64 COMMENT 'the last of the offsets',
  noticed_at DateTime64(3, 'UTC') COMMENT 'when it was noticed, UTC',
  consumer_group String COMMENT 'the group that noticed it',
  accepted UInt8 COMMENT '1 where a person knows of it',
  accepted_reason String COMMENT 'what that person says of it',
  accepted_at Nullable(DateTime64(3, 'UTC')) COMMENT 'when, UTC'
)
SQL SECURITY DEFINER AS
SELECT
  source, source_partition, offset_first, offset_last, noticed_at, consumer_group, accepted, accepted_reason,
  accepted_at
FROM vanished_records_rows FINAL
COMMENT 'Records that were gone from Kafka before they were read: offsets, each of which was at most one record.';
