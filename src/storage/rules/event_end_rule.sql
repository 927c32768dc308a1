-- The first rule, as a condition: row `s` is one that the end `e` of an event deletes. It is written here and nowhere else.
--
-- A row without created_at stays: nothing shows that it is older than the status. now() is the transaction's start: a status whose
-- time has not come yet takes nothing that is made after it was applied. A row goes where its type outlives no event: the types $4
-- differ from the default $5, so one of them goes where the default is to keep, and any other where it is not.
--
-- $4 types that differ from the default
-- $5 whether a type is kept by default
s.event_id = e.event_id
      AND (e.team_id IS NULL OR s.team_id = e.team_id)
      AND s.created_at <= LEAST(e.occurred_at, pg_catalog.now())
      AND (s.snapshot_type::text = ANY ($4)) = $5
