-- Made by `make schemas` from templates/68_budgets.sql.jinja: edit that.
-- Budgets and limits: what is judged by, and what is spent.
CREATE OR REPLACE VIEW budget_sums (
  spending String COMMENT 'a digest of the sum, by which budget_spend names it',
  scope Array(String) COMMENT 'what tells one subject from another, such as user, empty for everything together',
  only_words Array(String) COMMENT 'of which only some values count, such as team',
  only_values Array(Array(String)) COMMENT 'those values, of the word at the same place',
  period LowCardinality(String) COMMENT 'hour, day, month or session',
  zone LowCardinality(String) COMMENT 'by whose clocks its periods begin',
  is_control UInt8 COMMENT '1 for the control total: every call by day, by which it is told whether the others are whole',
  whole_from Date COMMENT 'the first day (UTC) from which on every call is in it'
)
SQL SECURITY DEFINER AS
SELECT spending, scope, only_words, only_values, period, zone, is_control, whole_from
FROM budget_sums_rows FINAL
WHERE in_force
ORDER BY is_control, spending
COMMENT 'What is added up for budgets now. Two budgets that differ in amounts alone share one sum.';

CREATE OR REPLACE VIEW budgets (
  budget String COMMENT 'the name of the budget or of the limit',
  kind LowCardinality(String) COMMENT 'budget (each step that is reached is told) or limit (what is passed)',
  scope Array(String) COMMENT 'what tells one subject from another, such as user, empty for everything together',
  period LowCardinality(String) COMMENT 'hour, day, month or session',
  zone LowCardinality(String) COMMENT 'by whose clocks its periods begin',
  amount Decimal(38, 12) COMMENT 'what may be spent in a period',
  currency LowCardinality(String) COMMENT 'of the amount, such as KRW',
  step_amounts Array(Decimal(38, 12)) COMMENT 'the amounts that are told, the lowest first',
  step_levels Array(String) COMMENT 'the level of each',
  metric_name LowCardinality(String) COMMENT 'of its alerts',
  spending String COMMENT 'the sum in budget_spend that it is judged by'
)
SQL SECURITY DEFINER AS
SELECT b.name AS budget, b.kind AS kind, s.scope AS scope, s.period AS period, s.zone AS zone, b.amount AS amount,
  b.currency AS currency, b.step_amounts AS step_amounts, b.step_levels AS step_levels, b.metric_name AS metric_name,
  b.spending AS spending
FROM (SELECT * FROM budgets_rows FINAL WHERE in_force) AS b
INNER JOIN budget_sums AS s ON s.spending = b.spending
ORDER BY budget
COMMENT 'The budgets and limits that alerts are raised by: those of the rules in force that are on.';

CREATE OR REPLACE VIEW budget_spend (
  spending String COMMENT 'the sum, as budget_sums has it',
  subject String COMMENT 'whose spending, such as user=ann, empty for everything together',
  period_start DateTime('UTC') COMMENT 'the first moment of the period, UTC (2000-01-01 for a session)',
  period_end DateTime('UTC') COMMENT 'the first moment after it, UTC (2100-01-01 for a session)',
  day Date COMMENT 'the day, UTC',
  calls Int64 COMMENT 'calls, each request_id once',
  unpriced_calls Int64 COMMENT 'of the calls: those without a known price, which have no part in cost_usd',
  cost_usd Nullable(Decimal(38, 12)) COMMENT 'USD of the priced calls, exact, NULL where no call has a price'
)
SQL SECURITY DEFINER AS
SELECT toString(r.spending) AS spending, subject, period_start, period_end, day,
  sum(r.calls) AS calls,
  sum(r.unpriced_calls) AS unpriced_calls,
  if(calls > unpriced_calls, sum(r.cost_usd), NULL) AS cost_usd
FROM budget_spend_rows AS r FINAL
INNER JOIN (SELECT spending, whole_from FROM budget_sums_rows FINAL WHERE in_force AND NOT is_control) AS s
  ON s.spending = r.spending
WHERE r.day >= s.whole_from
GROUP BY spending, subject, period_start, period_end, day
SETTINGS do_not_merge_across_partitions_select_final = 1
COMMENT 'What each subject spent in each period, by day (UTC) since its sum is whole, kept for a year.';

