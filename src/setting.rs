//! Settings that are checked by the module that understands them: the arguments of the library, the program's variables.

use std::fmt;

use crate::closed_set::closed_set;

closed_set! {
    /// A setting by the name of the library's argument. The program shows its own name of it, see `config::variable_of`.
    #[non_exhaustive]
    pub enum Setting {
        /// The URL of the database.
        DatabaseUrl = "database_url",
        /// The URL of the broker.
        BrokerUrl = "amqp_url",
        /// The exchange that status messages are published to.
        Exchange = "exchange",
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An argument that cannot be used. Names the argument and what is allowed, never the value, which may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting} is missing or unusable; allowed: {allowed}")]
#[non_exhaustive]
pub struct ConfigError {
    /// Which setting.
    pub setting: Setting,
    /// The form that it takes.
    pub allowed: String,
}

impl ConfigError {
    /// Names the setting and the form that it takes.
    pub(crate) fn new(setting: Setting, allowed: impl Into<String>) -> Self {
        Self { setting, allowed: allowed.into() }
    }
}
