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
SETTINGS ttl_only_drop_parts = 0, merge_with_ttl_timeout = 43200, fsync_after_insert = 1, fsync_part_directory = 1;

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
) AS
SELECT
  source, source_partition, source_offset, received_at, state, reason, decided_at, decided_by,
  sent_topic, sent_partition, sent_offset
FROM dead_letter_states_rows FINAL
COMMENT 'What a person has decided of a refused record, the last decision of each. One that is not here is open.';