-- A period that is running has begun 32 days ago at the most. A session is one that had a call today or yesterday.
CREATE OR REPLACE VIEW budget_status (
  budget String COMMENT 'the name of the budget or of the limit',
  kind LowCardinality(String) COMMENT 'budget (each step that is reached is told) or limit (what is passed)',
  subject String COMMENT 'whose spending, such as user=ann, empty for everything together',
  period LowCardinality(String) COMMENT 'hour, day, month or session',
  zone LowCardinality(String) COMMENT 'by whose clocks its periods begin',
  period_start Nullable(DateTime('UTC')) COMMENT 'the first moment of the period, UTC, NULL for a session',
  period_end Nullable(DateTime('UTC')) COMMENT 'the first moment after it, UTC, NULL for a session',
  calls Int64 COMMENT 'calls, each request_id once',
  unpriced_calls Int64 COMMENT 'of the calls: those without a known price, which have no part in cost_usd',
  currency LowCardinality(String) COMMENT 'of spent, amount and projected',
  spent Nullable(Decimal(38, 12)) COMMENT 'in that currency, NULL where a day of it has no exchange rate',
  amount Decimal(38, 12) COMMENT 'what may be spent in a period',
  ratio Nullable(Decimal(38, 4)) COMMENT 'spent in proportion to amount, cut and never rounded up',
  level LowCardinality(String) COMMENT 'of the highest step that is crossed, empty where none is',
  projected Nullable(Decimal(38, 12)) COMMENT 'of the whole period if it goes on as it began, NULL before a twentieth of it is over and for a session'
)
SQL SECURITY DEFINER AS
WITH
  (SELECT groupArray((currency, first_day, per_usd)) FROM
    (SELECT currency, first_day, per_usd FROM exchange_rates ORDER BY first_day)) AS rates,
  now('UTC') AS moment
SELECT
  budget, kind, subject, period, zone,
  if(is_session, NULL, p.period_start) AS period_start,
  if(is_session, NULL, p.period_end) AS period_end,
  p.calls AS calls, p.unpriced_calls AS unpriced_calls, currency, p.spent AS spent, amount,
  toDecimal128(trunc(toDecimal256(p.spent, 24) / amount, 4), 4) AS ratio,
  if(steps_crossed = 0, '', step_levels[steps_crossed]) AS level,
  if(is_session OR seconds_over * 20 < seconds_in_all, NULL,
    toDecimal128(round(toDecimal256(p.spent, 12) * seconds_in_all / seconds_over, 12), 12)) AS projected
FROM (
  SELECT budget, kind, period, zone, currency, amount, step_levels, subject, period_start, period_end,
    period = 'session' AS is_session,
    sum(d.calls) AS calls, sum(d.unpriced_calls) AS unpriced_calls,
    if(countIf(d.rate = 0 AND d.cost_usd != 0) > 0, NULL,
      toDecimal128(round(sum(toDecimal256(d.cost_usd, 12) * d.rate), 12), 12)) AS spent,
    if(kind = 'limit', arrayCount(a -> spent > a, step_amounts),
      arrayCount(a -> spent >= a, step_amounts)) AS steps_crossed,
    toInt64(dateDiff('second', period_start, moment)) AS seconds_over,
    toInt64(dateDiff('second', period_start, period_end)) AS seconds_in_all
  FROM (
    SELECT b.budget AS budget, b.kind AS kind, b.period AS period, b.zone AS zone, b.currency AS currency,
      b.amount AS amount, b.step_amounts AS step_amounts, b.step_levels AS step_levels,
      s.subject AS subject, s.period_start AS period_start, s.period_end AS period_end,
      s.calls AS calls, s.unpriced_calls AS unpriced_calls, s.cost_usd AS cost_usd,
      arrayLast(r -> r.1 = b.currency AND r.2 <= s.day, rates).3 AS rate
    FROM budgets AS b
    INNER JOIN (
      SELECT spending, subject, period_start, period_end, day,
        sum(w.calls) AS calls, sum(w.unpriced_calls) AS unpriced_calls, sum(w.cost_usd) AS cost_usd
      FROM budget_spend_rows AS w FINAL
      WHERE period_start <= moment AND period_end > moment
        AND (day >= toDate(moment) - 32 AND spending NOT IN (SELECT spending FROM budget_sums_rows WHERE period = 'session')
          OR (spending, subject) IN (
            SELECT spending, subject FROM budget_spend_rows
            WHERE day >= toDate(moment) - 1 AND spending IN (SELECT spending FROM budget_sums_rows WHERE period = 'session')))
      GROUP BY spending, subject, period_start, period_end, day) AS s ON s.spending = b.spending) AS d
  GROUP BY budget, kind, period, zone, currency, amount, step_amounts, step_levels, subject, period_start, period_end
) AS p
ORDER BY budget, ratio DESC NULLS LAST, subject
SETTINGS do_not_merge_across_partitions_select_final = 1
COMMENT 'Where each budget and limit stands now, a row for each subject that has spent anything in the running period.';
