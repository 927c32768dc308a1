use tokio_util::sync::CancellationToken;

use crate::lifecycle::Signals;

/// Waits for Ctrl-C or another signal that asks the process to end.
pub(super) async fn interrupted() {
    match Signals::listen() {
        Ok(mut signals) => signals.next().await,
        Err(_) => std::future::pending().await,
    };
}

/// Ctrl-C and its like, for work that looks between two steps whether it should end, because a step must not be dropped half-way.
pub(super) struct Interrupt {
    first: CancellationToken,
    second: CancellationToken,
}

impl Interrupt {
    /// Listens from now on.
    pub(super) fn listen() -> Self {
        let (first, second) = (CancellationToken::new(), CancellationToken::new());
        let heard = [first.clone(), second.clone()];
        tokio::spawn(async move {
            let Ok(mut signals) = Signals::listen() else { return };
            for token in heard {
                signals.next().await;
                token.cancel();
            }
        });
        Self { first, second }
    }

    /// Whether the work should end.
    pub(super) fn is_raised(&self) -> bool {
        self.first.is_cancelled()
    }

    /// Waits for that.
    pub(super) async fn raised(&self) {
        self.first.cancelled().await;
    }

    /// Waits for somebody who does not want to wait for an orderly end either.
    pub(super) async fn raised_again(&self) {
        self.second.cancelled().await;
    }
}
