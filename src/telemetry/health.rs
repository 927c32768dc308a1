use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::dependency::Dependency;
use super::metrics::Metrics;

/// What is up, as last seen by whoever uses it, and by the probe beside them.
#[derive(Clone)]
pub struct Health {
    state: Arc<Mutex<State>>,
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
    /// Everything down.
    #[must_use]
    pub fn new(metrics: Metrics) -> Self {
        Self { state: Arc::default(), metrics }
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

    /// Whether it was up when last seen, and nothing speaks against it since.
    #[must_use]
    pub fn is_up(&self, dependency: Dependency) -> bool {
        self.state().is_up(dependency)
    }

    /// Whether the worker can do its job: both are up, and in use.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let state = *self.state();
        Dependency::ALL.into_iter().all(|dependency| state.is_up(dependency))
            && state.used.iter().all(|used| *used == Some(true))
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
