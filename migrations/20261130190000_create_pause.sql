-- What deletes that should not must be stopped at once, for all replicas and until a person says otherwise, so it is a row that each deleting transaction reads. A row whose time is over stops nothing.
CREATE TABLE snapshot_lifecycle.pause (
    what TEXT PRIMARY KEY CHECK (what IN ('sweep', 'evict', 'consume')),
    since TIMESTAMPTZ NOT NULL DEFAULT now() CHECK (isfinite(since)),
    until TIMESTAMPTZ,
    by_role TEXT NOT NULL DEFAULT session_user,
    by_user TEXT
);

COMMENT ON TABLE snapshot_lifecycle.pause IS 'what `snapshot-lifecycle pause` has stopped, by whom and until when; NULL is until `snapshot-lifecycle resume`';
