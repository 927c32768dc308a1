use std::str::FromStr;

use lapin::uri::{AMQPScheme, AMQPUri};
use secrecy::{ExposeSecret, SecretString};

use crate::config::ConfigError;

/// Noticed as lost after twice this: well before anybody asks why nothing happens, and RabbitMQ's documentation calls 5 to 20
/// seconds optimal (docs/heartbeats).
const HEARTBEAT_SECONDS: u16 = 10;

/// Where the broker is and how to log in. `Debug` shows nothing of it.
#[derive(Clone)]
pub struct BrokerAddress(AMQPUri);

impl BrokerAddress {
    /// Reads the URL.
    pub fn parse(url: Option<&SecretString>) -> Result<Self, ConfigError> {
        let mut uri = url.and_then(|url| AMQPUri::from_str(url.expose_secret()).ok()).ok_or_else(|| {
            ConfigError::new("AMQP_URL", "amqp://USER:PASSWORD@HOST:PORT/VHOST or amqps://…, with %2f for the vhost /")
        })?;
        uri.query.heartbeat.get_or_insert(HEARTBEAT_SECONDS);
        Ok(Self(uri))
    }

    pub(super) fn uri(&self) -> AMQPUri {
        self.0.clone()
    }

    /// `host:port`, for logs.
    #[must_use]
    pub fn host(&self) -> String {
        let scheme = match self.0.scheme {
            AMQPScheme::AMQP => "amqp",
            AMQPScheme::AMQPS => "amqps",
        };
        format!("{scheme}://{}:{}", self.0.authority.host, self.0.authority.port)
    }
}

impl std::fmt::Debug for BrokerAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BrokerAddress(..)")
    }
}
