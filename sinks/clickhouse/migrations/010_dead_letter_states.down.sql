-- Takes what was decided: `costream migrate down` asks for --drop-data before it runs this.
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
  headers_sha256 String COMMENT 'SHA-256 of all headers, empty where all of them are kept'
)
SQL SECURITY DEFINER AS
SELECT
  source, source_partition, source_offset, received_at, kind, reason, request_id, key, value, headers, stored_at,
  value_bytes, value_sha256, key_bytes, key_sha256, headers_count, headers_bytes, headers_sha256
FROM dead_letters_rows FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1
COMMENT 'Records that were refused, each once.';

DROP VIEW IF EXISTS dead_letter_states;
DROP TABLE IF EXISTS dead_letter_states_rows;
