use uuid::Uuid;

/// What one deleting transaction of a pass did. `P` is a place in the order in which the pass walks its rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteBatch<P> {
    /// Rows found and locked; fewer than asked for where none is left behind them.
    pub found: u64,
    /// Rows deleted.
    pub deleted: u64,
    /// Rows that a trigger or rule of the backend kept, without an error.
    pub kept: u64,
    /// Some of those.
    pub kept_ids: Vec<Uuid>,
    /// Where the next batch begins: behind the last row found. Absent where none was found.
    pub last: Option<P>,
}

/// The row that a batch of one would delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NextRow<P> {
    /// Its id.
    pub id: Uuid,
    /// Where it is.
    pub place: P,
}

/// The columns that the answers to both rules' batches have.
#[derive(sqlx::FromRow)]
pub(super) struct DeleteBatchCounts {
    found: i64,
    deleted: i64,
    kept: i64,
    kept_ids: Vec<Uuid>,
}

impl DeleteBatchCounts {
    pub(super) fn batch<P>(self, last: Option<P>) -> DeleteBatch<P> {
        DeleteBatch {
            found: self.found.unsigned_abs(),
            deleted: self.deleted.unsigned_abs(),
            kept: self.kept.unsigned_abs(),
            kept_ids: self.kept_ids,
            last,
        }
    }
}
