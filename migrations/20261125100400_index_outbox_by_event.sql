-- A relay that has walked on asks whether an earlier record of the same event was committed behind it, and must not publish the later one first.
CREATE INDEX outbox_event ON snapshot_lifecycle.outbox (event_id, id);
