-- Made by `make schemas` from templates/67_rules.sql.jinja: edit that.
-- What workers judge by.
CREATE OR REPLACE VIEW rule_revisions (
  revision UInt32 COMMENT 'the number: the greatest is in force',
  published_at DateTime64(6, 'UTC') COMMENT 'when it was published, UTC',
  published_by String COMMENT 'who published it, as they said it',
  note String COMMENT 'why, as they said it',
  build String COMMENT 'the build that checked the files',
  file_names Array(String) COMMENT 'the files of own rules that it is made of, in their order',
  digest String COMMENT 'of the files: the same files have the same one'
)
SQL SECURITY DEFINER AS
SELECT
  revision, published_at, published_by, note, build, file_names, digest
FROM rule_revisions_rows FINAL
ORDER BY revision, published_at, publication
LIMIT 1 BY revision
COMMENT 'Revisions of own rules, each number once. Their texts: costream rules show-revision NUMBER.';
