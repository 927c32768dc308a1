//! What a delete goes by, read in its own transaction.

use sqlx::FromRow;
use time::OffsetDateTime;
use uuid::Uuid;

use super::kept_types::from_rows;
use crate::policy::{Activity, KeptTypes, Paused};
use crate::storage::error::StorageError;
use crate::storage::schema::access::{AccessError, Problems};
use crate::storage::statement::{query_as, sql};
use crate::storage::transaction::Tx;

/// What a delete of the worker's goes by, as it stands in its transaction.
#[expect(clippy::struct_excessive_bools, reason = "facts that have nothing to do with each other")]
pub(in crate::storage) struct DeleteTerms {
    /// Which types outlive their event.
    pub(in crate::storage) policy: KeptTypes,
    /// A trigger or rule of the backend may keep rows without an error.
    pub(in crate::storage) may_keep: bool,
    /// An operator has paused the end of events.
    is_paused: bool,
    /// Row-level security binds the role, by policies that are plainly `true`.
    bound: bool,
    /// When the transaction began.
    pub(in crate::storage) now: OffsetDateTime,
    /// One of the events was ended by a message that was ahead of its time, see `rules::applied_ahead`.
    pub(in crate::storage) applied_ahead: bool,
}

impl DeleteTerms {
    /// Reads the policy, and in the same statement whether the delete that follows in this transaction will reach every row. A privilege
    /// revoked in between is no danger: without it the delete fails.
    pub(in crate::storage) async fn load(tx: &mut Tx, event_ids: &[Uuid]) -> Result<Self, StorageError> {
        #[derive(FromRow)]
        #[expect(clippy::struct_excessive_bools, reason = "the columns of one row")]
        struct Answer {
            types: Vec<String>,
            keep: Vec<bool>,
            may_keep: bool,
            is_paused: bool,
            bound: bool,
            now: OffsetDateTime,
            applied_ahead: bool,
            #[sqlx(flatten)]
            problems: Problems,
        }
        let statement = query_as(sql!(
            "delete_terms.sql",
            "../pause/pause_in_force.sql",
            "../schema/row_level_security_and_table_shape.sql",
            "../schema/table_shape.sql"
        ));
        let answer: Answer = tx.fetch_one(statement.bind(event_ids)).await?;
        answer.problems.refuse().map_err(|error| StorageError::no_access(tx.operation(), error.to_string()))?;
        Ok(Self {
            policy: from_rows(answer.types.into_iter().zip(answer.keep)),
            may_keep: answer.may_keep,
            is_paused: answer.is_paused,
            bound: answer.bound,
            now: answer.now,
            applied_ahead: answer.applied_ahead,
        })
    }

    /// The same for a transaction that ends events: refused while an operator has paused that. So what begins after a pause is committed deletes
    /// nothing.
    pub(in crate::storage) async fn load_to_end_events(tx: &mut Tx, event_ids: &[Uuid]) -> Result<Self, StorageError> {
        let terms = Self::load(tx, event_ids).await?;
        if terms.is_paused {
            return Err(StorageError::paused(tx.operation(), Paused(Activity::Consume)));
        }
        Ok(terms)
    }

    /// Called with what the deleting statement itself says. A table's policies cannot change between the two; a role's attribute
    /// BYPASSRLS can.
    pub(in crate::storage) fn check_still_seen(&self, bound_now: bool) -> Result<(), StorageError> {
        if bound_now && !self.bound {
            let problem = "row-level security has just begun to bind it".to_owned();
            return Err(StorageError::no_access("delete snapshots", AccessError::Role(vec![problem]).to_string()));
        }
        Ok(())
    }
}
