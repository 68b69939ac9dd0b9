-- One call by its request_id, or the calls of a session, without reading all ids: a block of 8,192 rows says which ids it
-- surely does not have. Rows that are stored already get theirs in the background, and queries are answered meanwhile.
ALTER TABLE usage_events_rows ADD INDEX IF NOT EXISTS by_request_id request_id TYPE bloom_filter GRANULARITY 1;
ALTER TABLE usage_events_rows ADD INDEX IF NOT EXISTS by_session_id session_id TYPE bloom_filter GRANULARITY 1;
ALTER TABLE usage_events_rows MATERIALIZE INDEX by_request_id;
ALTER TABLE usage_events_rows MATERIALIZE INDEX by_session_id;
