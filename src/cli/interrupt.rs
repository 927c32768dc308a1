use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Waits for Ctrl-C or SIGTERM.
pub(super) async fn interrupted() {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

/// Ctrl-C and SIGTERM for work that looks between two steps whether it should end, because a step must not be dropped half-way.
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
            for token in heard {
                interrupted().await;
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
