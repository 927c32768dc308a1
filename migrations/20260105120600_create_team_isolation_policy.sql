-- CREATE POLICY knows no IF NOT EXISTS, and the host may have made the policy already.
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
