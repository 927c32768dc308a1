//! Signals, tracked tasks, and the end of the process.
//!
//! A first SIGTERM, SIGINT, SIGHUP or SIGQUIT stops softly: tasks finish what is in flight. After `LIFECYCLE_SHUTDOWN_TIMEOUT` the stop becomes
//! hard: tasks drop what they hold, which the broker and the database return to others. A second signal ends the
//! process at once. A task that ends before a stop was asked for, by a panic or otherwise, stops the whole process with a
//! failure code: a worker whose sweeper is dead must not look healthy.

use std::future::Future;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::heartbeat::{Heartbeat, Heartbeats};

/// The two ways to be asked to stop, and how a loop says that it has not stood still.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    /// Take nothing new, finish what is in flight.
    pub soft: CancellationToken,
    /// Drop everything now.
    pub hard: CancellationToken,
    /// Of the loop that has this. [`Stop::sleep`] announces itself.
    pub heartbeat: Heartbeat,
}

impl Stop {
    /// Sleeps; `false` if a soft stop has come, which ends the sleep at once.
    pub async fn sleep(&self, time: Duration) -> bool {
        self.heartbeat.back_after(time);
        tokio::select! {
            biased;
            () = self.soft.cancelled() => false,
            () = tokio::time::sleep(time) => true,
        }
    }
}

/// The tasks of one process and how they end.
#[derive(Debug)]
pub struct Lifecycle {
    stop: Stop,
    heartbeats: Heartbeats,
    tasks: TaskTracker,
    task_died: Arc<AtomicBool>,
    timeout: Duration,
}

/// How the process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// As asked.
    Asked,
    /// A second signal came before all was finished.
    AtOnce,
    /// A task ended although nobody asked it to.
    TaskDied,
}

impl Lifecycle {
    /// No tasks yet; a soft stop becomes hard after `timeout`.
    #[must_use]
    pub fn new(timeout: Duration) -> Self {
        Self {
            stop: Stop::default(),
            heartbeats: Heartbeats::default(),
            tasks: TaskTracker::new(),
            task_died: Arc::default(),
            timeout,
        }
    }

    /// What tasks listen to.
    #[must_use]
    pub fn stop(&self) -> Stop {
        self.stop.clone()
    }

    /// Of the loops that [`Lifecycle::spawn`] has started.
    #[must_use]
    pub fn heartbeats(&self) -> Heartbeats {
        self.heartbeats.clone()
    }

    /// Runs a loop that ends when asked to stop; the process waits for it.
    pub fn spawn<F>(&self, name: &'static str, task: impl FnOnce(Stop) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let stop = Stop { heartbeat: self.heartbeats.watch(name), ..self.stop() };
        self.tasks.spawn(self.guarded(name, task(stop)));
    }

    /// Runs a task that serves others to the very end; the process does not wait for it.
    #[expect(clippy::disallowed_methods, reason = "a guard watches the task, and nobody waits for its end")]
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
        let mut signals = Signals::listen().expect("signals can be listened to");
        tokio::select! {
            signal = signals.next() => tracing::info!(signal, "stopping"),
            () = self.stop.soft.cancelled() => {}
        }
        self.stop.soft.cancel();
        self.tasks.close();
        tokio::select! {
            signal = signals.next() => {
                tracing::warn!(signal, "second signal: ending at once; what was in flight goes back to the queue");
                return Ending::AtOnce;
            }
            () = self.tasks_end() => {}
        }
        if self.task_died.load(Ordering::SeqCst) { Ending::TaskDied } else { Ending::Asked }
    }

    async fn tasks_end(&self) {
        if tokio::time::timeout(self.timeout, self.tasks.wait()).await.is_err() {
            tracing::warn!(
                timeout_seconds = self.timeout.as_secs_f64(),
                "not finished within the shutdown timeout; ending without it; what was in flight goes back to the queue"
            );
            self.stop.hard.cancel();
            // Tasks answer a hard stop at their next await; one that does not is ended with the process.
            tokio::time::timeout(Duration::from_secs(2), self.tasks.wait()).await.ok();
        }
    }
}

/// The signals that ask a process to end: by an operator, by Ctrl-C, by a terminal that closes, and by Ctrl-\.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// Not where the process was told to outlive its terminal, as by `nohup`.
    hangup: Option<Signal>,
    quit: Signal,
}

impl Signals {
    /// Listens from now on.
    ///
    /// # Errors
    /// Where the system refuses, or outside of a runtime's thread.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: if ignores_hangup() { None } else { Some(signal(SignalKind::hangup())?) },
            quit: signal(SignalKind::quit())?,
        })
    }

    /// Waits for one of them, and says its name.
    pub async fn next(&mut self) -> &'static str {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            _ = hangup => "SIGHUP",
            _ = self.quit.recv() => "SIGQUIT",
        }
    }
}

/// Whether SIGHUP was ignored when the process was started; listening to it would undo that. The kernel shows the ignored signals as a
/// mask, whose lowest bit is SIGHUP.
fn ignores_hangup() -> bool {
    static IGNORED: LazyLock<bool> = LazyLock::new(|| {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
    });
    *IGNORED
}

struct DeathGuard {
    name: &'static str,
    stop: Stop,
    task_died: Arc<AtomicBool>,
}

impl Drop for DeathGuard {
    fn drop(&mut self) {
        if !self.stop.soft.is_cancelled() {
            tracing::error!(task = self.name, "task ended unexpectedly; stopping the process");
            self.task_died.store(true, Ordering::SeqCst);
            self.stop.soft.cancel();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_mins(1);

    #[tokio::test]
    async fn task_that_panics_or_returns_stops_the_others_and_the_process_fails() {
        for panics in [true, false] {
            let lifecycle = Lifecycle::new(LONG);
            lifecycle.spawn("healthy", |stop| async move { stop.soft.cancelled().await });
            lifecycle.spawn("dying", |_| async move { assert!(!panics, "as a bug would") });
            let ending = tokio::time::timeout(LONG, lifecycle.run_until_stopped()).await.expect("it ends");
            assert_eq!(ending, Ending::TaskDied, "panics: {panics}");
        }
    }

    #[tokio::test]
    async fn service_that_dies_stops_the_process_too() {
        let lifecycle = Lifecycle::new(LONG);
        lifecycle.spawn_service("http", async {});
        let ending = tokio::time::timeout(LONG, lifecycle.run_until_stopped()).await.expect("it ends");
        assert_eq!(ending, Ending::TaskDied);
    }

    #[tokio::test]
    async fn tasks_that_end_once_they_were_asked_to_are_no_failure() {
        let lifecycle = Lifecycle::new(LONG);
        lifecycle.spawn("healthy", |stop| async move { stop.soft.cancelled().await });
        lifecycle.stop().soft.cancel();
        assert_eq!(lifecycle.run_until_stopped().await, Ending::Asked);
    }
}
