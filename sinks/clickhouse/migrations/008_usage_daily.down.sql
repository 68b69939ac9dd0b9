-- Takes the rows of days, which can be made again from those of the hours: `costream migrate down` asks for --drop-data.
DROP TABLE IF EXISTS usage_daily_rows;
