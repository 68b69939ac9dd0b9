-- Takes the memory of who was told: `costream migrate down` asks for --drop-data.
DROP VIEW IF EXISTS alert_channels;
DROP VIEW IF EXISTS alert_deliveries;
DROP TABLE IF EXISTS alert_channels_rows;
DROP TABLE IF EXISTS alert_deliveries_rows;
