use serde::Serialize;

use super::check_id::CheckId;

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Which check, as in `database.indexes`.
    pub check: CheckId,
    /// The verdict.
    pub state: State,
    /// What was observed.
    pub message: String,
    /// How to fix it.
    pub fix: Option<String>,
}

/// The verdict of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// As it should be.
    Ok,
    /// Could not be checked.
    Skipped,
    /// The worker does its job, but someone should act.
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
    /// As it should be.
    pub fn ok(check: impl Into<CheckId>, message: impl Into<String>) -> Self {
        Self { check: check.into(), state: State::Ok, message: message.into(), fix: None }
    }

    pub(super) fn skipped(check: impl Into<CheckId>, message: impl Into<String>) -> Self {
        Self { check: check.into(), state: State::Skipped, message: message.into(), fix: None }
    }

    pub(super) fn warning(check: impl Into<CheckId>, message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { check: check.into(), state: State::Warning, message: message.into(), fix: Some(fix.into()) }
    }

    pub(super) fn failed(check: impl Into<CheckId>, message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { check: check.into(), state: State::Failed, message: message.into(), fix: Some(fix.into()) }
    }
}
