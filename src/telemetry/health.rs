use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::dependency::Dependency;
use super::metrics::Metrics;
use crate::policy::Activity;

/// What is up, as last seen by whoever uses it, and by the probe beside them; and what an operator has paused.
#[derive(Clone)]
pub struct Health {
    state: Arc<Mutex<State>>,
    /// In the order of [`Activity::ALL`].
    paused: Arc<watch::Sender<[bool; Activity::ALL.len()]>>,
    metrics: Metrics,
}

#[derive(Debug, Default, Clone, Copy)]
struct State {
    /// As its user saw it last; `None` before its first use.
    used: [Option<bool>; 2],
    /// Whether the monitor reached it; `None` before its first ping.
    reached: [Option<bool>; 2],
    holding: bool,
}

impl State {
    /// Before its first use, which may have to wait for the other dependency, what the probe sees is all there is.
    fn is_up(self, dependency: Dependency) -> bool {
        let held = dependency == Dependency::Postgres && self.holding;
        let reached = self.reached[dependency as usize];
        !held && reached != Some(false) && self.used[dependency as usize].or(reached) == Some(true)
    }
}

impl Health {
    /// Everything down, nothing paused.
    #[must_use]
    pub fn new(metrics: Metrics) -> Self {
        Self { state: Arc::default(), paused: Arc::new(watch::Sender::default()), metrics }
    }

    /// Notes what was seen by its user; logs when it changed.
    pub fn set(&self, dependency: Dependency, up: bool) {
        let before = self.change(dependency, |state| state.used[dependency as usize].replace(up));
        match (before.unwrap_or_default(), up) {
            (false, true) => tracing::info!(dependency = dependency.as_str(), "dependency is up"),
            (true, false) => tracing::warn!(dependency = dependency.as_str(), "dependency is down"),
            (true, true) | (false, false) => {}
        }
    }

    /// Notes whether messages are held because the database does not take what they ask for. It may well answer everybody else
    /// meanwhile, and is not up for that.
    pub fn hold(&self, holding: bool) {
        self.change(Dependency::Postgres, |state| state.holding = holding);
    }

    /// Notes whether the probe could reach it; logs when it changed. Its user may not be using it now, so would not see that.
    pub fn set_reached(&self, dependency: Dependency, reached: bool) {
        let before = self.change(dependency, |state| state.reached[dependency as usize].replace(reached));
        match (before.unwrap_or(true), reached) {
            (true, false) => tracing::warn!(dependency = dependency.as_str(), "dependency cannot be reached"),
            (false, true) => tracing::info!(dependency = dependency.as_str(), "dependency can be reached again"),
            (true, true) | (false, false) => {}
        }
    }

    /// Notes that nobody uses it for now, so that what the probe sees is all there is.
    pub fn set_unused(&self, dependency: Dependency) {
        self.change(dependency, |state| state.used[dependency as usize] = None);
    }

    /// Notes what an operator has paused, with by whom and until when; logs what changed.
    pub fn set_paused(&self, pause_of: impl Fn(Activity) -> Option<String>) {
        for activity in Activity::ALL {
            let (pause, was_paused) = (pause_of(activity), self.is_paused(activity));
            match &pause {
                Some(pause) if !was_paused => tracing::warn!(what = activity.as_str(), pause, "paused by an operator"),
                None if was_paused => tracing::info!(what = activity.as_str(), "no longer paused"),
                _ => {}
            }
            self.metrics.paused.set_for(activity, f64::from(u8::from(pause.is_some())));
            self.paused.send_modify(|paused| paused[activity as usize] = pause.is_some());
        }
    }

    /// Whether an operator has paused it, as last seen.
    #[must_use]
    pub fn is_paused(&self, activity: Activity) -> bool {
        self.paused.borrow()[activity as usize]
    }

    /// Waits until it is paused.
    pub async fn paused(&self, activity: Activity) {
        self.paused.subscribe().wait_for(|paused| paused[activity as usize]).await.ok();
    }

    /// Whether it was up when last seen, and nothing speaks against it since.
    #[must_use]
    pub fn is_up(&self, dependency: Dependency) -> bool {
        self.state().is_up(dependency)
    }

    /// Whether the worker can do its job: both are up, and in use. While consuming is paused nobody uses the broker, which is no outage:
    /// a worker that waits for its operator is as ready as one that waits for messages.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let state = *self.state();
        Dependency::ALL.into_iter().all(|dependency| state.is_up(dependency))
            && (self.is_paused(Activity::Consume) || state.used.iter().all(|used| *used == Some(true)))
    }

    fn change<T>(&self, dependency: Dependency, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state();
        let before = change(&mut state);
        self.metrics.up.set_for(dependency, f64::from(u8::from(state.is_up(dependency))));
        before
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_used_yet_is_up_as_the_probe_sees_it_and_makes_nobody_ready() {
        let health = Health::new(Metrics::new());
        assert!(!health.is_up(Dependency::Rabbitmq), "nobody has looked");
        health.set(Dependency::Postgres, true);
        health.set_reached(Dependency::Rabbitmq, true);
        assert!(health.is_up(Dependency::Rabbitmq) && !health.is_ready());
        health.set(Dependency::Rabbitmq, false);
        assert!(!health.is_up(Dependency::Rabbitmq), "its user knows better");
        health.set(Dependency::Rabbitmq, true);
        assert!(health.is_ready());
        health.set_reached(Dependency::Rabbitmq, false);
        assert!(!health.is_up(Dependency::Rabbitmq) && !health.is_ready());
    }

    #[test]
    fn database_is_down_while_messages_are_held_and_the_broker_is_not() {
        let health = Health::new(Metrics::new());
        for dependency in Dependency::ALL {
            health.set(dependency, true);
        }
        health.hold(true);
        assert!(!health.is_up(Dependency::Postgres) && health.is_up(Dependency::Rabbitmq) && !health.is_ready());
        health.hold(false);
        assert!(health.is_ready());
    }
}
