use std::fmt;

use crate::closed_set::described_set;

described_set! {
    /// A setting that is checked by the module that understands it. The name is the program's environment variable.
    #[non_exhaustive]
    pub enum Setting {
        /// the URL of the database
        DatabaseUrl = "DATABASE_URL",
        /// the URL of the broker
        BrokerUrl = "AMQP_URL",
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.description())
    }
}

/// A setting that cannot be used. Names the setting and what is allowed, never the value.
///
/// The program ends with exit code 2 and names the variable, which is nothing to a user of the library.
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
