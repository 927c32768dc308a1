/// A statement that failed, with what it was for.
#[derive(Debug, thiserror::Error)]
#[error("could not {operation}")]
pub struct StorageError {
    /// What was attempted, to complete the sentence "could not …".
    pub operation: &'static str,
    #[source]
    source: sqlx::Error,
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
        move |source| Self { operation, source }
    }

    /// The SQLSTATE, where the server answered.
    #[must_use]
    pub fn code(&self) -> Option<String> {
        let code = self.source.as_database_error()?.code()?;
        Some(code.into_owned())
    }

    /// Classifies by SQLSTATE (PostgreSQL documentation, appendix A) and by the driver's kind of error.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let Some(code) = self.code() else {
            return Verdict::Outage; // no answer from the server: I/O, TLS, protocol, no free connection
        };
        match code.as_str() {
            "40001" | "40P01" => Verdict::Conflict,
            "55P03" | "57014" => Verdict::Timeout,
            "25006" => Verdict::Outage, // read-only: a standby that is about to be promoted, or a full disk's guard
            _ => match &code[..2] {
                "08" | "53" | "57" | "58" => Verdict::Outage,
                _ => Verdict::Refused,
            },
        }
    }

    /// Whether the statement ran out of its time, as against waiting for a lock.
    #[must_use]
    pub fn is_statement_timeout(&self) -> bool {
        self.code().as_deref() == Some("57014")
    }

    /// Whether waiting may mend it. A wrong password, a missing database or schema will not go away by waiting, so at
    /// the start they stop the program; an outage does not.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self.verdict() {
            Verdict::Outage | Verdict::Conflict | Verdict::Timeout => {
                !matches!(self.source, sqlx::Error::Configuration(_))
            }
            Verdict::Refused => false,
        }
    }

    /// The error and its causes in one line. Never holds the URL: neither sqlx nor the server repeats it.
    #[must_use]
    pub fn one_line(&self) -> String {
        format!("{self}: {}", self.source).replace(['\r', '\n'], " ")
    }
}
