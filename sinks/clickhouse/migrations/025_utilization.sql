-- How busy a server was in the hours that its event reports: a part of one, as it was sent. NULL where it was not, as in
-- every row from before.
ALTER TABLE usage_events_rows
  ADD COLUMN IF NOT EXISTS utilization Nullable(Decimal(7, 6)) CODEC(ZSTD(1)) AFTER quantities;
