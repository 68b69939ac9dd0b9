-- Rules (budgets, limits, spikes) that were published, as numbered revisions. Of two publications that took one number the
-- earlier one has it, by the clock of the warehouse: the other is void.
CREATE TABLE IF NOT EXISTS rule_revisions_rows (
  revision UInt32,
  publication String,                       -- one attempt to publish
  published_at DateTime64(6, 'UTC') DEFAULT now64(6),
  published_by String,
  note String,
  build String,                             -- that checked the files
  file_names Array(String),
  file_texts Array(String) CODEC(ZSTD(3)),
  digest String                             -- of the files, names and texts
) ENGINE = ReplacingMergeTree
ORDER BY (revision, publication)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
COMMENT 'Stored rows, void ones included: read rule_revisions';
