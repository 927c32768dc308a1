use serde_json::Value;

use super::{Finished, Worker, World, finish};

/// What the checks said, in order.
pub struct Checkup {
    pub finished: Finished,
    pub checks: Vec<Value>,
}

impl Checkup {
    pub fn new(finished: Finished) -> Self {
        let answer = finished.json();
        let checks = answer["checks"].as_array().unwrap().clone();
        let failed = checks.iter().any(|check| check["state"] == "failed");
        assert_eq!(answer["ok"], !failed, "{finished:?}");
        assert_eq!(finished.code, i32::from(failed), "{finished:?}");
        Self { finished, checks }
    }

    /// The check has such a line, with these words in its message and in its fix.
    pub fn has(&self, check: &str, state: &str, message: &str, fix: &str) {
        let found = self.checks.iter().any(|line| {
            line["check"] == check
                && line["state"] == state
                && line["message"].as_str().unwrap().contains(message)
                && line["fix"].as_str().unwrap_or_default().contains(fix)
        });
        assert!(found, "{check} {state}: {message} -> {fix}\nis not in\n{}", self.finished.stdout);
    }

    pub fn has_not(&self, check: &str, state: &str, message: &str) {
        let found = |line: &Value| {
            line["check"] == check && line["state"] == state && line["message"].as_str().unwrap().contains(message)
        };
        assert!(!self.checks.iter().any(found), "{check} {state}: {message}\nis in\n{}", self.finished.stdout);
    }

    pub fn of_state(&self, state: &str) -> Vec<&Value> {
        self.checks.iter().filter(|line| line["state"] == state).collect()
    }
}

pub async fn checkup(world: &World, arguments: &[&str]) -> Checkup {
    let arguments: Vec<&str> = ["doctor"].iter().chain(arguments).copied().collect();
    Checkup::new(world.run(&arguments).await)
}

pub fn checkup_with(world: &World, variables: &[(&str, &str)]) -> Checkup {
    let mut command = world.program(&["doctor"]);
    command.envs(variables.iter().copied());
    Checkup::new(finish(command))
}

/// As a deployment is after its first minutes: topology declared, both passes done.
pub async fn settled(world: &World, variables: &[(&str, &str)]) -> Worker {
    let mut all = vec![("LIFECYCLE_SWEEP_INTERVAL", "200ms"), ("LIFECYCLE_EVICT_INTERVAL", "200ms")];
    all.extend(variables);
    let worker = world.worker_with(&all).await;
    worker.reaches("pass_seconds_count{rule=\"ttl\"}", 1.0).await;
    worker.reaches("pass_seconds_count{rule=\"cap\"}", 1.0).await;
    worker
}
