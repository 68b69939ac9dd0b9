-- Records of usage.events that were gone from Kafka before a worker read them: offsets, of which each was at most one
-- record. Written before anything beyond them is acknowledged, and never deleted: this is what is known of them.
-- Noticed again, it is the same row; accepted by a person, it stays and says why.
CREATE TABLE IF NOT EXISTS vanished_records (
  source LowCardinality(String),
  source_partition UInt16,
  offset_first UInt64,
  offset_last UInt64,
  noticed_at DateTime64(3, 'UTC'),
  consumer_group String,
  accepted UInt8 DEFAULT 0,
  accepted_reason String DEFAULT '',
  accepted_at Nullable(DateTime64(3, 'UTC'))
) ENGINE = ReplacingMergeTree(accepted)
ORDER BY (source, source_partition, offset_first, offset_last)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
