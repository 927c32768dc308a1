use serde::Serialize;

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Which check, as in `database.indexes`.
    pub check: &'static str,
    /// The verdict.
    pub state: State,
    /// What is so.
    pub says: String,
    /// What to do about it.
    pub mend: Option<String>,
}

/// The verdict of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// As it should be.
    Ok,
    /// Could not be made.
    Skipped,
    /// The worker does its job, but somebody should look.
    Warning,
    /// The worker cannot do its job, or breaks a promise.
    Failed,
}

impl State {
    /// The name in tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Skipped => "skipped",
            Self::Warning => "warning",
            Self::Failed => "failed",
        }
    }
}

impl Finding {
    pub(super) fn ok(check: &'static str, says: impl Into<String>) -> Self {
        Self { check, state: State::Ok, says: says.into(), mend: None }
    }

    pub(super) fn skipped(check: &'static str, says: impl Into<String>) -> Self {
        Self { check, state: State::Skipped, says: says.into(), mend: None }
    }

    pub(super) fn warning(check: &'static str, says: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { check, state: State::Warning, says: says.into(), mend: Some(mend.into()) }
    }

    pub(super) fn failed(check: &'static str, says: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { check, state: State::Failed, says: says.into(), mend: Some(mend.into()) }
    }
}
