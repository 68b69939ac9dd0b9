-- Takes the sums of budgets, which can be made again from calls: `costream migrate down` asks for --drop-data.
DROP VIEW IF EXISTS budget_status;
DROP VIEW IF EXISTS budget_spend;
DROP VIEW IF EXISTS budgets;
DROP VIEW IF EXISTS budget_sums;
DROP TABLE IF EXISTS budgets_rows;
DROP TABLE IF EXISTS budget_sums_rows;
DROP TABLE IF EXISTS budget_spend_rows;
