//! The third rule: at most N snapshots per team.
//!
//! Exact under concurrent inserts and deletes, without ever waiting for anyone: one statement locks the team's newest N rows
//! against deletion (`FOR KEY SHARE SKIP LOCKED`, so a row that is being deleted right now counts as gone), and only where it
//! holds all N does it delete rows older than the oldest of them. So at the moment of the commit N newer rows exist for
//! certain. A row that was passed over because another transaction held it, and that stays after all, is one too many
//! until the next pass; never one too few.

use uuid::Uuid;

use super::delete_batch::{DeleteBatch, DeleteBatchCounts, NextRow};
use super::timestamp::Timestamp;
use crate::policy::Rule;
use crate::storage::database::Database;
use crate::storage::error::StorageError;
use crate::storage::limits::Limits;
use crate::storage::passes::lease::HeldLease;
use crate::storage::passes::{delete_budget, lease};
use crate::storage::schema::access;
use crate::storage::statement::{Statement, query_as, query_scalar, sql};

/// A team with more snapshots than the cap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OverfullTeam(pub Uuid);

/// A place in the order of a team's eviction: the oldest first, by `id` where they are of one age.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct CapPlace {
    age: Timestamp,
    id: Uuid,
}

/// Some of the teams, in the order of their ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TeamPage {
    /// The last of them, behind which the next page begins; absent at the end of all.
    pub last: Option<Uuid>,
    /// Those above the cap.
    pub overfull: Vec<OverfullTeam>,
}

/// Read well within the timeout even where every page comes from the disk.
const TEAMS_PER_PAGE: i32 = 500;

/// How many snapshots of a team an eviction would delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Excess {
    /// The team.
    pub team_id: Uuid,
    /// All it has.
    pub snapshots: i64,
    /// Those above the cap.
    pub excess: i64,
}

impl Database {
    /// The next teams behind `after`, and those of them that are above the cap.
    ///
    /// # Errors
    /// If the database does not answer, refuses, or hides rows from the role: then no team seems to be above the cap.
    pub async fn cap_overfull_teams(&self, cap: u32, after: Option<Uuid>) -> Result<TeamPage, StorageError> {
        #[derive(sqlx::FromRow)]
        struct Team {
            id: Uuid,
            is_overfull: bool,
        }
        let mut tx = self.begin(Limits::PAGE, "find teams above the cap").await?;
        access::require(&mut tx).await?;
        let statement = query_as(sql!("cap_overfull_teams.sql")).bind(i64::from(cap)).bind(after).bind(TEAMS_PER_PAGE);
        let teams: Vec<Team> = tx.fetch_all(statement).await?;
        let page = TeamPage {
            last: teams.last().map(|team| team.id),
            overfull: teams.iter().filter(|team| team.is_overfull).map(|team| OverfullTeam(team.id)).collect(),
        };
        tx.commit(page).await
    }

    /// Deletes at most `rows` of the team's oldest snapshots above the cap, in one transaction, from the beginning or behind a place.
    ///
    /// Returns `None` where the lease is another's, and deletes nothing then.
    ///
    /// # Errors
    /// If the database does not answer, refuses the delete, or would not let it reach every row.
    pub async fn cap_evict_batch(
        &self,
        lease: HeldLease<'_>,
        team: OverfullTeam,
        cap: u32,
        after: Option<&CapPlace>,
        rows: u32,
        rate: Option<u32>,
    ) -> Result<Option<DeleteBatch<CapPlace>>, StorageError> {
        #[derive(sqlx::FromRow)]
        struct Answer {
            #[sqlx(flatten)]
            counts: DeleteBatchCounts,
            last_age: Option<Timestamp>,
            last_id: Option<Uuid>,
        }
        let mut tx = self.begin_delete(Limits::SHORT, Rule::Cap, "evict snapshots above the cap").await?;
        if !lease::renew_to_delete(&mut tx, lease).await? {
            return Ok(None);
        }
        let statement = query_as(sql!("cap_evict_batch.sql", "cap_doomed.sql", "kept_rows.sql"));
        let Answer { counts, last_age, last_id } = tx.fetch_one(bound(statement, team, cap, after, rows)).await?;
        let batch = counts.batch(last_age.zip(last_id).map(|(age, id)| CapPlace { age, id }));
        delete_budget::charge(&mut tx, batch.deleted, rate).await?;
        tx.commit(Some(batch)).await
    }

    /// The row that [`cap_evict_batch`](Self::cap_evict_batch) of one row would delete.
    ///
    /// # Errors
    /// If the database does not answer or refuses.
    pub async fn cap_next(
        &self,
        team: OverfullTeam,
        cap: u32,
        after: Option<&CapPlace>,
    ) -> Result<Option<NextRow<CapPlace>>, StorageError> {
        let mut tx = self.begin(Limits::SHORT, "find the next snapshot to evict").await?;
        let statement = query_as(sql!("cap_next.sql", "cap_doomed.sql"));
        let place: Option<CapPlace> = tx.fetch_optional(bound(statement, team, cap, after, 1)).await?;
        tx.commit(place.map(|place| NextRow { id: place.id, place })).await
    }

    /// Counts one team's snapshots and those above the cap.
    ///
    /// # Errors
    /// If the database does not answer or refuses.
    pub async fn cap_count(&self, team: OverfullTeam, cap: u32) -> Result<Excess, StorageError> {
        const SQL: &str = "SELECT count(*) FROM ONLY public.snapshots WHERE team_id = $1";
        let mut tx = self.begin(Limits::LONG, "count the team's snapshots").await?;
        let snapshots: i64 = tx.fetch_one(query_scalar(SQL).bind(team.0)).await?;
        tx.commit(Excess { team_id: team.0, snapshots, excess: (snapshots - i64::from(cap)).max(0) }).await
    }
}

/// With the binds of `cap_doomed.sql`.
fn bound<O>(
    statement: Statement<O>,
    team: OverfullTeam,
    cap: u32,
    after: Option<&CapPlace>,
    rows: u32,
) -> Statement<O> {
    statement
        .bind(team.0)
        .bind(i64::from(cap))
        .bind(i64::from(rows))
        .bind(after.map(|place| place.age))
        .bind(after.map(|place| place.id))
}
