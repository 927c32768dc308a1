//! Histories that are always tried.

use super::history::Step;
use crate::support::{Obstacle, Policy};

/// Histories that failed once, and one of each of the adversary's ways.
pub(super) fn kept() -> Vec<Vec<Step>> {
    let offer = || Step::Insert { team: 0, event: Some(0), kind: "offer", expired: false };
    let other = || Step::Insert { team: 0, event: Some(1), kind: "offer", expired: false };
    let expired = || Step::Insert { team: 1, event: None, kind: "menu", expired: true };
    let ends = |event| Step::Status { event, team: None, status: "confirmed", ago: 0, copies: 1 };
    vec![
        vec![
            offer(),
            Step::Status { event: 0, team: None, status: "confirmed", ago: 0, copies: 2 },
            offer(),
            Step::Kill(0),
            Step::Replay,
            Step::Evict(None),
        ],
        vec![offer(), other(), Step::Obstruct(0, Obstacle::Raises("57P01")), ends(0), ends(1), Step::Calm],
        vec![offer(), other(), Step::Obstruct(1, Obstacle::Referenced), Step::Hostile { event: 1, seed: 7 }, ends(0)],
        vec![offer(), other(), Step::Obstruct(0, Obstacle::Keeps), ends(0), ends(1)],
        vec![offer(), other(), Step::Hide(Policy::Half), ends(0), ends(1), Step::Calm, offer(), ends(0)],
        vec![
            expired(),
            expired(),
            Step::Sweep(Some((0, Obstacle::Raises("40001")))),
            expired(),
            Step::ClockSteps { minutes: 600 },
        ],
        vec![offer(), other(), offer(), other(), offer(), Step::Evict(Some((0, Obstacle::Referenced)))],
        vec![offer(), Step::Ahead { event: 0, minutes: 4 }, other(), Step::Ahead { event: 1, minutes: 10 }],
    ]
}
