-- Made by `make schemas` from templates/35_money.sql.jinja: edit that.
-- What money is worth, for joins: by the revision of own prices that is in force. Each holds from its day on, until the next.
CREATE OR REPLACE VIEW exchange_rates (
  currency String COMMENT 'three capital letters, such as KRW',
  first_day Date COMMENT 'the first day (UTC) that it holds for, 1970-01-01 for one without a date',
  per_usd Decimal(38, 12) COMMENT 'of the currency for one USD',
  source String COMMENT 'where the rate stands, and when it was read',
  revision UInt32 COMMENT 'the revision of own prices that has it, 0 for one that is shipped'
)
SQL SECURITY DEFINER AS
SELECT currency, first_day,
  argMax(x.per_usd, x.revision) AS per_usd,
  argMax(x.source, x.revision) AS source,
  max(x.revision) AS revision
FROM (
  SELECT toUInt32(0) AS revision, told.1 AS currency, toDate('1970-01-01') AS first_day,
    toDecimal128(told.2, 12) AS per_usd, told.3 AS source
  FROM (
    SELECT arrayJoin([
      ('EUR', '0.92', 'shipped with costream, without a date'),
      ('GBP', '0.79', 'shipped with costream, without a date'),
      ('JPY', '149.50', 'shipped with costream, without a date'),
      ('CNY', '7.24', 'shipped with costream, without a date'),
      ('USD', '1', 'one USD is one USD')]) AS told)
  UNION ALL
  SELECT revision, told.1 AS currency, told.2 AS first_day, told.3 AS per_usd, told.4 AS source
  FROM (
    SELECT revision, arrayJoin(exchange_rates) AS told
    FROM (
      SELECT revision, exchange_rates FROM price_revisions_rows FINAL
      ORDER BY revision DESC, published_at, publication LIMIT 1))
) AS x
GROUP BY currency, first_day
ORDER BY currency, first_day
COMMENT 'Exchange rates by day (UTC): each holds until the next one of its currency.';

CREATE OR REPLACE VIEW credit_prices (
  first_day Date COMMENT 'the first day (UTC) that it holds for, 1970-01-01 for one without a date',
  price Decimal(38, 12) COMMENT 'of one credit, in its currency',
  currency String COMMENT 'three capital letters, such as KRW',
  per_usd Nullable(Decimal(38, 12)) COMMENT 'of that currency for one USD on these days, NULL where that is not known',
  price_usd Nullable(Decimal(38, 12)) COMMENT 'of one credit in USD, NULL where no exchange rate is known'
)
SQL SECURITY DEFINER AS
WITH
  (SELECT arraySort(groupArray((told.1, told.2, told.3))) FROM (
    SELECT revision, arrayJoin(credit_prices) AS told
    FROM (
      SELECT revision, credit_prices FROM price_revisions_rows FINAL
      ORDER BY revision DESC, published_at, publication LIMIT 1))) AS prices,
  (SELECT arraySort(groupArray((first_day, currency, per_usd))) FROM exchange_rates) AS rates,
  arrayLast(p -> p.1 <= first_day, prices) AS of_day,
  arrayLast(r -> r.1 <= first_day AND r.2 = of_day.3, rates) AS rate_of_day
SELECT
  first_day,
  of_day.2 AS price,
  of_day.3 AS currency,
  nullIf(rate_of_day.3, 0) AS per_usd,
  toDecimal128(round(toDecimal256(price, 24) / per_usd, 12), 12) AS price_usd
FROM (
  SELECT arrayJoin(arrayDistinct(arrayConcat(arrayMap(p -> p.1, prices), arrayMap(r -> r.1, rates)))) AS first_day)
WHERE currency != ''
ORDER BY first_day
COMMENT 'What one credit is sold for, by day (UTC): each holds until the next.';

CREATE OR REPLACE VIEW feature_credits (
  feature String COMMENT 'the feature of the product that made the call',
  first_day Date COMMENT 'the first day (UTC) that it holds for, 1970-01-01 for one without a date',
  credits Nullable(Decimal(38, 12)) COMMENT 'credits that a call which did not fail is sold for, NULL from where it has none any more'
)
SQL SECURITY DEFINER AS
SELECT told.1 AS feature, told.2 AS first_day, told.3 AS credits
FROM (
    SELECT revision, arrayJoin(feature_credits) AS told
    FROM (
      SELECT revision, feature_credits FROM price_revisions_rows FINAL
      ORDER BY revision DESC, published_at, publication LIMIT 1))
ORDER BY feature, first_day
COMMENT 'What features are sold for in credits, by day (UTC): each holds until the next one of its feature.';
