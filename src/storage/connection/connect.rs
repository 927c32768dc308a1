//! One connection apart from the pool: to tell why there is none. The pool tries again until its time is over, and then only says that it
//! has no connection to give.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::future::select_ok;
use sqlx::error::DatabaseError;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgDatabaseError, PgSeverity, PgSslMode};
use sqlx::{ConnectOptions, Connection};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use crate::network::is_certificate_error;

/// Why there is no connection.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ConnectFailure {
    /// Nobody answers.
    #[error("no answer within {0:?}")]
    Silence(Duration),
    /// The name has no address, nothing listens, the way is cut.
    #[error("{message}")]
    Unreachable {
        /// In the system's terms.
        kind: io::ErrorKind,
        /// The server's text.
        message: String,
    },
    /// TLS could not be agreed on.
    #[error("{0}")]
    Tls(String),
    /// The server or a pooler in front of it refused; with the SQLSTATE.
    #[error("{message} ({code})")]
    Refused {
        /// Of five letters and digits.
        code: String,
        /// In its own words.
        message: String,
        /// Whether it ended the connection.
        fatal: bool,
    },
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

/// Less than the pool's timeout, so that the reason comes before it.
const CONNECT_WITHIN: Duration = Duration::from_secs(3);
/// For the address that the system tries first, where the name has others.
const FIRST_ADDRESS: Duration = Duration::from_millis(1500);

impl ConnectFailure {
    /// How to fix it.
    #[must_use]
    pub fn fix(&self) -> &'static str {
        match self {
            Self::Silence(_) => "look for a firewall or a wrong address in the database's URL",
            Self::Unreachable { kind: io::ErrorKind::ConnectionRefused, .. } => {
                "nothing listens there: start PostgreSQL, or correct host and port in the database's URL"
            }
            Self::Unreachable { .. } => "correct host and port in the database's URL, or repair the network between",
            Self::Tls(_) => {
                "sslmode=verify-full needs the host's name in the certificate and its authority in sslrootcert=FILE or among the system's"
            }
            Self::Refused { code, message, .. } => match code.as_str() {
                "28P01" | "28000" => {
                    "correct user and password in the database's URL (a pooler of Supabase's expects the user ROLE.PROJECT)"
                }
                "3D000" => "correct the database's name in the database's URL",
                "53300" => "the server has no connection left: raise max_connections, or go through a pooler",
                "57P03" => "the server is starting or stopping; try again",
                _ if message.contains("statement pooling") => "set the pooler to pool_mode = transaction or session",
                _ => "see the message of the server or the pooler",
            },
            Self::Other(_) => {
                "see what the driver says, and compare the URL with postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=verify-full"
            }
        }
    }
}

impl From<sqlx::Error> for ConnectFailure {
    fn from(error: sqlx::Error) -> Self {
        let line = |text: &str| text.replace(['\r', '\n'], " ");
        match error {
            // rustls speaks through the socket's errors: one side does not accept the other's certificate.
            sqlx::Error::Io(error) if is_certificate_error(&error) => Self::Tls(line(&error.to_string())),
            sqlx::Error::Io(error) => Self::Unreachable { kind: error.kind(), message: line(&error.to_string()) },
            sqlx::Error::Tls(error) => Self::Tls(line(&error.to_string())),
            sqlx::Error::Database(error) => Self::Refused {
                code: error.code().unwrap_or_default().into_owned(),
                message: line(error.message()),
                fatal: is_fatal(&*error),
            },
            other => Self::Other(line(&other.to_string())),
        }
    }
}

/// `host:port`, or the socket's folder.
pub(in crate::storage) fn place(options: &PgConnectOptions) -> String {
    match options.get_socket() {
        Some(path) => path.display().to_string(),
        None if options.get_host().contains(':') => format!("[{}]:{}", options.get_host(), options.get_port()),
        None => format!("{}:{}", options.get_host(), options.get_port()),
    }
}

