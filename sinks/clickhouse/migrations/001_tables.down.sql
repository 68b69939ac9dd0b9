-- Takes every table and its rows: `costream migrate down` asks for --drop-data before it runs this.
DROP TABLE IF EXISTS removed_events;
DROP TABLE IF EXISTS alerts;
DROP TABLE IF EXISTS dead_letters;
DROP TABLE IF EXISTS ingest_ledger;
DROP TABLE IF EXISTS usage_user_daily;
DROP TABLE IF EXISTS usage_hourly;
DROP TABLE IF EXISTS usage_events;
