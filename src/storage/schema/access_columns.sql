-- Fails where a column that a delete compares is missing, or not of a type that can be compared so.
SELECT EXISTS (
    SELECT FROM ONLY public.snapshots
    WHERE false
      AND id IN (event_id, team_id)
      AND snapshot_type::text = ''
      AND created_at <= now()
      AND expires_at <= now()
)
