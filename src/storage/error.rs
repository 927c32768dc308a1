use std::time::Duration;

use super::connection::connect::{ConnectFailure, is_fatal};
use crate::policy::Paused;

/// A statement that failed, with what it was for.
#[derive(Debug, thiserror::Error)]
#[error("could not {operation}")]
#[non_exhaustive]
pub struct StorageError {
    /// What was attempted, to complete the sentence "could not …".
    pub operation: &'static str,
    #[source]
    cause: Cause,
}

#[derive(Debug, thiserror::Error)]
enum Cause {
    /// Not as a source: sqlx repeats in its own words what is under them.
    #[error("{}", text(.0))]
    Driver(sqlx::Error),
    /// There is no connection.
    #[error("PostgreSQL at {place} cannot be used: {failure}; {}", failure.fix())]
    Unconnected { place: String, failure: ConnectFailure },
    #[error("all {0} connections of the pool are in use")]
    Busy(u32),
    /// The server took the request and was not heard of again.
    #[error("no answer in time")]
    NoAnswer,
    #[error("{unanswered} connections got no answer; the next try is due in {next:.0?}")]
    Crowd { unanswered: usize, next: Duration },
    #[error("{0} is not within the years 1 to 9999 (UTC)")]
    OutOfRange(&'static str),
    /// A delete would succeed and miss rows, so it was not made.
    #[error("{0}")]
    NoAccess(String),
    /// An operator has paused it, so it was not made.
    #[error(transparent)]
    Paused(Paused),
}

/// What PostgreSQL says, without the line of its source that sqlx appends.
fn text(error: &sqlx::Error) -> String {
    error.as_database_error().map_or_else(|| error.to_string(), |error| error.message().to_owned())
}

/// What a failure says about the statement and about the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The database is away, full, read-only or shutting down: everything else would fail too.
    Outage,
    /// Two transactions met (deadlock, serialisation): the same again, at once, will most likely do.
    Conflict,
    /// It took too long, waiting or working.
    Timeout,
    /// The statement itself was refused: by a trigger, a constraint, a privilege.
    Refused,
}

impl StorageError {
    pub(super) fn during(operation: &'static str) -> impl FnOnce(sqlx::Error) -> Self {
        move |source| Self { operation, cause: Cause::Driver(source) }
    }

    /// There is no connection to the server at that place.
    pub(super) const fn unconnected(operation: &'static str, place: String, failure: ConnectFailure) -> Self {
        Self { operation, cause: Cause::Unconnected { place, failure } }
    }

    /// The pool has no connection to give, and the server is well.
    pub(super) const fn busy(operation: &'static str, connections: u32) -> Self {
        Self { operation, cause: Cause::Busy(connections) }
    }

    /// The instant of this name is one that nobody could read back.
    pub(super) const fn out_of_range(operation: &'static str, name: &'static str) -> Self {
        Self { operation, cause: Cause::OutOfRange(name) }
    }

    /// Too many connections are unanswered, so no further one is opened.
    pub(super) const fn crowd(operation: &'static str, unanswered: usize, next: Duration) -> Self {
        Self { operation, cause: Cause::Crowd { unanswered, next } }
    }

    /// The server does not answer any more.
    pub(super) const fn no_answer(operation: &'static str) -> Self {
        Self { operation, cause: Cause::NoAnswer }
    }

    /// The role or the table is such that a delete would miss rows without an error.
    pub(super) const fn no_access(operation: &'static str, reason: String) -> Self {
        Self { operation, cause: Cause::NoAccess(reason) }
    }

    /// An operator has paused it.
    pub(super) const fn paused(operation: &'static str, paused: Paused) -> Self {
        Self { operation, cause: Cause::Paused(paused) }
    }

    /// What an operator has paused, where that is the reason.
    #[doc(hidden)]
    #[must_use]
    pub const fn as_paused(&self) -> Option<Paused> {
        match self.cause {
            Cause::Paused(paused) => Some(paused),
            _ => None,
        }
    }

    /// Whether the role or the table is such that a delete would miss rows without an error.
    #[doc(hidden)]
    #[must_use]
    pub const fn is_no_access(&self) -> bool {
        matches!(self.cause, Cause::NoAccess(_))
    }

    /// The SQLSTATE, where the server answered.
    #[must_use]
    pub fn code(&self) -> Option<String> {
        match &self.cause {
            Cause::Driver(error) => Some(error.as_database_error()?.code()?.into_owned()),
            Cause::Unconnected { failure: ConnectFailure::Refused { code, .. }, .. } => Some(code.clone()),
            _ => None,
        }
    }

