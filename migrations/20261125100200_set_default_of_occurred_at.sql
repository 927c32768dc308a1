-- What a transaction writes beside its change of status has created_at = now(), its start: less a microsecond, so that it counts as made after the change and stays.
ALTER TABLE snapshot_lifecycle.outbox ALTER COLUMN occurred_at SET DEFAULT now() - interval '1 microsecond';
