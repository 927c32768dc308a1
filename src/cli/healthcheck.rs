use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::config::HttpOptions;

/// Asks the running worker's /readyz; for containers without a shell
#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    http: HttpOptions,
}

const TIMEOUT: Duration = Duration::from_secs(5);

impl Options {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let address = reachable(self.http.http_addr);
        let status = timeout(TIMEOUT, status_line(address))
            .await
            .with_context(|| format!("the worker at {address} did not answer"))?
            .with_context(|| format!("could not ask the worker at {address}"))?;
        match status.split(' ').nth(1) {
            Some("200") => Ok(ExitCode::SUCCESS),
            Some("503") => {
                bail!("the worker at {address} is not ready: PostgreSQL or RabbitMQ is away; its logs say which")
            }
            _ => bail!("the worker at {address} answered with something else: {status}"),
        }
    }
}

/// A worker that listens on every address is asked on loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => (Ipv4Addr::LOCALHOST, v4.port()).into(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => (Ipv6Addr::LOCALHOST, v6.port()).into(),
        other => other,
    }
}

async fn status_line(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    // HTTP/1.0: the worker closes after the answer.
    let request = format!("GET /readyz HTTP/1.0\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(4096).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned())
}
