//! Statements of the third rule: at most so many snapshots a team.
//!
//! Exact under concurrent inserts and deletes, without ever waiting for anyone: one statement locks the team's newest N rows
//! against deletion (`FOR KEY SHARE SKIP LOCKED`, so a row that is being deleted right now counts as gone), and only where it
//! holds all N does it delete rows older than the oldest of them. So at the moment of the commit N newer rows exist for
//! certain. A row that was passed over because another transaction held it, and that stays after all, is one too many
//! until the next pass; never one too few.

use uuid::Uuid;

use super::{Database, LeaseName, Limits, StorageError, delete_budget, lease};
use crate::policy::Rule;

/// A team with more snapshots than the cap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OverfullTeam(pub Uuid);

/// What one look at a stretch of teams found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// The last team looked at, where the next look begins; absent at the end of all.
    pub last: Option<Uuid>,
    /// Those above the cap.
    pub overfull: Vec<OverfullTeam>,
}

/// Teams a look: well within its time-out even where every page comes from the disk.
const TEAMS_A_LOOK: i32 = 500;

/// How many snapshots of a team an eviction would take.
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
    /// Looks at the next teams in the order of their ids, after `after`, at most some hundred.
    ///
    /// Walks the distinct team ids of the index (a loose index scan) and reads `cap + 1` index entries of each; it does
    /// not read `teams`, to which the worker needs no access.
    pub async fn look_for_overfull(&self, cap: u32, after: Option<Uuid>) -> Result<Look, StorageError> {
        self.within(Limits::LOOK, "find teams above the cap", async {
            let mut tx = self.begin(Limits::LOOK, None).await?;
            let teams: Vec<(Uuid, bool)> = sqlx::query_as(
                "WITH RECURSIVE team (id, number) AS ( \
                     (SELECT team_id, 1 FROM ONLY public.snapshots WHERE $2::uuid IS NULL OR team_id > $2 ORDER BY team_id LIMIT 1) \
                     UNION ALL \
                     SELECT (SELECT s.team_id FROM ONLY public.snapshots AS s WHERE s.team_id > team.id ORDER BY s.team_id LIMIT 1), number + 1 \
                     FROM team WHERE team.id IS NOT NULL AND number < $3 \
                 ) \
                 SELECT team.id, EXISTS ( \
                     SELECT FROM ONLY public.snapshots AS s WHERE s.team_id = team.id \
                     ORDER BY COALESCE(s.created_at, '-infinity'::timestamptz) DESC, s.id DESC OFFSET $1 LIMIT 1) \
                 FROM team WHERE team.id IS NOT NULL ORDER BY team.id",
            )
            .persistent(false)
            .bind(i64::from(cap))
            .bind(after)
            .bind(TEAMS_A_LOOK)
            .fetch_all(&mut *tx)
            .await
            .map_err(StorageError::during("find teams above the cap"))?;
            Self::commit(tx).await?;
            Ok(Look {
                last: teams.last().map(|(team, _)| *team),
                overfull: teams.into_iter().filter(|(_, overfull)| *overfull).map(|(team, _)| OverfullTeam(team)).collect(),
            })
        })
        .await
    }

    /// Deletes at most `rows` of the team's oldest snapshots above the cap, in one transaction.
    ///
    /// Returns the rows deleted; fewer than `rows` when nothing above the cap is left that could be taken now. Returns
    /// `None` where the lease is lost, and deletes nothing then.
    pub async fn evict(
        &self,
        holder: Uuid,
        team: OverfullTeam,
        cap: u32,
        rows: u32,
        rate: Option<u32>,
    ) -> Result<Option<u64>, StorageError> {
        self.within(Limits::SHORT, "evict snapshots above the cap", async {
            let mut tx = self.begin(Limits::SHORT, Some(Rule::Cap)).await?;
            if !lease::renew_in(&mut tx, LeaseName::Cap, holder).await? {
                return Ok(None);
            }
            let deleted = sqlx::query(
                "WITH kept AS MATERIALIZED ( \
                     SELECT COALESCE(created_at, '-infinity'::timestamptz) AS age, id FROM ONLY public.snapshots WHERE team_id = $1 \
                     ORDER BY COALESCE(created_at, '-infinity'::timestamptz) DESC, id DESC LIMIT $2 FOR KEY SHARE SKIP LOCKED \
                 ), oldest_kept AS MATERIALIZED ( \
                     SELECT age, id FROM kept WHERE (SELECT count(*) FROM kept) = $2 ORDER BY age, id LIMIT 1 \
                 ), doomed AS MATERIALIZED ( \
                     SELECT s.id FROM oldest_kept AS k, ONLY public.snapshots AS s \
                     WHERE s.team_id = $1 AND (COALESCE(s.created_at, '-infinity'::timestamptz), s.id) < (k.age, k.id) \
                     ORDER BY COALESCE(s.created_at, '-infinity'::timestamptz), s.id LIMIT $3 FOR UPDATE OF s SKIP LOCKED \
                 ) \
                 DELETE FROM ONLY public.snapshots AS s USING doomed AS d WHERE s.id = d.id",
            )
            .persistent(false)
            .bind(team.0)
            .bind(i64::from(cap))
            .bind(i64::from(rows))
            .execute(&mut *tx)
            .await
            .map_err(StorageError::during("evict snapshots above the cap"))?
            .rows_affected();
            delete_budget::charge(&mut tx, deleted, rate).await?;
            Self::commit(tx).await?;
            Ok(Some(deleted))
        })
        .await
    }

    /// Counts one team's snapshots and those above the cap.
    pub async fn count_excess(&self, team: OverfullTeam, cap: u32) -> Result<Excess, StorageError> {
        self.within(Limits::LONG, "count the team's snapshots", async {
            let mut tx = self.begin(Limits::LONG, None).await?;
            let snapshots: i64 = sqlx::query_scalar("SELECT count(*) FROM ONLY public.snapshots WHERE team_id = $1")
                .persistent(false)
                .bind(team.0)
                .fetch_one(&mut *tx)
                .await
                .map_err(StorageError::during("count the team's snapshots"))?;
            Self::commit(tx).await?;
            Ok(Excess { team_id: team.0, snapshots, excess: (snapshots - i64::from(cap)).max(0) })
        })
        .await
    }
}
