-- Whoever finds these tables in psql should not have to look for us.
COMMENT ON SCHEMA snapshot_lifecycle IS 'owned by the snapshot-lifecycle worker; the host''s data is in public.snapshots';
COMMENT ON TABLE snapshot_lifecycle.lease IS 'who does a pass over the whole table now; a lease ends by itself at expires_at';
COMMENT ON COLUMN snapshot_lifecycle.lease.completed_at IS 'when the last pass under this lease ended well, whoever held it';
COMMENT ON TABLE snapshot_lifecycle.retention IS 'TTL and fate at the event''s end by snapshot type; * is every other type';
COMMENT ON TABLE snapshot_lifecycle.delete_budget IS 'LIFECYCLE_DELETE_RATE: no sweep or eviction deletes before free_at';