    /// Classifies by SQLSTATE (PostgreSQL documentation, appendix A) and by the driver's kind of error.
    #[doc(hidden)]
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let Some(code) = self.code() else {
            return match &self.cause {
                Cause::OutOfRange(_) => Verdict::Refused,
                Cause::Driver(error) if is_about_the_value(error) => Verdict::Refused,
                _ => Verdict::Outage, // no answer from the server: I/O, TLS, protocol, no free connection
            };
        };
        match code.as_str() {
            "40001" | "40P01" => Verdict::Conflict,
            "55P03" | "57014" | "25P04" => Verdict::Timeout,
            // We stood still for too long in a transaction; or it is read-only: a standby about to be promoted, a full disk's
            // guard. No message is at fault.
            "25P03" | "25006" => Verdict::Outage,
            // What Supavisor says when it has no connection to the server, and ends ours.
            "XX000" if self.is_fatal() && !self.cause.to_string().contains("not found") => Verdict::Outage,
            _ => match &code[..2] {
                "08" | "53" | "57" | "58" => Verdict::Outage,
                _ => Verdict::Refused,
            },
        }
    }

    /// Whether the server refused and the session lives on. Then it may be one row's fault, whatever the SQLSTATE: a trigger may raise
    /// any, those of an outage included.
    #[doc(hidden)]
    #[must_use]
    pub fn leaves_session_alive(&self) -> bool {
        self.code().is_some() && !self.is_fatal()
    }

    /// Whether a value that was passed is one that the database cannot hold.
    pub(super) fn is_bad_input(&self) -> bool {
        match &self.cause {
            Cause::OutOfRange(_) | Cause::Driver(sqlx::Error::Encode(_) | sqlx::Error::InvalidArgument(_)) => true,
            _ => self.code().is_some_and(|code| code.starts_with("22")), // data exception
        }
    }

    /// Whether it ended the connection.
    fn is_fatal(&self) -> bool {
        match &self.cause {
            Cause::Driver(error) => error.as_database_error().is_some_and(is_fatal),
            Cause::Unconnected { failure: ConnectFailure::Refused { fatal, .. }, .. } => *fatal,
            _ => false,
        }
    }

    /// Whether the statement ran out of its time, as against waiting for a lock.
    #[doc(hidden)]
    #[must_use]
    pub fn is_statement_timeout(&self) -> bool {
        matches!(self.code().as_deref(), Some("57014" | "25P04"))
    }

    /// Whether the server was not heard of again.
    pub(super) const fn is_silence(&self) -> bool {
        matches!(self.cause, Cause::NoAnswer)
    }

    /// Whether the session only reads.
    pub(super) fn is_read_only(&self) -> bool {
        self.code().as_deref() == Some("25006")
    }

    /// Whether the role may not do it.
    #[must_use]
    pub fn is_permission_denied(&self) -> bool {
        self.code().as_deref() == Some("42501")
    }

    /// Whether retrying can succeed. It cannot with a wrong password or authority, or a missing database or schema, so at
    /// the start they stop the program; an outage does not.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self.verdict() {
            Verdict::Outage | Verdict::Conflict | Verdict::Timeout => !matches!(
                &self.cause,
                Cause::Driver(sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed)
                    | Cause::Unconnected { failure: ConnectFailure::Tls(_), .. }
            ),
            Verdict::Refused => false,
        }
    }

    /// The error and its causes in one line. Never holds the URL: neither sqlx nor the server repeats it.
    #[must_use]
    pub fn one_line(&self) -> String {
        format!("{self}: {}", self.cause).replace(['\r', '\n'], " ")
    }
}

/// Whether the driver failed over a value, so that the same again fails again.
const fn is_about_the_value(error: &sqlx::Error) -> bool {
    matches!(
        error,
        sqlx::Error::Configuration(_)
            | sqlx::Error::InvalidArgument(_)
            | sqlx::Error::RowNotFound
            | sqlx::Error::TypeNotFound { .. }
            | sqlx::Error::ColumnIndexOutOfBounds { .. }
            | sqlx::Error::ColumnNotFound(_)
            | sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::Encode(_)
            | sqlx::Error::Decode(_)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_same_again_would_not_change_is_final() {
        let final_ones = [
            sqlx::Error::PoolClosed,
            sqlx::Error::Decode("of the wrong type".into()),
            sqlx::Error::ColumnDecode { index: "0".to_owned(), source: "out of range".into() },
            sqlx::Error::RowNotFound,
        ];
        for error in final_ones {
            let error = StorageError::during("read")(error);
            assert!(!error.is_transient(), "{}", error.one_line());
        }
        assert!(StorageError::no_answer("read").is_transient());
        assert!(StorageError::busy("read", 5).is_transient());
        let refused = ConnectFailure::Refused { code: "28P01".to_owned(), message: "no".to_owned(), fatal: true };
        assert!(!StorageError::unconnected("read", "h:1".to_owned(), refused).is_transient());
        let silent =
            StorageError::unconnected("read", "h:1".to_owned(), ConnectFailure::Silence(Duration::from_secs(4)));
        assert!(silent.is_transient() && silent.one_line().contains("h:1"));
    }
}
