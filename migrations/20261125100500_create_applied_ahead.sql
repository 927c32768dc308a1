-- A message whose time has not come yet ends its event as of now. Its duplicates take nothing that was made since, so when the first was applied is remembered.
CREATE TABLE snapshot_lifecycle.applied_ahead (
    event_id UUID NOT NULL,
    team_id UUID,
    occurred_at TIMESTAMPTZ NOT NULL,
    applied_at TIMESTAMPTZ NOT NULL,
    UNIQUE NULLS NOT DISTINCT (event_id, team_id, occurred_at)
);

COMMENT ON TABLE snapshot_lifecycle.applied_ahead IS 'messages that were applied before their occurred_at, for their duplicates; a sweep deletes what no snapshot depends on any more';
