//! Who does a pass over the whole table now: one row a pass, by the database's clock.
//!
//! The three rules are exact without it; the lease only keeps replicas from doing the same work twice. It ends by itself
//! after some seconds, so a holder that died blocks nobody for longer. Every deleting transaction of a pass renews it and
//! gives up where another has taken it.
//!
//! The database's clock can step back: after a failover to a server whose clock is behind, a lease or the end of a pass lies in the
//! future. Neither is believed then, so a pass waits no longer than its interval.

use std::time::Duration;

use sqlx::{Postgres, Transaction};
use uuid::Uuid;

use crate::storage::database::Database;
use crate::storage::error::StorageError;
use crate::storage::schema::access::{Problems, silent_problems};
use crate::storage::transaction::Limits;

/// The passes that one replica at a time does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseName<'a> {
    /// The TTL sweep.
    Ttl,
    /// The eviction above the cap.
    Cap,
    /// `migrate`.
    Migrate,
    /// The relay of the outbox, one for each exchange: [`outbox_lease`].
    Outbox(&'a str),
}

/// The lease of an exchange's relay.
#[must_use]
pub fn outbox_lease(exchange: &str) -> String {
    format!("outbox {exchange}")
}

impl<'a> LeaseName<'a> {
    const fn as_str(self) -> &'a str {
        match self {
            Self::Ttl => "ttl",
            Self::Cap => "cap",
            Self::Migrate => "migrate",
            Self::Outbox(name) => name,
        }
    }

    /// How long it lasts unless it is renewed: a few times the longest transaction of a pass. Shorter for the relay, because
    /// a message twice does no harm, and a killed worker should not delay the messages for long.
    const fn seconds(self) -> f64 {
        match self {
            Self::Ttl | Self::Cap | Self::Migrate => 30.0,
            Self::Outbox(_) => 10.0,
        }
    }
}

/// The answer to a request for a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acquired {
    /// It is ours.
    Yes,
    /// Another holds it.
    HeldByAnother,
    /// Nobody holds it, but a pass has ended well within the interval.
    NotDue,
}

impl Database {
    /// Takes the lease, unless another holds it or, where `interval` is given, a pass ended within it.
    ///
    /// A lease that lasts for more than twice its length, and a pass that ended in the future, are of a clock that has stepped back
    /// since. They count for nothing and are logged. Twice, because two servers' clocks may well be some seconds apart.
    pub async fn acquire_lease(
        &self,
        name: LeaseName<'_>,
        holder: Uuid,
        interval: Option<Duration>,
    ) -> Result<Acquired, StorageError> {
        const WHAT: &str = "take the lease";
        let (taken, due, ahead) = self
            .within(Limits::SHORT, WHAT, async {
                let mut tx = self.begin_within(Limits::SHORT, None).await?;
                let answer: (bool, bool, bool) = sqlx::query_as(ACQUIRE)
                    .persistent(false)
                    .bind(name.as_str())
                    .bind(holder)
                    .bind(name.seconds())
                    .bind(interval.map(|interval| interval.as_secs_f64()))
                    .fetch_one(&mut *tx)
                    .await
                    .map_err(StorageError::during(WHAT))?;
                Self::commit(tx).await?;
                Ok(answer)
            })
            .await?;
        if taken && ahead {
            tracing::warn!(
                lease = name.as_str(),
                "the database's clock has stepped back: the lease or the end of the last pass lay in the future, and was not waited for"
            );
        }
        Ok(match (taken, due) {
            (true, _) => Acquired::Yes,
            (false, true) => Acquired::HeldByAnother,
            (false, false) => Acquired::NotDue,
        })
    }

    /// Lengthens the lease in a transaction of its own; `false` where another has it.
    pub async fn renew_lease(&self, name: LeaseName<'_>, holder: Uuid) -> Result<bool, StorageError> {
        self.within(Limits::SHORT, "renew the lease", async {
            let mut tx = self.begin_within(Limits::SHORT, None).await?;
            let ours = renew_in(&mut tx, name, holder).await?;
            Self::commit(tx).await?;
            Ok(ours)
        })
        .await
    }

