//! Signals, tracked tasks, and the end of the process.
//!
//! A first SIGTERM or SIGINT stops softly: tasks finish what is in flight. After `LIFECYCLE_SHUTDOWN_TIMEOUT` the stop becomes
//! hard: tasks let go of what they hold, which the broker and the database give back to others. A second signal ends the
//! process at once. A task that ends before a stop was asked for, by a panic or otherwise, stops the whole process with a
//! failure code: a worker whose sweeper is dead must not look healthy.

use std::future::Future;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The two ways to be asked to stop.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    /// Take nothing new, finish what is in flight.
    pub soft: CancellationToken,
    /// Let go of everything now.
    pub hard: CancellationToken,
}

/// The tasks of one process and how they end.
#[derive(Debug)]
pub struct Lifecycle {
    stop: Stop,
    tasks: TaskTracker,
    task_died: Arc<AtomicBool>,
    timeout: Duration,
}

/// How the process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// As asked.
    Asked,
    /// A task ended by itself.
    TaskDied,
}

impl Lifecycle {
    /// No tasks yet; a soft stop becomes hard after `timeout`.
    #[must_use]
    pub fn new(timeout: Duration) -> Self {
        Self { stop: Stop::default(), tasks: TaskTracker::new(), task_died: Arc::default(), timeout }
    }

    /// What tasks listen to.
    #[must_use]
    pub fn stop(&self) -> Stop {
        self.stop.clone()
    }

    /// Runs a task that ends when asked to stop; the process waits for it.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(self.guarded(name, task));
    }

    /// Runs a task that serves others to the very end; the process does not wait for it.
    pub fn spawn_service(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(self.guarded(name, task));
    }

    fn guarded(
        &self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> impl Future<Output = ()> + Send + 'static {
        // Dropped at the task's end however it comes about, a panic included.
        let guard = DeathGuard { name, stop: self.stop.clone(), task_died: Arc::clone(&self.task_died) };
        async move {
            let _guard = guard;
            task.await;
        }
    }

    /// Waits for a signal or a dead task, then for all tasks to end.
    ///
    /// # Panics
    /// Where the process cannot listen to signals, which no supported system refuses.
    pub async fn run_until_stopped(self) -> Ending {
        let mut terminate = signal(SignalKind::terminate()).expect("SIGTERM can be listened to");
        let mut interrupt = signal(SignalKind::interrupt()).expect("SIGINT can be listened to");
        tokio::select! {
            _ = terminate.recv() => tracing::info!(signal = "SIGTERM", "stopping"),
            _ = interrupt.recv() => tracing::info!(signal = "SIGINT", "stopping"),
            () = self.stop.soft.cancelled() => {}
        }
        self.stop.soft.cancel();
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::warn!("second signal: ending at once; what was in flight goes back to the queue");
            process::exit(1);
        });
        self.tasks.close();
        if tokio::time::timeout(self.timeout, self.tasks.wait()).await.is_err() {
            tracing::warn!(
                timeout_seconds = self.timeout.as_secs_f64(),
                "not finished within the shutdown time-out: letting go; what was in flight goes back to the queue"
            );
            self.stop.hard.cancel();
            // Tasks answer a hard stop at their next await; one that does not is ended with the process.
            tokio::time::timeout(Duration::from_secs(2), self.tasks.wait()).await.ok();
        }
        if self.task_died.load(Ordering::SeqCst) { Ending::TaskDied } else { Ending::Asked }
    }
}

struct DeathGuard {
    name: &'static str,
    stop: Stop,
    task_died: Arc<AtomicBool>,
}

impl Drop for DeathGuard {
    fn drop(&mut self) {
        if !self.stop.soft.is_cancelled() {
            tracing::error!(task = self.name, "task ended by itself; stopping the process");
            self.task_died.store(true, Ordering::SeqCst);
            self.stop.soft.cancel();
        }
    }
}
