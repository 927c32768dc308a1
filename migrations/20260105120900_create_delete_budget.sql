-- What sweeps and evictions of all replicas together may delete a second is counted in one place, by the database's clock.
CREATE TABLE snapshot_lifecycle.delete_budget (
    single_row BOOLEAN PRIMARY KEY DEFAULT true CHECK (single_row),
    free_at TIMESTAMPTZ NOT NULL DEFAULT now()
);

INSERT INTO snapshot_lifecycle.delete_budget DEFAULT VALUES;
