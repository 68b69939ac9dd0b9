-- Made by `make schemas` from templates/72_deliveries.sql.jinja: edit that.
-- Who was told.
CREATE OR REPLACE VIEW alert_deliveries (
  channel LowCardinality(String) COMMENT 'as the file of rules names it, with a digest where it has several receivers',
  alert_id String COMMENT 'the alert',
  revision UInt32 COMMENT 'the revision that was told',
  reminder UInt16 COMMENT '0 for the revision itself, 1, 2, 3 and so on where it was told again since it still stands',
  outcome LowCardinality(String) COMMENT 'delivered, given up, or failed: it is tried again, or a later revision is told in its place',
  attempts UInt64 COMMENT 'how often it was tried',
  first_at DateTime64(3, 'UTC') COMMENT 'when it was tried first, UTC',
  last_at DateTime64(3, 'UTC') COMMENT 'when it was tried last, UTC',
  reason String COMMENT 'why the last attempt failed, or which receivers refused it',
  rule LowCardinality(String) COMMENT 'the rule that raised the alert',
  level LowCardinality(String) COMMENT 'info, warning, critical or emergency',
  scope String COMMENT 'what was judged'
)
SQL SECURITY DEFINER AS
SELECT
  channel, alert_id, revision, reminder, argMax(d.outcome, (d.attempt, d.at)) AS outcome, count() AS attempts,
  min(d.at) AS first_at, max(d.at) AS last_at, argMax(d.reason, (d.attempt, d.at)) AS reason, any(d.rule) AS rule,
  any(d.level) AS level, any(d.scope) AS scope
FROM alert_deliveries_rows AS d FINAL
GROUP BY channel, alert_id, revision, reminder
SETTINGS do_not_merge_across_partitions_select_final = 1
COMMENT 'What was told to people, one row for each revision or reminder and channel, kept for a year.';

CREATE OR REPLACE VIEW alert_channels (
  channel String COMMENT 'as the file of rules names it, with a digest where it has several receivers',
  is_on UInt8 COMMENT '1 while it is told alerts',
  since DateTime64(3, 'UTC') COMMENT 'from when on it is so, UTC'
)
SQL SECURITY DEFINER AS
SELECT channel, is_on, since FROM alert_channels_rows FINAL
COMMENT 'The channels that alerts are told on, those that are off too.';

CREATE OR REPLACE VIEW alert_acts (
  act_id String COMMENT 'one act; the same again took the place of the one before',
  kind LowCardinality(String) COMMENT 'ack: the alert is seen to; silence: nobody is told of such alerts',
  alert_id String COMMENT 'the alert that is seen to, empty for a silence',
  rule String COMMENT 'of a silence: the rule, empty for any',
  scope String COMMENT 'of a silence: what is judged, empty for any',
  until DateTime64(3, 'UTC') COMMENT 'when it ends, UTC',
  acted_by String COMMENT 'who did it',
  note String COMMENT 'why, in words',
  at DateTime64(3, 'UTC') COMMENT 'when it was done, UTC'
)
SQL SECURITY DEFINER AS
SELECT act_id, kind, alert_id, rule, scope, until, acted_by, note, at FROM alert_acts_rows FINAL
COMMENT 'What people have done about alerts, kept for a year after its end.';
