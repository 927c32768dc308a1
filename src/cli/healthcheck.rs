use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;

use crate::config::HttpOptions;
use crate::http::request_health;

/// Asks the running worker's /readyz, or /livez; for containers without a shell
#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    http: HttpOptions,

    /// Ask /livez: whether the worker itself works, whatever PostgreSQL and RabbitMQ do. What restarts a worker must ask this
    #[arg(long)]
    live: bool,
}

impl Options {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let address = self.http.http_addr;
        let path = if self.live { "/livez" } else { "/readyz" };
        let status = request_health(address, path).await;
        let status = status.with_context(|| format!("the worker at {address} did not answer"))?;
        match status.split(' ').nth(1) {
            Some("200") => Ok(ExitCode::SUCCESS),
            Some("503") if self.live => {
                bail!("the worker at {address} has stood still for minutes; its log says which loop")
            }
            Some("503") => {
                bail!("the worker at {address} is not ready: it cannot use PostgreSQL or RabbitMQ; its logs say which")
            }
            _ => bail!("the worker at {address} gave an unexpected answer: {status}"),
        }
    }
}
