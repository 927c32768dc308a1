-- The table of the note that the project comes from.
CREATE TABLE snapshots (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    team_id UUID NOT NULL REFERENCES teams(id),
    snapshot_type TEXT NOT NULL,
    event_id UUID REFERENCES events(id),
    params JSONB DEFAULT '{}',
    data JSONB NOT NULL,
    created_at TIMESTAMPTZ DEFAULT NOW(),
    expires_at TIMESTAMPTZ NOT NULL
);
