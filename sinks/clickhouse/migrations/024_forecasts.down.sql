-- Takes what was expected on past days: `costream migrate down` asks for --drop-data.
DROP VIEW IF EXISTS forecasts;
DROP TABLE IF EXISTS forecasts_rows;
