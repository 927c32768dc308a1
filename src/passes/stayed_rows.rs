use std::fmt;

use serde::Serialize;
use uuid::Uuid;

/// Rows that a pass could not delete, while it deleted others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StayedRows {
    /// How many.
    pub rows: u64,
    /// Some of them.
    pub ids: Vec<Uuid>,
    /// Why the first of them stayed.
    pub cause: String,
    /// Whether they took so much time that the pass ended after them; the next one goes on from there.
    pub unfinished: bool,
}

/// Ids that are kept: enough to find out what the rows have in common.
const MAX_IDS: usize = 5;

impl StayedRows {
    /// Adds rows to those that have stayed before, if any.
    pub(super) fn add(stayed: &mut Option<Self>, rows: u64, ids: &[Uuid], cause: impl FnOnce() -> String) {
        let stayed = stayed.get_or_insert_with(|| Self { rows: 0, ids: Vec::new(), cause: cause(), unfinished: false });
        stayed.rows += rows;
        stayed.ids.extend(ids.iter().take(MAX_IDS - stayed.ids.len()));
    }
}

impl fmt::Display for StayedRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<_> = self.ids.iter().map(Uuid::to_string).collect();
        let (rows, ids) = (self.rows, ids.join(", "));
        match rows {
            1 => write!(f, "1 row stayed, {ids}: {}", self.cause)?,
            _ => write!(f, "{rows} rows stayed, such as {ids}: {}", self.cause)?,
        }
        if self.unfinished {
            f.write_str("; the next pass goes on after them")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_counted_and_some_named() {
        let ids: Vec<_> = (0..9).map(Uuid::from_u128).collect();
        let mut stayed = None;
        StayedRows::add(&mut stayed, 1, &ids[..1], || "no".to_owned());
        assert_eq!(stayed.as_ref().unwrap().to_string(), format!("1 row stayed, {}: no", ids[0]));
        StayedRows::add(&mut stayed, 3, &ids[1..4], || "another".to_owned());
        StayedRows::add(&mut stayed, 5, &ids[4..], || "another".to_owned());
        let stayed = stayed.unwrap();
        assert_eq!((stayed.rows, &stayed.ids[..]), (9, &ids[..5]));
        let text = stayed.to_string();
        assert!(text.starts_with("9 rows stayed, such as ") && text.ends_with(&format!("{}: no", ids[4])), "{text}");
    }
}
