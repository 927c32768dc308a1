//! Who does a pass over the whole table now: one row a pass, by the database's clock.
//!
//! The three rules are exact without it; the lease only keeps replicas from doing the same work twice. It expires
//! after some seconds, so a holder that died blocks nobody for longer. Every deleting transaction of a pass renews it and
//! deletes nothing where another has taken it.
//!
//! The database's clock can step back: after a failover to a server whose clock is behind, a lease or the end of a pass lies in the
//! future. Neither is believed then, so a pass waits no longer than its interval.

use std::time::Duration;

use uuid::Uuid;

use crate::policy::{Activity, PassName, Paused};
use crate::storage::database::Database;
use crate::storage::error::StorageError;
use crate::storage::interval::Interval;
use crate::storage::limits::Limits;
use crate::storage::pause::state::is_paused;
use crate::storage::schema::access::Problems;
use crate::storage::statement::{Statement, query, query_as, sql};
use crate::storage::transaction::Tx;

/// What one replica at a time does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseName<'a> {
    /// A pass over the whole table.
    Pass(PassName),
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
            Self::Pass(pass) => pass.as_str(),
            Self::Migrate => "migrate",
            Self::Outbox(name) => name,
        }
    }

    /// What an operator pauses so that nobody takes it.
    const fn activity(self) -> Option<Activity> {
        match self {
            Self::Pass(pass) => Some(pass.activity()),
            Self::Migrate | Self::Outbox(_) => None,
        }
    }

    /// How long it lasts unless it is renewed: a few times the longest transaction of a pass. Shorter for the relay, because
    /// a message twice does no harm, and a killed worker should not delay the messages for long.
    const fn length(self) -> Duration {
        match self {
            Self::Pass(_) | Self::Migrate => Duration::from_secs(30),
            Self::Outbox(_) => Duration::from_secs(10),
        }
    }
}

/// A lease and who holds it, or did: it may have gone to another since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldLease<'a> {
    /// For what.
    pub name: LeaseName<'a>,
    /// The process, or the part of it that asked.
    pub holder: Uuid,
}

/// The answer to a request for a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseAttempt<'a> {
    /// It is ours.
    Held(HeldLease<'a>),
    /// It is ours, and the holder before us let it expire: it died, or was cut off from the database.
    TakenOver(HeldLease<'a>),
    /// Another holds it.
    HeldByAnother,
    /// Nobody holds it, but a pass has completed within the interval.
    NotDue,
    /// An operator has paused the pass.
    Paused(Paused),
}

impl<'a> LeaseAttempt<'a> {
    /// The lease, where it is ours.
    #[must_use]
    pub const fn held(self) -> Option<HeldLease<'a>> {
        match self {
            Self::Held(lease) | Self::TakenOver(lease) => Some(lease),
            Self::HeldByAnother | Self::NotDue | Self::Paused(_) => None,
        }
    }
}

