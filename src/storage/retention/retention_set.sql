-- Sets the TTL $2 of the type $1, and whether it outlives its event, $3.
INSERT INTO snapshot_lifecycle.retention (snapshot_type, ttl, keep_after_event)
VALUES ($1, $2, $3)
ON CONFLICT (snapshot_type) DO UPDATE SET ttl = excluded.ttl, keep_after_event = excluded.keep_after_event
