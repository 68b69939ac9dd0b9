ALTER TABLE usage_events COMMENT COLUMN price_rev 'how often it was priced anew';
DROP VIEW IF EXISTS cost_adjustments;
DROP VIEW IF EXISTS repricings;
DROP TABLE IF EXISTS correction_claims_rows;
DROP TABLE IF EXISTS cost_adjustments_rows;
DROP TABLE IF EXISTS repricings_rows;
