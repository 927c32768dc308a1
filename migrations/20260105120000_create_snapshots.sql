-- The host may have made the table already, whole or in part, from the note that this project comes from: make what is missing.
CREATE TABLE IF NOT EXISTS public.snapshots (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    team_id UUID NOT NULL REFERENCES public.teams (id),
    snapshot_type TEXT NOT NULL,
    event_id UUID REFERENCES public.events (id),
    params JSONB DEFAULT '{}',
    data JSONB NOT NULL,
    created_at TIMESTAMPTZ DEFAULT now(),
    expires_at TIMESTAMPTZ NOT NULL
);
