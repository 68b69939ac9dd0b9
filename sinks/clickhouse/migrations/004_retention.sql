-- Since when raw rows are kept for how long. What expired under a shorter retention does not come back under a longer
-- one, and the audit must not take it for lost. No row: 90 days, as migration 001 made the tables.
CREATE TABLE IF NOT EXISTS retention_changes (
  changed_at DateTime64(3, 'UTC'),
  days UInt32
) ENGINE = ReplacingMergeTree
ORDER BY changed_at
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