/// Connects, to another address of the name where its first one is dead, and returns the options that lead there.
pub(in crate::storage) async fn connect(
    options: &PgConnectOptions,
) -> Result<(PgConnection, PgConnectOptions), ConnectFailure> {
    let attempt = async {
        let others = other_addresses(options).await?;
        let within = if others.is_empty() { CONNECT_WITHIN } else { FIRST_ADDRESS };
        let failure = match timeout(within, options.connect()).await {
            Ok(Ok(connection)) => return Ok((connection, options.clone())),
            Ok(Err(error)) => error.into(),
            Err(_) => ConnectFailure::Silence(within),
        };
        // A refusal by the server, not by its machine, comes from the server that was meant.
        if !matches!(failure, ConnectFailure::Unreachable { .. } | ConnectFailure::Silence(_)) {
            return Err(failure);
        }
        let Some(way) = first_that_answers(&others).await.map(|ip| options.clone().host(&ip.to_string())) else {
            return Err(failure);
        };
        Ok((way.connect().await?, way))
    };
    timeout(CONNECT_WITHIN, attempt).await.unwrap_or(Err(ConnectFailure::Silence(CONNECT_WITHIN)))
}

/// The addresses of a name that has several; the system tries them in turn, each for as long as TCP does.
///
/// None with `verify-full`: sqlx checks the certificate against the host that it connects to, so the name has to stay. In the other
/// modes it stays while it works, because some poolers tell their databases apart by it.
async fn other_addresses(options: &PgConnectOptions) -> Result<Vec<SocketAddr>, ConnectFailure> {
    let host = options.get_host();
    if options.get_socket().is_some()
        || host.starts_with('/')
        || host.parse::<IpAddr>().is_ok()
        || matches!(options.get_ssl_mode(), PgSslMode::VerifyFull)
    {
        return Ok(Vec::new());
    }
    let found: Vec<_> = lookup_host((host, options.get_port())).await.map_err(sqlx::Error::Io)?.collect();
    Ok(if found.len() > 1 { found } else { Vec::new() })
}

async fn first_that_answers(addresses: &[SocketAddr]) -> Option<IpAddr> {
    if addresses.is_empty() {
        return None;
    }
    let (stream, _) = select_ok(addresses.iter().map(|address| Box::pin(TcpStream::connect(address)))).await.ok()?;
    Some(stream.peer_addr().ok()?.ip())
}

/// Connects, begins a transaction, which is what a pooler in statement mode refuses, and closes.
pub(in crate::storage) async fn try_out(options: &PgConnectOptions) -> Result<(), ConnectFailure> {
    let (mut connection, _) = connect(options).await?;
    let attempt = async {
        #[expect(clippy::disallowed_methods, reason = "it has no statement, and a time limit here")]
        connection.begin_with("BEGIN READ ONLY").await?.commit().await?;
        connection.close().await
    };
    timeout(CONNECT_WITHIN, attempt).await.map_or(Err(ConnectFailure::Silence(CONNECT_WITHIN)), |done| Ok(done?))
}

/// Whether it ended the connection.
pub(in crate::storage) fn is_fatal(error: &dyn DatabaseError) -> bool {
    let severity = error.try_downcast_ref::<PgDatabaseError>().map(PgDatabaseError::severity);
    matches!(severity, Some(PgSeverity::Fatal | PgSeverity::Panic))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::tests::black_hole;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn living_address_is_found_among_silent_and_refusing_ones() {
        let (silent, _listener, _waiting) = black_hole().await;
        let refusing = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let living = TcpListener::bind("127.0.0.2:0").await.unwrap();
        let there = living.local_addr().unwrap();
        assert_eq!(first_that_answers(&[silent, refusing, there]).await, Some(there.ip()));
        assert_eq!(first_that_answers(&[refusing]).await, None);
        assert_eq!(first_that_answers(&[]).await, None);
    }
}
