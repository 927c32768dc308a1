//! Tells systemd, and the log, whether the worker works. Without systemd (`NOTIFY_SOCKET` is not set) only the log.

use std::time::Duration;

use sd_notify::{NotifyState, notify, watchdog_enabled};

use crate::heartbeat::Heartbeats;
use crate::lifecycle::Stop;
use crate::policy::Activity;
use crate::telemetry::{Dependency, Health};

/// How soon a change of the status, or a loop that stands still, is told.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Runs to the end of the process: a soft stop may take a while, and systemd waits for no longer than for anything else.
///
/// systemd counts the service as started from here on, whether or not PostgreSQL and RabbitMQ are up: what is ordered after it must not
/// hang on them. Its watchdog is fed as long as no loop is late; a worker that waits for a server is not late.
pub async fn run(heartbeats: Heartbeats, health: Health, stop: Stop) {
    tell(&[NotifyState::Ready]);
    let every = watchdog_enabled().map_or(LOOK_EVERY, |within| LOOK_EVERY.min(within / 2));
    let (mut told, mut was_late) = (String::new(), None);
    loop {
        let late = heartbeats.late();
        if let Some(name) = late.filter(|_| was_late != late) {
            tracing::error!(name, "a loop of the worker has stood still for minutes; /livez is 503 until it goes on");
        }
        was_late = late;
        let status = status(late, &health, &stop);
        if late.is_none() {
            tell(&[NotifyState::Watchdog]);
        }
        if status != told {
            tell(&[NotifyState::Status(&status)]);
            told = status;
        }
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            () = stop.soft.cancelled(), if !told.starts_with(STOPPING) => tell(&[NotifyState::Stopping]),
        }
    }
}

const STOPPING: &str = "stopping";

/// One line for `systemctl status`.
fn status(late: Option<&str>, health: &Health, stop: &Stop) -> String {
    let down: Vec<_> = Dependency::ALL.into_iter().filter(|dependency| !health.is_up(*dependency)).collect();
    if stop.soft.is_cancelled() {
        format!("{STOPPING}: finishing what is in flight")
    } else if let Some(name) = late {
        format!("stands still: {name}")
    } else if down.is_empty() {
        let paused: Vec<_> =
            Activity::ALL.into_iter().filter(|it| health.is_paused(*it)).map(Activity::as_str).collect();
        let doing = if health.is_paused(Activity::Consume) { "waiting" } else { "consuming" };
        if paused.is_empty() { doing.to_owned() } else { format!("{doing}; paused: {}", paused.join(", ")) }
    } else {
        format!("waiting for {}", down.iter().map(|dependency| dependency.as_str()).collect::<Vec<_>>().join(" and "))
    }
}

/// Where nobody listens, nothing is lost.
fn tell(states: &[NotifyState<'_>]) {
    notify(states).ok();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Metrics;

    #[test]
    fn status_says_what_is_waited_for() {
        let (health, stop) = (Health::new(Metrics::new()), Stop::default());
        assert_eq!(status(None, &health, &stop), "waiting for postgres and rabbitmq");
        health.set(Dependency::Postgres, true);
        assert_eq!(status(None, &health, &stop), "waiting for rabbitmq");
        assert_eq!(status(Some("pipeline"), &health, &stop), "stands still: pipeline");
        health.set(Dependency::Rabbitmq, true);
        assert_eq!(status(None, &health, &stop), "consuming");
        health.set_paused(|activity| (activity == Activity::Sweep).then(String::new));
        assert_eq!(status(None, &health, &stop), "consuming; paused: sweep");
        health.set_paused(|_| Some(String::new()));
        assert_eq!(status(None, &health, &stop), "waiting; paused: sweep, evict, consume");
        stop.soft.cancel();
        assert!(status(None, &health, &stop).starts_with("stopping"));
    }
}
