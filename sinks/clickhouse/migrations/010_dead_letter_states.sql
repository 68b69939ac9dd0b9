-- What a person has decided of a refused record. One without a row is open. Of several rows the last decision holds; they
-- expire with the record that they are about, by its received_at.
CREATE TABLE IF NOT EXISTS dead_letter_states_rows (
  source LowCardinality(String),
  source_partition UInt16,
  source_offset UInt64,
  received_at DateTime64(3, 'UTC'),
  state LowCardinality(String),             -- replayed | given_up | open (again)
  reason String CODEC(ZSTD(1)),             -- as the person gave it
  decided_at DateTime64(3, 'UTC'),
  decided_by String,                        -- a name, or empty
  sent_topic LowCardinality(String),        -- where a replayed one went; empty for the others
  sent_partition Nullable(UInt16),
  sent_offset Nullable(UInt64)              -- NULL where Kafka has not told it
) ENGINE = ReplacingMergeTree(decided_at)
PARTITION BY toMonday(received_at)
ORDER BY (source, source_partition, source_offset)
TTL toDateTime(received_at) + INTERVAL 90 DAY
SETTINGS ttl_only_drop_parts = 0, merge_with_ttl_timeout = 43200, fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'Stored rows, superseded ones included: read dead_letter_states';

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
