DROP VIEW IF EXISTS month_over_month;
DROP VIEW IF EXISTS month_over_month_by_feature;
DROP VIEW IF EXISTS month_over_month_by_model;
