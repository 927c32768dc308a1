use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Metrics;

/// What the worker cannot do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dependency {
    /// The database answers and may be worked on.
    Postgres,
    /// The broker delivers to us.
    Rabbitmq,
}

impl Dependency {
    /// Every dependency.
    pub const ALL: [Self; 2] = [Self::Postgres, Self::Rabbitmq];

    /// The metric's label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Rabbitmq => "rabbitmq",
        }
    }
}

/// What is up, as last seen by whoever uses it. Down until it is seen up.
#[derive(Clone)]
pub struct Health {
    up: Arc<[AtomicBool; 2]>,
    holding: Arc<AtomicBool>,
    unreachable: Arc<[AtomicBool; 2]>,
    metrics: Metrics,
}

impl Health {
    /// Everything down.
    #[must_use]
    pub fn new(metrics: Metrics) -> Self {
        Self { up: Arc::default(), holding: Arc::default(), unreachable: Arc::default(), metrics }
    }

    /// Notes what was seen; logs when it changed.
    pub fn set(&self, dependency: Dependency, up: bool) {
        let before = self.up[dependency as usize].swap(up, Ordering::SeqCst);
        self.metrics.set_up(dependency, self.is_up(dependency));
        match (before, up) {
            (false, true) => tracing::info!(dependency = dependency.as_str(), "dependency is up"),
            (true, false) => tracing::warn!(dependency = dependency.as_str(), "dependency is down"),
            (true, true) | (false, false) => {}
        }
    }

    /// Notes whether messages are held because the database does not take what they ask for. It may well answer everybody else
    /// meanwhile, and is not up for that.
    pub fn hold(&self, holding: bool) {
        self.holding.store(holding, Ordering::SeqCst);
        self.metrics.set_up(Dependency::Postgres, self.is_up(Dependency::Postgres));
    }

    /// Notes whether the probe could not reach it; logs when it changed. Its user may not be using it now, so would not see that.
    pub fn set_unreachable(&self, dependency: Dependency, unreachable: bool) {
        let before = self.unreachable[dependency as usize].swap(unreachable, Ordering::SeqCst);
        self.metrics.set_up(dependency, self.is_up(dependency));
        match (before, unreachable) {
            (false, true) => tracing::warn!(dependency = dependency.as_str(), "dependency cannot be reached"),
            (true, false) => tracing::info!(dependency = dependency.as_str(), "dependency can be reached again"),
            (true, true) | (false, false) => {}
        }
    }

    /// Whether it was up when last seen, and nothing speaks against it since.
    #[must_use]
    pub fn is_up(&self, dependency: Dependency) -> bool {
        let held = dependency == Dependency::Postgres && self.holding.load(Ordering::SeqCst);
        let unreachable = self.unreachable[dependency as usize].load(Ordering::SeqCst);
        self.up[dependency as usize].load(Ordering::SeqCst) && !held && !unreachable
    }

    /// Whether the worker can do its job.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        Dependency::ALL.into_iter().all(|dependency| self.is_up(dependency))
    }
}
