use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;

use crate::config::HttpOptions;
use crate::http::request_readiness;

/// Asks the running worker's /readyz; for containers without a shell
#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    http: HttpOptions,
}

impl Options {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let address = self.http.http_addr;
        let status = request_readiness(address).await;
        let status = status.with_context(|| format!("the worker at {address} did not answer"))?;
        match status.split(' ').nth(1) {
            Some("200") => Ok(ExitCode::SUCCESS),
            Some("503") => {
                bail!("the worker at {address} is not ready: it cannot use PostgreSQL or RabbitMQ; its logs say which")
            }
            _ => bail!("the worker at {address} gave an unexpected answer: {status}"),
        }
    }
}
