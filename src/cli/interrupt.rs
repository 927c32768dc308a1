use crate::lifecycle::{Signals, Stop};

/// The signals that ask the process to end, for work that must not be dropped half-way: soft with the first, hard with the second.
pub(super) fn stop_on_signals() -> Stop {
    let stop = Stop::default();
    let Ok(mut signals) = Signals::listen() else { return stop };
    let tokens = [stop.soft.clone(), stop.hard.clone()];
    #[expect(clippy::disallowed_methods, reason = "ends with the command")]
    tokio::spawn(async move {
        for token in tokens {
            signals.next().await;
            token.cancel();
        }
    });
    stop
}
