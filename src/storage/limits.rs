use std::time::Duration;

/// How long one transaction may wait and work; enforced by the server, so that a statement whose answer nobody awaits
/// any more ends too.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// For one row or table lock.
    pub lock: Duration,
    /// For one statement.
    pub statement: Duration,
}

impl Limits {
    /// For statements that are expected to take milliseconds.
    pub const SHORT: Self = Self { lock: Duration::from_secs(2), statement: Duration::from_secs(5) };
    /// For health checks.
    pub const PING: Self = Self { lock: Duration::from_millis(500), statement: Duration::from_millis(500) };
    /// For a part of a walk over the whole table, within the life of a lease.
    pub const PAGE: Self = Self { lock: Duration::from_secs(2), statement: Duration::from_secs(15) };
    /// For counting over the whole table on somebody's behalf.
    pub const LONG: Self = Self { lock: Duration::from_secs(5), statement: Duration::from_mins(5) };

    /// With another timeout of a statement, if one is given.
    pub(super) fn with_statement(self, timeout: Option<Duration>) -> Self {
        let statement = timeout.unwrap_or(self.statement);
        Self { lock: self.lock.min(statement), statement }
    }

    /// For the whole transaction, a free connection and a wait for a lock included.
    pub(super) fn whole(self, acquire: Duration) -> Duration {
        acquire + self.lock + self.statement + MARGIN
    }
}

/// For what comes around a statement: begin, settings, commit.
const MARGIN: Duration = Duration::from_secs(3);
