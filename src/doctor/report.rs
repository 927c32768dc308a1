use serde::Serialize;

use super::finding::{Finding, State};
use crate::terminal::wrap;

/// What was found, check by check.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Whether no check failed.
    pub ok: bool,
    /// In the order of the checks.
    pub checks: Vec<Finding>,
}

/// Before what does not fit on the first line of a terminal.
const INDENT: &str = "    ";

impl From<Vec<Finding>> for Report {
    fn from(checks: Vec<Finding>) -> Self {
        Self { ok: checks.iter().all(|check| check.state != State::Failed), checks }
    }
}

impl Report {
    /// The lines, wrapped to the width of a terminal if it is one.
    #[must_use]
    pub fn render(&self, width: Option<usize>) -> String {
        let width = width.map(|width| width.saturating_sub(INDENT.len()));
        self.lines().map(|line| wrap(&line, width).join(&format!("\n{INDENT}")) + "\n").collect()
    }

    /// One line per check, so that `grep` finds it whole, and one that counts what is wrong.
    fn lines(&self) -> impl Iterator<Item = String> {
        let longest = self.checks.iter().map(|check| check.check.as_str().len()).max().unwrap_or_default();
        let line = move |Finding { check, state, message, fix }: &Finding| {
            let fix = fix.as_ref().map(|fix| format!(" -> {fix}")).unwrap_or_default();
            format!("{:<7}  {check:<longest$}  {message}{fix}", state.as_str())
        };
        let count = |state: State| self.checks.iter().filter(|check| check.state == state).count();
        let sum = match (count(State::Failed), count(State::Warning)) {
            (0, 0) => "every check is ok".to_owned(),
            (failed, warnings) => format!("failed: {failed}, warnings: {warnings}"),
        };
        self.checks.iter().map(line).chain([sum])
    }
}
