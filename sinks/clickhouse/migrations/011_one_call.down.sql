ALTER TABLE usage_events_rows DROP INDEX IF EXISTS by_session_id;
ALTER TABLE usage_events_rows DROP INDEX IF EXISTS by_request_id;
