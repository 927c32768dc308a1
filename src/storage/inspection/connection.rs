use sqlx::postgres::PgSslMode;

use crate::network::is_loopback;
use crate::storage::connection::connect::{self, ConnectFailure, place};
use crate::storage::database::Database;

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

    /// Connects once, outside of the pool, which would only say that it has no free connection.
    ///
    /// # Errors
    /// If there is no connection, with the reason.
    pub async fn try_to_connect(&self) -> Result<(), ConnectFailure> {
        connect::try_out(self.options()).await
    }
}
