-- What the counters of metrics go on from: one row, which is replaced as a whole. Of each partition the offsets below
-- `first` are counted, so counts and offsets change at once or not at all.
CREATE TABLE IF NOT EXISTS metric_counts_rows (
  exporter LowCardinality(String),
  version UInt64,                           -- one more with each that is written
  counted_at DateTime64(3, 'UTC'),
  sources Array(String),                    -- the topic of a partition, in one of its lives
  partitions Array(UInt16),                 -- at the same place
  firsts Array(UInt64),                     -- at the same place: the first offset that is not counted yet
  counts String CODEC(ZSTD(3))              -- JSON text of the series, empty for none
) ENGINE = ReplacingMergeTree(version)
ORDER BY exporter
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- What was stored before is not counted: 90 days of calls would have to be read for it.
INSERT INTO metric_counts_rows (exporter, version, counted_at, sources, partitions, firsts, counts)
SELECT 'usage', 1, now64(3), groupArray(source), groupArray(source_partition), groupArray(last + 1), ''
FROM (
  SELECT source, source_partition, max(version) AS last FROM ingest_ledger_rows
  WHERE (SELECT count() FROM metric_counts_rows) = 0
  GROUP BY source, source_partition)
HAVING count() > 0;
