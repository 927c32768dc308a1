use uuid::Uuid;

/// What one deleting transaction of a pass did. `P` is a place in the order in which the pass walks its rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch<P> {
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

/// The row that a batch of one would take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NextRow<P> {
    /// Its id.
    pub id: Uuid,
    /// Where it is.
    pub place: P,
}

/// As SQL, a CTE: the rows of `doomed` (their places in the table, `ctid`, found and locked by the same statement) that `gone` did
/// not delete, because a trigger or rule kept them.
///
/// A place names one row, within one statement and under the lock that the statement itself has taken; an id may name several
/// where it is not unique. A row that was updated between the statement's snapshot and its lock is at a place that the snapshot does not
/// show. It is not deleted, and the next pass finds it. So what was kept is what the snapshot shows and the delete did not return.
///
/// `gone` repeats the rule's conditions on the row itself as `(…) IS TRUE`, which no index serves: with poor statistics the planner would
/// otherwise walk an index once for each row instead of going to its place.
macro_rules! kept_rows {
    () => {
        "kept AS MATERIALIZED ( \
             SELECT s.id, s.expires_at FROM (SELECT place FROM doomed EXCEPT SELECT place FROM gone) AS k JOIN ONLY public.snapshots AS s ON s.ctid = k.place \
             WHERE (SELECT count(*) FROM doomed) > (SELECT count(*) FROM gone) \
         )"
    };
}
pub(in crate::storage) use kept_rows;
