-- Who was told: every attempt to send an alert on a channel.
CREATE TABLE IF NOT EXISTS alert_deliveries_rows (
  channel LowCardinality(String),           -- as the file of rules names it, with a digest where it has several receivers
  alert_id String,
  revision UInt32,
  reminder UInt16,                          -- 0: the revision itself
  attempt UInt16,
  at DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
  outcome LowCardinality(String),           -- delivered | failed | given up
  reason String CODEC(ZSTD(1)),
  rule LowCardinality(String),
  level LowCardinality(String),
  scope String CODEC(ZSTD(1))
) ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(at)
ORDER BY (channel, alert_id, revision, reminder, attempt, at)
TTL toDateTime(at) + INTERVAL 1 YEAR
SETTINGS ttl_only_drop_parts = 1, fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'Stored rows: read alert_deliveries';

-- Since when a channel is on. It is told nothing from before.
CREATE TABLE IF NOT EXISTS alert_channels_rows (
  channel String,
  is_on UInt8,
  since DateTime64(3, 'UTC')
) ENGINE = ReplacingMergeTree(since)
ORDER BY channel
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'Stored rows, superseded ones included: read alert_channels';

-- What people have done about alerts: one is seen to, or nobody is to be told of some for a while.
CREATE TABLE IF NOT EXISTS alert_acts_rows (
  act_id String,
  kind LowCardinality(String),              -- ack | silence
  alert_id String,                          -- of an ack
  rule String,                              -- of a silence, empty for any
  scope String,                             -- likewise
  until DateTime64(3, 'UTC'),
  acted_by String,
  note String,
  at DateTime64(3, 'UTC')
) ENGINE = ReplacingMergeTree(at)
ORDER BY act_id
TTL toDateTime(until) + INTERVAL 1 YEAR
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'Stored rows, superseded ones included: read alert_acts';
