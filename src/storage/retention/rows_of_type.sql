-- Part of a WHERE: the snapshots `s` that the policy's row for the type $1 applies to.
CASE
    WHEN $1 = '*' THEN NOT EXISTS (
        SELECT FROM snapshot_lifecycle.retention AS r WHERE r.snapshot_type = s.snapshot_type::text
    )
    ELSE s.snapshot_type::text = $1
END
