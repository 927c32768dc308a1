-- Before row-level security is enabled, so that at no moment it is on without a policy. CREATE POLICY knows no IF NOT EXISTS.
DO $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM pg_catalog.pg_policies
        WHERE schemaname = 'public' AND tablename = 'snapshots' AND policyname = 'snapshots_team_isolation'
    ) THEN
        CREATE POLICY snapshots_team_isolation ON public.snapshots
            FOR ALL USING (team_id = current_setting('app.current_team_id')::uuid);
    END IF;
END
$$;
