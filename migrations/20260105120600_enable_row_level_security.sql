-- Teams must not see each other's snapshots; enabling it where it is enabled already changes nothing.
ALTER TABLE public.snapshots ENABLE ROW LEVEL SECURITY;
