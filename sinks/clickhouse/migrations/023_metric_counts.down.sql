-- Takes what the counters of metrics go on from: `costream migrate down` asks for --drop-data. They begin anew with the
-- next `up`.
DROP TABLE IF EXISTS metric_counts_rows;
