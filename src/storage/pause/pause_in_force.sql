-- Whether the pause `p` is in force: a part of each statement that asks. Its end is by the database's clock, not by the transaction's start.
p.until IS NULL OR p.until > pg_catalog.clock_timestamp()
