use std::fmt;

use serde::Serialize;
use uuid::Uuid;

/// Rows that a pass could not delete, while it deleted others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stayed {
    /// How many.
    pub rows: u64,
    /// Some of them.
    pub ids: Vec<Uuid>,
    /// Why the first of them stayed.
    pub cause: String,
    /// Whether they took so much of the pass that it ended behind them; the next one goes on from there.
    pub unfinished: bool,
}

/// Enough to find out what they have in common.
const IDS: usize = 5;

impl Stayed {
    /// Adds rows to those there may be already.
    pub(super) fn add(stayed: &mut Option<Self>, rows: u64, ids: &[Uuid], cause: impl FnOnce() -> String) {
        let stayed = stayed.get_or_insert_with(|| Self { rows: 0, ids: Vec::new(), cause: cause(), unfinished: false });
        stayed.rows += rows;
        stayed.ids.extend(ids.iter().take(IDS - stayed.ids.len()));
    }
}

impl fmt::Display for Stayed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<_> = self.ids.iter().map(Uuid::to_string).collect();
        let (rows, ids) = (self.rows, ids.join(", "));
        match rows {
            1 => write!(f, "1 row stayed, {ids}: {}", self.cause)?,
            _ => write!(f, "{rows} rows stayed, such as {ids}: {}", self.cause)?,
        }
        if self.unfinished {
            f.write_str("; the next pass goes on behind them")?;
        }
        Ok(())
    }
}
