use sqlx::{PgPool, Postgres, Transaction};
use tokio::time::timeout;

use crate::storage::database::Database;
use crate::storage::error::StorageError;
use crate::storage::limits::Limits;
use crate::storage::statement::query_as;

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

/// A pooler hands out a connection to whoever asks next; busy ones need not hand out the same at the first try.
const TRIES: u32 = 6;

impl Database {
    /// Finds out what lies between: two connections that are open at once and are served by the same backend share it.
    ///
    /// # Errors
    /// If the database does not answer or refuses.
    pub async fn pooling(&self) -> Result<Pooling, StorageError> {
        const WHAT: &str = "find out about poolers";
        let found = timeout(Limits::SHORT.whole(self.pool().acquire_timeout()), self.compare_backends()).await;
        found.map_err(|_| StorageError::no_answer(WHAT))?.map_err(StorageError::during(WHAT))
    }

    async fn compare_backends(&self) -> sqlx::Result<Pooling> {
        let (one, other) = (self.pool_of_one(), self.pool_of_one());
        let mut direct = true;
        let mut shared = false;
        let mut seen = Vec::new();
        for turn in 0..TRIES {
            // Whichever idle backend a pooler hands out first, the one used last or the one used longest ago: one after the
            // other, or both at once and returned the other way round, each brings some pooler to mix them up.
            let overlap = turn % 2 == 1;
            let mut open = Vec::new();
            for (number, pool) in [&one, &other].into_iter().enumerate() {
                let (tx, backend, port) = backend(pool).await?;
                direct &= port.is_none_or(|port| port == i32::from(self.port()));
                shared |= seen.iter().any(|&(by, seen)| (by == number) != (seen == backend));
                seen.push((number, backend));
                open.push(tx);
                if !overlap {
                    commit_all(&mut open).await?;
                }
            }
            commit_all(&mut open).await?;
        }
        one.close().await;
        other.close().await;
        Ok(match (shared, direct) {
            (true, _) => Pooling::Transaction,
            (false, true) => Pooling::Direct,
            (false, false) => Pooling::Session,
        })
    }
}

/// The process that serves the connection until the transaction ends, and the port it was reached by; none on a socket.
async fn backend(pool: &PgPool) -> sqlx::Result<(Transaction<'static, Postgres>, i32, Option<i32>)> {
    #[expect(
        clippy::disallowed_methods,
        reason = "the pool is one of a single connection, made to be compared with another"
    )]
    let mut tx = pool.begin_with("BEGIN READ ONLY").await?;
    let statement = query_as("SELECT pg_catalog.pg_backend_pid(), pg_catalog.inet_server_port()");
    let (backend, port) = statement.fetch_one_on(&mut tx).await?;
    Ok((tx, backend, port))
}

/// The last first.
async fn commit_all(open: &mut Vec<Transaction<'static, Postgres>>) -> sqlx::Result<()> {
    while let Some(tx) = open.pop() {
        tx.commit().await?;
    }
    Ok(())
}
