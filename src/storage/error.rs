use sqlx::postgres::{PgDatabaseError, PgSeverity};

/// A statement that failed, with what it was for.
#[derive(Debug, thiserror::Error)]
#[error("could not {operation}")]
pub struct StorageError {
    /// What was attempted, to complete the sentence "could not …".
    pub operation: &'static str,
    #[source]
    cause: Cause,
}

#[derive(Debug, thiserror::Error)]
enum Cause {
    #[error(transparent)]
    Driver(sqlx::Error),
    /// The server took the request and was not heard of again.
    #[error("no answer in time")]
    NoAnswer,
    #[error("rows were found and none was deleted; does a trigger or rule of the host keep them?")]
    Kept,
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

    /// The server does not answer any more.
    pub(super) const fn no_answer(operation: &'static str) -> Self {
        Self { operation, cause: Cause::NoAnswer }
    }

    /// Somebody keeps rows from being deleted without an error.
    pub(super) const fn kept(operation: &'static str) -> Self {
        Self { operation, cause: Cause::Kept }
    }

    /// The SQLSTATE, where the server answered.
    #[must_use]
    pub fn code(&self) -> Option<String> {
        match &self.cause {
            Cause::Driver(error) => Some(error.as_database_error()?.code()?.into_owned()),
            Cause::NoAnswer | Cause::Kept => None,
        }
    }

    /// Classifies by SQLSTATE (PostgreSQL documentation, appendix A) and by the driver's kind of error.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        if matches!(self.cause, Cause::Kept) {
            return Verdict::Refused;
        }
        let Some(code) = self.code() else {
            return Verdict::Outage; // no answer from the server: I/O, TLS, protocol, no free connection
        };
        match code.as_str() {
            "40001" | "40P01" => Verdict::Conflict,
            "55P03" | "57014" => Verdict::Timeout,
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

    /// Whether it ended the connection.
    fn is_fatal(&self) -> bool {
        let Cause::Driver(error) = &self.cause else { return false };
        let postgres = error.as_database_error().and_then(|error| error.try_downcast_ref::<PgDatabaseError>());
        postgres.is_some_and(|error| matches!(error.severity(), PgSeverity::Fatal | PgSeverity::Panic))
    }

    /// Whether the statement ran out of its time, as against waiting for a lock.
    #[must_use]
    pub fn is_statement_timeout(&self) -> bool {
        self.code().as_deref() == Some("57014")
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

    /// Whether waiting may mend it. A wrong password or authority, a missing database or schema will not go away by waiting, so at
    /// the start they stop the program; an outage does not.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self.verdict() {
            Verdict::Outage | Verdict::Conflict | Verdict::Timeout => match &self.cause {
                Cause::Driver(sqlx::Error::Configuration(_) | sqlx::Error::Tls(_)) => false,
                // One side does not accept the other's certificate, in rustls' words.
                Cause::Driver(sqlx::Error::Io(error)) => {
                    let words = error.to_string();
                    !["invalid peer certificate", "received fatal alert"].iter().any(|sign| words.contains(sign))
                }
                _ => true,
            },
            Verdict::Refused => false,
        }
    }

    /// The error and its causes in one line. Never holds the URL: neither sqlx nor the server repeats it.
    #[must_use]
    pub fn one_line(&self) -> String {
        format!("{self}: {}", self.cause).replace(['\r', '\n'], " ")
    }
}
