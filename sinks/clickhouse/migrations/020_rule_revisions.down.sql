DROP VIEW IF EXISTS rule_revisions;
DROP TABLE IF EXISTS rule_revisions_rows;
