//! Statements of the third rule: at most so many snapshots a team.
//!
//! Exact under concurrent inserts and deletes, without ever waiting for anyone: one statement locks the team's newest N rows
//! against deletion (`FOR KEY SHARE SKIP LOCKED`, so a row that is being deleted right now counts as gone), and only where it
//! holds all N does it delete rows older than the oldest of them. So at the moment of the commit N newer rows exist for
//! certain. A row that was passed over because another transaction held it, and that stays after all, is one too many
//! until the next pass; never one too few.

use uuid::Uuid;

use super::batch::{Batch, NextRow, kept_rows};
use super::timestamp::Timestamp;
use crate::policy::Rule;
use crate::storage::database::Database;
use crate::storage::error::StorageError;
use crate::storage::passes::lease::LeaseName;
use crate::storage::passes::{delete_budget, lease};
use crate::storage::schema::access;
use crate::storage::transaction::Limits;

/// A team with more snapshots than the cap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OverfullTeam(pub Uuid);

/// A place in the order of a team's eviction: the oldest first, by `id` where they are of one age.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CapPlace {
    age: Timestamp,
    id: Uuid,
}

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

/// As SQL, CTEs: of the team `$1` the newest `$2` (the cap) are locked against deletion; where all of them are, `doomed` is the next `$3` rows
/// older than the oldest of them, locked, behind the place (`$4`, `$5`) where there is one.
macro_rules! doomed {
    () => {
        "newest AS MATERIALIZED ( \
             SELECT COALESCE(created_at, '-infinity'::timestamptz) AS age, id FROM ONLY public.snapshots WHERE team_id = $1 \
             ORDER BY COALESCE(created_at, '-infinity'::timestamptz) DESC, id DESC LIMIT $2 FOR KEY SHARE SKIP LOCKED \
         ), oldest_kept AS MATERIALIZED ( \
             SELECT age, id FROM newest WHERE (SELECT count(*) FROM newest) = $2 ORDER BY age, id LIMIT 1 \
         ), doomed AS MATERIALIZED ( \
             SELECT s.ctid AS place, COALESCE(s.created_at, '-infinity'::timestamptz) AS age, s.id FROM oldest_kept AS k, ONLY public.snapshots AS s \
             WHERE s.team_id = $1 AND (COALESCE(s.created_at, '-infinity'::timestamptz), s.id) < (k.age, k.id) \
               AND ($4::timestamptz IS NULL OR (COALESCE(s.created_at, '-infinity'::timestamptz), s.id) > ($4, $5::uuid)) \
             ORDER BY COALESCE(s.created_at, '-infinity'::timestamptz), s.id LIMIT $3 FOR UPDATE OF s SKIP LOCKED \
         )"
    };
}

type BatchRow = (i64, i64, i64, Vec<Uuid>, Option<Timestamp>, Option<Uuid>);

impl Database {
    /// Looks at the next teams in the order of their ids, after `after`, at most some hundred.
    ///
    /// Walks the distinct team ids of the index (a loose index scan) and reads `cap + 1` index entries of each; it does
    /// not read `teams`, to which the worker needs no access.
    pub async fn look_for_overfull(&self, cap: u32, after: Option<Uuid>) -> Result<Look, StorageError> {
        self.within(Limits::LOOK, "find teams above the cap", async {
            let mut tx = self.begin_within(Limits::LOOK, None).await?;
            // Where rows are hidden, no team seems to be above the cap.
            access::require(&mut tx).await?;
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

    /// Deletes at most `rows` of the team's oldest snapshots above the cap, in one transaction, from the beginning or behind a place.
    ///
    /// Returns `None` where the lease is lost, and deletes nothing then.
    pub async fn evict(
        &self,
        holder: Uuid,
        team: OverfullTeam,
        cap: u32,
        after: Option<&CapPlace>,
        rows: u32,
        rate: Option<u32>,
    ) -> Result<Option<Batch<CapPlace>>, StorageError> {
        const WHAT: &str = "evict snapshots above the cap";
        self.within(Limits::SHORT, WHAT, async {
            let mut tx = self.begin_within(Limits::SHORT, Some(Rule::Cap)).await?;
            if !lease::renew_to_delete(&mut tx, LeaseName::Cap, holder).await? {
                return Ok(None);
            }
            let (found, deleted, kept, kept_ids, age, id): BatchRow = sqlx::query_as(concat!(
                "WITH ",
                doomed!(),
                ", gone AS ( \
                     DELETE FROM ONLY public.snapshots AS s USING doomed AS d \
                     WHERE s.ctid = d.place AND (s.team_id = $1) IS TRUE \
                       AND ((COALESCE(s.created_at, '-infinity'::timestamptz), s.id) < (SELECT age, id FROM oldest_kept)) IS TRUE \
                     RETURNING d.place \
                 ), ",
                kept_rows!(),
                ", last AS MATERIALIZED (SELECT age, id FROM doomed ORDER BY age DESC, id DESC LIMIT 1) \
                 SELECT (SELECT count(*) FROM doomed), (SELECT count(*) FROM gone), (SELECT count(*) FROM kept), ARRAY(SELECT id FROM kept LIMIT 5), \
                        (SELECT age FROM last), (SELECT id FROM last)"
            ))
            .persistent(false)
            .bind(team.0)
            .bind(i64::from(cap))
            .bind(i64::from(rows))
            .bind(after.map(|place| place.age))
            .bind(after.map(|place| place.id))
            .fetch_one(&mut *tx)
            .await
            .map_err(StorageError::during(WHAT))?;
            let (found, deleted, kept) = (found.unsigned_abs(), deleted.unsigned_abs(), kept.unsigned_abs());
            delete_budget::charge(&mut tx, deleted, rate).await?;
            Self::commit(tx).await?;
            let last = age.zip(id).map(|(age, id)| CapPlace { age, id });
            Ok(Some(Batch { found, deleted, kept, kept_ids, last }))
        })
        .await
    }

    /// The row that [`evict`](Self::evict) of one row would take.
    pub async fn next_to_evict(
        &self,
        team: OverfullTeam,
        cap: u32,
        after: Option<&CapPlace>,
    ) -> Result<Option<NextRow<CapPlace>>, StorageError> {
        const WHAT: &str = "find the next snapshot to evict";
        self.within(Limits::SHORT, WHAT, async {
            let mut tx = self.begin_within(Limits::SHORT, None).await?;
            let row: Option<(Uuid, Timestamp)> =
                sqlx::query_as(concat!("WITH ", doomed!(), " SELECT id, age FROM doomed"))
                    .persistent(false)
                    .bind(team.0)
                    .bind(i64::from(cap))
                    .bind(1_i64)
                    .bind(after.map(|place| place.age))
                    .bind(after.map(|place| place.id))
                    .fetch_optional(&mut *tx)
                    .await
                    .map_err(StorageError::during(WHAT))?;
            Self::commit(tx).await?;
            Ok(row.map(|(id, age)| NextRow { id, place: CapPlace { age, id } }))
        })
        .await
    }

    /// Counts one team's snapshots and those above the cap.
    pub async fn count_excess(&self, team: OverfullTeam, cap: u32) -> Result<Excess, StorageError> {
        self.within(Limits::LONG, "count the team's snapshots", async {
            let mut tx = self.begin_within(Limits::LONG, None).await?;
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
