//! What a history is made of.

use proptest::prelude::{Just, Strategy, any, prop, prop_oneof};

use crate::support::{Obstacle, Policy, SQLSTATES};

pub(super) const TEAMS: usize = 2;

pub(super) const EVENTS: usize = 4;

pub(super) const CAP: usize = 3;

/// One step. Teams and events are small numbers, so that histories meet themselves.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// A snapshot made now.
    Insert { team: usize, event: Option<usize>, kind: &'static str, expired: bool },
    /// A status that was reached `ago` steps ago, published in `copies`.
    Status { event: usize, team: Option<usize>, status: &'static str, ago: usize, copies: usize },
    /// All that was published so far, once more.
    Replay,
    /// A TTL sweep by hand, beside an obstacle before one row.
    Sweep(Option<(usize, Obstacle)>),
    /// An eviction by hand, when all messages are settled, beside an obstacle before one row.
    Evict(Option<(usize, Obstacle)>),
    /// One of the two workers is stopped softly and started again.
    Restart(usize),
    /// One of the two workers is killed and started again.
    Kill(usize),
    /// An obstacle before one of the rows that should exist, while messages come.
    Obstruct(usize, Obstacle),
    /// Rows are hidden from the workers.
    Hide(Policy),
    /// All obstacles go, all rows are shown, and worker and model are compared.
    Calm,
    /// A status whose headers and properties were chosen to do harm, and a body that is no message with others such.
    Hostile { event: usize, seed: u64 },
    /// A status that is `minutes` ahead of our clock.
    Ahead { event: usize, minutes: i64 },
    /// Leases, the ends of passes and the delete budget are `minutes` ahead, as after a failover to a server whose clock is behind.
    ClockSteps { minutes: i64 },
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let kind = prop_oneof![3 => Just("offer"), 1 => Just("rooms"), 1 => Just("qna"), 1 => Just("menu")];
    let status = prop_oneof![3 => Just("confirmed"), 2 => Just("cancelled"), 1 => Just("lead"), 1 => Just("blocked")];
    let obstacle = || {
        prop_oneof![
            3 => prop::sample::select(&SQLSTATES[..]).prop_map(Obstacle::Raises),
            1 => Just(Obstacle::Keeps),
            1 => Just(Obstacle::Referenced),
        ]
    };
    let beside = || prop::option::weighted(0.4, (0..30_usize, obstacle()));
    let policy = prop_oneof![
        Just(Policy::SelectNothing),
        Just(Policy::DeleteNothing),
        Just(Policy::LockNothing),
        Just(Policy::Half)
    ];
    prop_oneof![
        12 => (0..TEAMS, proptest::option::of(0..EVENTS), kind, prop::bool::weighted(0.2))
            .prop_map(|(team, event, kind, expired)| Step::Insert { team, event, kind, expired }),
        8 => (0..EVENTS, proptest::option::of(0..TEAMS), status, 0..6_usize, 1..3_usize)
            .prop_map(|(event, team, status, ago, copies)| Step::Status { event, team, status, ago, copies }),
        1 => Just(Step::Replay),
        1 => beside().prop_map(Step::Sweep),
        2 => beside().prop_map(Step::Evict),
        1 => (0..2_usize).prop_map(Step::Restart),
        1 => (0..2_usize).prop_map(Step::Kill),
        3 => (0..30_usize, obstacle()).prop_map(|(row, obstacle)| Step::Obstruct(row, obstacle)),
        1 => policy.prop_map(Step::Hide),
        1 => Just(Step::Calm),
        1 => (0..EVENTS, any::<u64>()).prop_map(|(event, seed)| Step::Hostile { event, seed }),
        1 => (0..EVENTS, prop_oneof![Just(4), Just(10)]).prop_map(|(event, minutes)| Step::Ahead { event, minutes }),
        1 => (1..100_000_i64).prop_map(|minutes| Step::ClockSteps { minutes }),
    ]
}
