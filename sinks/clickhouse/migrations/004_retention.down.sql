DROP TABLE IF EXISTS retention_changes;