impl Database {
    /// Takes the lease, unless an operator has paused the pass, another holds it or, where `interval` is given, a pass completed within it.
    ///
    /// A lease that lasts for more than twice its length, and a pass that completed in the future, are of a clock that has stepped back
    /// since. They count for nothing and are logged. Twice, because two servers' clocks may well be some seconds apart.
    ///
    /// # Errors
    /// If the database does not answer or refuses.
    pub async fn lease_acquire<'a>(
        &self,
        name: LeaseName<'a>,
        holder: Uuid,
        interval: Option<Duration>,
    ) -> Result<LeaseAttempt<'a>, StorageError> {
        #[derive(sqlx::FromRow)]
        #[expect(clippy::struct_excessive_bools, reason = "the columns of one row")]
        struct Answer {
            is_taken: bool,
            is_due: bool,
            is_ahead: bool,
            was_not_released: bool,
        }
        let lease = HeldLease { name, holder };
        let mut tx = self.begin(Limits::SHORT, "take the lease").await?;
        // `migrate` takes its lease before the table exists that this reads.
        if let Some(activity) = name.activity()
            && is_paused(&mut tx, activity).await?
        {
            return tx.commit(LeaseAttempt::Paused(Paused(activity))).await;
        }
        let statement = bound(query_as(sql!("lease_acquire.sql")), lease).bind(interval.map(Interval));
        let Answer { is_taken, is_due, is_ahead, was_not_released } = tx.fetch_one(statement).await?;
        tx.commit(()).await?;
        if is_taken && is_ahead {
            tracing::warn!(
                lease = name.as_str(),
                "the database's clock has stepped back: the lease or the end of the last pass lay in the future, and was not waited for"
            );
        }
        Ok(match (is_taken, is_due) {
            (true, _) if was_not_released => LeaseAttempt::TakenOver(lease),
            (true, _) => LeaseAttempt::Held(lease),
            (false, true) => LeaseAttempt::HeldByAnother,
            (false, false) => LeaseAttempt::NotDue,
        })
    }

    /// Lengthens the lease in a transaction of its own; `false` where another has it.
    ///
    /// # Errors
    /// If the database does not answer or refuses.
    pub async fn lease_renew(&self, lease: HeldLease<'_>) -> Result<bool, StorageError> {
        let mut tx = self.begin(Limits::SHORT, "renew the lease").await?;
        let renewed = tx.execute(bound(query(sql!("lease_renew.sql")), lease)).await?;
        tx.commit(renewed == 1).await
    }

    /// Releases the lease, and notes when the pass completed, if it did.
    ///
    /// # Errors
    /// If the database does not answer or refuses. Then the lease expires.
    pub async fn lease_release(&self, lease: HeldLease<'_>, completed: bool) -> Result<(), StorageError> {
        let mut tx = self.begin(Limits::SHORT, "release the lease").await?;
        let statement = query(sql!("lease_release.sql"));
        tx.execute(statement.bind(lease.name.as_str()).bind(lease.holder).bind(completed)).await?;
        tx.commit(()).await
    }
}

/// The first statement of a deleting transaction: lengthens the lease, and fails where a delete would miss rows without an error.
/// `false` where the lease is another's; an error where an operator has paused the pass.
pub(in crate::storage) async fn renew_to_delete(tx: &mut Tx, lease: HeldLease<'_>) -> Result<bool, StorageError> {
    #[derive(sqlx::FromRow)]
    struct Answer {
        is_ours: bool,
        is_paused: bool,
        #[sqlx(flatten)]
        problems: Problems,
    }
    let statement = query_as(sql!(
        "lease_renew_to_delete.sql",
        "../pause/pause_in_force.sql",
        "../schema/row_level_security_and_table_shape.sql",
        "../schema/table_shape.sql"
    ));
    let activity = lease.name.activity();
    let statement = bound(statement, lease).bind(activity.map(Activity::as_str));
    let Answer { is_ours, is_paused, problems } = tx.fetch_one(statement).await?;
    if let Some(activity) = activity.filter(|_| is_paused) {
        return Err(StorageError::paused(tx.operation(), Paused(activity)));
    }
    problems.refuse().map_err(|error| StorageError::no_access(tx.operation(), error.to_string()))?;
    Ok(is_ours)
}

/// Binds name, holder and length.
fn bound<O>(statement: Statement<O>, lease: HeldLease<'_>) -> Statement<O> {
    statement.bind(lease.name.as_str()).bind(lease.holder).bind(Interval(lease.name.length()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_other_versions_of_the_fleet_use() {
        let outbox = outbox_lease("event.status");
        let names = [
            LeaseName::Pass(PassName::Ttl),
            LeaseName::Pass(PassName::Cap),
            LeaseName::Migrate,
            LeaseName::Outbox(&outbox),
        ];
        assert_eq!(names.map(LeaseName::as_str), ["ttl", "cap", "migrate", "outbox event.status"]);
    }
}
