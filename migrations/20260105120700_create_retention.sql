-- TTL and fate at the event's end by snapshot type; the row '*' speaks for every type without a row of its own.
CREATE TABLE snapshot_lifecycle.retention (
    snapshot_type TEXT PRIMARY KEY,
    ttl INTERVAL NOT NULL CHECK (ttl > interval '0'),
    keep_after_event BOOLEAN NOT NULL DEFAULT false
);

INSERT INTO snapshot_lifecycle.retention (snapshot_type, ttl, keep_after_event) VALUES
    ('offer', interval '7 days', false),
    ('rooms', interval '7 days', false),
    ('products', interval '7 days', false),
    ('qna', interval '365 days', true),
    ('*', interval '7 days', false);