    /// Gives the lease back, and notes the end of the pass where it ended well.
    pub async fn release_lease(&self, name: LeaseName<'_>, holder: Uuid, completed: bool) -> Result<(), StorageError> {
        self.within(Limits::SHORT, "give the lease back", async {
            let mut tx = self.begin_within(Limits::SHORT, None).await?;
            sqlx::query(
                "UPDATE snapshot_lifecycle.lease SET expires_at = clock_timestamp(), \
             completed_at = CASE WHEN $3 THEN clock_timestamp() ELSE completed_at END \
             WHERE name = $1 AND holder = $2",
            )
            .persistent(false)
            .bind(name.as_str())
            .bind(holder)
            .bind(completed)
            .execute(&mut *tx)
            .await
            .map_err(StorageError::during("give the lease back"))?;
            Self::commit(tx).await
        })
        .await
    }
}

/// `$1` name, `$2` holder, `$3` its length in seconds, `$4` the interval in seconds. The SELECT sees the row as it was before.
const ACQUIRE: &str = "WITH taken AS ( \
         INSERT INTO snapshot_lifecycle.lease AS l (name, holder, expires_at) \
         VALUES ($1, $2, clock_timestamp() + make_interval(secs => $3)) \
         ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at, \
             completed_at = CASE WHEN l.completed_at <= clock_timestamp() THEN l.completed_at END \
         WHERE (l.expires_at NOT BETWEEN clock_timestamp() AND clock_timestamp() + make_interval(secs => 2 * $3) OR l.holder = excluded.holder) \
           AND ($4::float8 IS NULL OR l.completed_at IS NULL \
                OR l.completed_at NOT BETWEEN clock_timestamp() - make_interval(secs => $4) AND clock_timestamp()) \
         RETURNING 1) \
     SELECT EXISTS (SELECT FROM taken), \
            NOT EXISTS (SELECT FROM snapshot_lifecycle.lease WHERE name = $1 \
                        AND completed_at BETWEEN clock_timestamp() - make_interval(secs => COALESCE($4, 0)) AND clock_timestamp()), \
            EXISTS (SELECT FROM snapshot_lifecycle.lease WHERE name = $1 \
                    AND (expires_at > clock_timestamp() + make_interval(secs => 2 * $3) OR completed_at > clock_timestamp()))";

/// As SQL: lengthens the lease `$1` of the holder `$2` by `$3` seconds.
macro_rules! renew {
    () => {
        "UPDATE snapshot_lifecycle.lease SET expires_at = clock_timestamp() + make_interval(secs => $3) \
         WHERE name = $1 AND holder = $2 AND expires_at > clock_timestamp()"
    };
}

async fn renew_in(
    tx: &mut Transaction<'static, Postgres>,
    name: LeaseName<'_>,
    holder: Uuid,
) -> Result<bool, StorageError> {
    let renewed = sqlx::query(renew!())
        .persistent(false)
        .bind(name.as_str())
        .bind(holder)
        .bind(name.seconds())
        .execute(&mut **tx)
        .await
        .map_err(StorageError::during("renew the lease"))?;
    Ok(renewed.rows_affected() == 1)
}

/// The first statement of a deleting transaction: lengthens the lease, and fails where a delete would miss rows without an error.
/// `false` where the lease is ours no longer.
pub(in crate::storage) async fn renew_to_delete(
    tx: &mut Transaction<'static, Postgres>,
    name: LeaseName<'_>,
    holder: Uuid,
) -> Result<bool, StorageError> {
    #[derive(sqlx::FromRow)]
    struct Answer {
        ours: bool,
        #[sqlx(flatten)]
        problems: Problems,
    }
    let answer: Answer = sqlx::query_as(concat!(
        "WITH renewed AS (",
        renew!(),
        " RETURNING 1) SELECT EXISTS (SELECT FROM renewed) AS ours, ",
        silent_problems!()
    ))
    .persistent(false)
    .bind(name.as_str())
    .bind(holder)
    .bind(name.seconds())
    .fetch_one(&mut **tx)
    .await
    .map_err(StorageError::during("renew the lease"))?;
    answer.problems.refuse().map_err(|error| StorageError::no_access("delete snapshots", &error))?;
    Ok(answer.ours)
}
