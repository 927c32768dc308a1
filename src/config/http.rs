use std::net::SocketAddr;

use clap::Args;

/// The worker's HTTP server.
#[derive(Debug, Clone, Copy, Args)]
pub struct HttpOptions {
    /// Health and metrics
    #[arg(long, env = "LIFECYCLE_HTTP_ADDR", value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080", value_parser = address)]
    pub http_addr: SocketAddr,
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "an IP address and a port, such as 127.0.0.1:8080, 0.0.0.0:8080 or [::]:8080".to_owned())
}
