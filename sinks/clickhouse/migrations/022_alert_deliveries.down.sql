-- Takes the memory of who was told, and what was acknowledged: `costream migrate down` asks for --drop-data.
DROP VIEW IF EXISTS alert_acts;
DROP VIEW IF EXISTS alert_channels;
DROP VIEW IF EXISTS alert_deliveries;
DROP TABLE IF EXISTS alert_acts_rows;
DROP TABLE IF EXISTS alert_channels_rows;
DROP TABLE IF EXISTS alert_deliveries_rows;
