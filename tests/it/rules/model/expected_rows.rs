//! The model: the rules over a plain list of rows.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::history::CAP;

#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) id: Uuid,
    pub(super) team: usize,
    pub(super) event: Option<usize>,
    pub(super) kept_after_event: bool,
    pub(super) created: usize,
    pub(super) expired: bool,
}

/// The rows that should exist.
#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) rows: Vec<Row>,
}

impl Model {
    /// Snapshots of the event, and of the team where one is named, made at or before the status, of a type that ends with its event.
    pub(super) fn status(&mut self, event: usize, team: Option<usize>, status: &str, reached: usize) {
        let ends = ["confirmed", "cancelled"].contains(&status);
        self.rows.retain(|row| {
            let its = row.event == Some(event) && team.is_none_or(|team| team == row.team);
            !(ends && its && row.created <= reached && !row.kept_after_event)
        });
    }

    pub(super) fn sweep(&mut self) {
        self.rows.retain(|row| !row.expired);
    }

    /// The newest of each team stay.
    pub(super) fn evict(&mut self) {
        let mut by_team: BTreeMap<usize, Vec<(usize, Uuid)>> = BTreeMap::new();
        for row in &self.rows {
            by_team.entry(row.team).or_default().push((row.created, row.id));
        }
        let mut stay = BTreeSet::new();
        for mut rows in by_team.into_values() {
            rows.sort_unstable();
            stay.extend(rows.into_iter().rev().take(CAP).map(|(_, id)| id));
        }
        self.rows.retain(|row| stay.contains(&row.id));
    }

    /// What nobody may delete: a worker may sweep the others at any time.
    pub(super) fn not_expired(&self) -> BTreeSet<Uuid> {
        self.rows.iter().filter(|row| !row.expired).map(|row| row.id).collect()
    }

    pub(super) fn ids(&self) -> BTreeSet<Uuid> {
        self.rows.iter().map(|row| row.id).collect()
    }
}
