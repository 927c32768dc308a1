use sqlx::postgres::PgSslMode;
use sqlx::{PgPool, Postgres, Transaction};

use crate::network::is_loopback;
use crate::storage::connection::connect::{self, ConnectFailure, place};
use crate::storage::database::Database;
use crate::storage::error::StorageError;
use crate::storage::transaction::Limits;

/// How the way to the server is protected, by the URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encryption {
    /// The server is on this machine.
    Local,
    /// `verify-full`: encrypted, and the server is the one that was meant.
    Full,
    /// `verify-ca`: encrypted, and some server of the authority's.
    Authority,
    /// `require`: encrypted, to anybody.
    Unverified,
    /// `prefer` (the default) or `allow`: perhaps encrypted, to anybody.
    Opportunistic,
    /// `disable`.
    Off,
}

/// What lies between the program and the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// The server's port is the one in the URL.
    Direct,
    /// Another port, and connections have their sessions for themselves: a pooler in session mode, or a forwarded port.
    Session,
    /// Connections share sessions.
    Transaction,
}

/// A pooler gives a connection to whoever asks next; busy ones need not give the same at the first try.
const TRIES: u32 = 6;

impl Database {
    /// `host:port`, or the socket's folder.
    #[must_use]
    pub fn host(&self) -> String {
        place(self.options())
    }

    /// The database's name; where the URL has none, the user's name is taken.
    #[must_use]
    pub fn name(&self) -> &str {
        let options = self.options();
        options.get_database().unwrap_or_else(|| options.get_username())
    }

    /// How the way to the server is protected, by the URL.
    #[must_use]
    pub fn encryption(&self) -> Encryption {
        let options = self.options();
        let host = options.get_host();
        let local = options.get_socket().is_some() || host.starts_with('/') || is_loopback(host);
        match options.get_ssl_mode() {
            _ if local => Encryption::Local,
            PgSslMode::VerifyFull => Encryption::Full,
            PgSslMode::VerifyCa => Encryption::Authority,
            PgSslMode::Require => Encryption::Unverified,
            PgSslMode::Prefer | PgSslMode::Allow => Encryption::Opportunistic,
            PgSslMode::Disable => Encryption::Off,
        }
    }

    /// Connects once, outside of the pool, which would only say that it has no connection to give.
    pub async fn try_to_connect(&self) -> Result<(), ConnectFailure> {
        connect::try_out(self.options()).await
    }

    /// Finds out what lies between: two connections that are open at once and are served by the same backend share it.
    pub async fn pooling(&self) -> Result<Pooling, StorageError> {
        const WHAT: &str = "find out about poolers";
        self.within(Limits::SHORT, WHAT, async {
            let (one, other) = (self.pool_of_one(), self.pool_of_one());
            let mut direct = true;
            let mut shared = false;
            let mut seen = Vec::new();
            for turn in 0..TRIES {
                // Whichever idle backend a pooler gives out first, the one used last or the one used longest ago: one after the
                // other, or both at once and given back the other way round, each brings some pooler to mix them up.
                let overlap = turn % 2 == 1;
                let mut open = Vec::new();
                for (number, pool) in [&one, &other].into_iter().enumerate() {
                    let (tx, backend, port) = backend(pool).await.map_err(StorageError::during(WHAT))?;
                    direct &= port.is_none_or(|port| port == i32::from(self.port()));
                    shared |= seen.iter().any(|&(by, seen)| (by == number) != (seen == backend));
                    seen.push((number, backend));
                    open.push(tx);
                    if !overlap {
                        commit_all(&mut open).await.map_err(StorageError::during(WHAT))?;
                    }
                }
                commit_all(&mut open).await.map_err(StorageError::during(WHAT))?;
            }
            one.close().await;
            other.close().await;
            Ok(match (shared, direct) {
                (true, _) => Pooling::Transaction,
                (false, true) => Pooling::Direct,
                (false, false) => Pooling::Session,
            })
        })
        .await
    }
}

/// The process that serves the connection until the transaction ends, and the port it was reached by; none on a socket.
async fn backend(pool: &PgPool) -> sqlx::Result<(Transaction<'static, Postgres>, i32, Option<i32>)> {
    let mut tx = pool.begin_with("BEGIN READ ONLY").await?;
    let (backend, port) = sqlx::query_as("SELECT pg_catalog.pg_backend_pid(), pg_catalog.inet_server_port()")
        .persistent(false)
        .fetch_one(&mut *tx)
        .await?;
    Ok((tx, backend, port))
}

/// The last first.
async fn commit_all(open: &mut Vec<Transaction<'static, Postgres>>) -> sqlx::Result<()> {
    while let Some(tx) = open.pop() {
        tx.commit().await?;
    }
    Ok(())
}
