-- Part of a SELECT or a RETURNING: the columns of SnapshotMetadata, without the names of the columns that they come from.
--
-- PostgreSQL has years from 4713 BC to 294276, and infinity; RFC 3339 and our type for instants have 0001 to 9999. A row made outside of
-- them counts as one of unknown age; one that expires outside of them shows the first or the last instant.
id, team_id, snapshot_type, event_id, params,
octet_length(data::text)::bigint AS bytes,
CASE
    WHEN created_at BETWEEN '0001-01-01T00:00:00Z' AND '9999-12-31T23:59:59Z' THEN created_at
END AS created_at,
GREATEST(LEAST(expires_at, '9999-12-31T23:59:59Z'), '0001-01-01T00:00:00Z') AS expires_at
