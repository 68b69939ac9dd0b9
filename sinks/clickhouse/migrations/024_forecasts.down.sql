-- Takes what was expected on past days: `costream migrate down` asks for --drop-data.
DROP VIEW IF EXISTS forecasts;
DROP TABLE IF EXISTS forecasts_rows;
-- These have no step of their own: they came with this one.
DROP VIEW IF EXISTS check_cost_threshold_between;
DROP VIEW IF EXISTS check_cost_threshold;
DROP VIEW IF EXISTS top_users;
