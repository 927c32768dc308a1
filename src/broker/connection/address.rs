use std::str::FromStr;

use lapin::tcp::{OwnedIdentity, OwnedTLSConfig};
use lapin::uri::{AMQPScheme, AMQPUri};
use secrecy::{ExposeSecret, SecretString};
use url::{Host, Url};

use crate::network::is_loopback;
use crate::setting::{ConfigError, Setting};

/// A lost connection is noticed after twice this time. RabbitMQ's documentation recommends 5 to 20 seconds (docs/heartbeats).
const HEARTBEAT_SECONDS: u16 = 10;

/// Where the broker is and how to log in. `Debug` shows none of it.
#[derive(Clone)]
pub struct BrokerAddress {
    uri: AMQPUri,
    tls: OwnedTLSConfig,
}

const FORM: &str = "amqp://USER:PASSWORD@HOST:PORT/VHOST or amqps://…, with %2f for the vhost /";
/// The parameters that the URL may have behind its question mark: lapin's, and ours.
const PARAMETERS: [&str; 8] =
    ["heartbeat", "frame_max", "channel_max", "connection_timeout", "auth_mechanism", AUTHORITY, CERTIFICATE, KEY];

/// Files in PEM, named as RabbitMQ's clients name them (docs/uri-query-parameters).
const AUTHORITY: &str = "cacertfile";
const CERTIFICATE: &str = "certfile";
const KEY: &str = "keyfile";

impl BrokerAddress {
    /// Parses the URL and reads the files that it names: `cacertfile`, an authority beside the system's; `certfile` and `keyfile`, the
    /// client's own certificate.
    ///
    /// # Errors
    /// When the URL is missing or unusable, or a file cannot be read. The error says which part and why, without its value.
    pub fn parse(url: Option<&SecretString>) -> Result<Self, ConfigError> {
        let text = url.map(ExposeSecret::expose_secret).ok_or_else(|| ConfigError::new(Setting::BrokerUrl, FORM))?;
        let unusable = |why: String| ConfigError::new(Setting::BrokerUrl, format!("{FORM}; here {why}"));
        let url = checked(text).map_err(unusable)?;
        // lapin's error is left out: it may quote the value.
        let mut uri = AMQPUri::from_str(text).map_err(|_| {
            unusable("a number behind ? is none, or user, password or vhost are not percent-encoded UTF-8".to_owned())
        })?;
        if let Some(Host::Ipv6(ip)) = url.host() {
            // lapin does not see an IPv6 literal as a host, and would connect to localhost.
            uri.authority.host = ip.to_string();
        }
        uri.query.heartbeat.get_or_insert(HEARTBEAT_SECONDS);
        Ok(Self { uri, tls: tls(&url)? })
    }

    /// The virtual host.
    #[must_use]
    pub fn vhost(&self) -> &str {
        &self.uri.vhost
    }

    /// The user that logs in.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.uri.authority.userinfo.username
    }

    pub(in crate::broker) fn uri(&self) -> AMQPUri {
        self.uri.clone()
    }

    pub(in crate::broker) fn tls(&self) -> OwnedTLSConfig {
        self.tls.clone()
    }

    /// Whether the connection uses TLS.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        matches!(self.uri.scheme, AMQPScheme::AMQPS)
    }

    /// Whether the broker is on this machine.
    #[must_use]
    pub fn is_local(&self) -> bool {
        is_loopback(&self.uri.authority.host)
    }

    /// `amqp://host:port`, for logs.
    #[must_use]
    pub fn host(&self) -> String {
        let scheme = match self.uri.scheme {
            AMQPScheme::AMQP => "amqp",
            AMQPScheme::AMQPS => "amqps",
        };
        let (name, port) = self.server();
        format!("{scheme}://{name}:{port}")
    }

    /// The broker's name or address, and its port.
    #[must_use]
    pub fn server(&self) -> (&str, u16) {
        (&self.uri.authority.host, self.uri.authority.port)
    }
}

impl std::fmt::Debug for BrokerAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BrokerAddress(..)")
    }
}

/// The URL, or what is wrong with it, without any part of its value.
fn checked(text: &str) -> Result<Url, String> {
    if text.is_empty() {
        return Err("it is empty".to_owned());
    }
    let Some(rest) = text.strip_prefix("amqp://").or_else(|| text.strip_prefix("amqps://")) else {
        return Err("it does not begin with amqp:// or amqps://".to_owned());
    };
    let authority = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    if !rest[..authority].contains('@') && rest[authority..].contains('@') {
        return Err("user or password contain a character that must be percent-encoded: / is %2F, ? is %3F, # is %23"
            .to_owned());
    }
    let url = Url::parse(text).map_err(|error| format!("host or port cannot be read: {error}"))?;
    if url.host_str().is_none_or(str::is_empty) {
        return Err("the host is missing".to_owned());
    }
    if url.fragment().is_some() {
        return Err("a # is not percent-encoded: write %23".to_owned());
    }
    if let Some((unknown, _)) = url.query_pairs().find(|(name, _)| !PARAMETERS.contains(&&**name)) {
        return Err(format!("the parameter {unknown} is unknown; known are {}", PARAMETERS.join(", ")));
    }
    Ok(url)
}

fn tls(url: &Url) -> Result<OwnedTLSConfig, ConfigError> {
    let file = |name: &'static str| {
        let Some((_, path)) = url.query_pairs().find(|(key, _)| key == name) else { return Ok(None) };
        // The path is no secret, and says which of the three files it is.
        std::fs::read_to_string(&*path).map(Some).map_err(|error| {
            ConfigError::new(Setting::BrokerUrl, format!("{name}= names a readable file in PEM; {path}: {error}"))
        })
    };
    let identity = match (file(CERTIFICATE)?, file(KEY)?) {
        (None, None) => None,
        (Some(certificate), Some(key)) => {
            Some(OwnedIdentity::PKCS8 { pem: certificate.into_bytes(), key: key.into_bytes() })
        }
        _ => return Err(ConfigError::new(Setting::BrokerUrl, "certfile= and keyfile= only together")),
    };
    Ok(OwnedTLSConfig { identity, cert_chain: file(AUTHORITY)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> Result<BrokerAddress, ConfigError> {
        BrokerAddress::parse(Some(&SecretString::from(url)))
    }

    #[test]
    fn host_of_the_url_is_where_we_go() {
        for (url, host) in [
            ("amqp://u:p@[::1]:5672/%2f", "::1"),
            ("amqp://u:p@[2001:db8::7]/v", "2001:db8::7"),
            ("amqps://u:p@127.0.0.1/v", "127.0.0.1"),
            ("amqp://u:p@mq.example.org:1/v", "mq.example.org"),
        ] {
            assert_eq!(parsed(url).unwrap().uri().authority.host, host);
        }
        assert!(parsed("amqp://u:p@[::1]/%2f").unwrap().is_local());
        assert!(!parsed("amqp://u:p@[2001:db8::7]/%2f").unwrap().is_local());
    }

    #[test]
    fn unusable_url_says_which_part_and_why_and_never_its_value() {
        for (url, why) in [
            ("", "it is empty"),
            ("postgres://u:hidden@h/v", "does not begin with amqp://"),
            ("amqp://u:hid#den@h/v", "# is %23"),
            ("amqp://u:hid/den@h/v", "/ is %2F"),
            ("amqp://u:hid?den@h/v", "? is %3F"),
            ("amqp://u:hidden@h:70000/v", "port"),
            ("amqp://u:hidden@/v", "host"),
            ("amqp://u:hidden@h/v#x", "%23"),
            ("amqp://u:hidden@h/v?heartbeat=often", "number"),
            ("amqp://u:hidden@h/v?cacertfil=/x", "the parameter cacertfil is unknown; known are heartbeat,"),
        ] {
            let error = parsed(url).unwrap_err().to_string();
            assert!(error.contains(why) && !error.contains("hid"), "{url}: {error}");
        }
        assert!(parsed("amqps://u:p%23%2F%3F@h/v?heartbeat=5&frame_max=131072").is_ok());
    }

    #[test]
    fn files_that_cannot_be_read_are_named_and_secrets_are_not() {
        let error = parsed("amqps://u:hidden@h/v?cacertfile=/nowhere/ca.pem").unwrap_err().to_string();
        assert!(error.contains("/nowhere/ca.pem") && !error.contains("hidden"), "{error}");
        let error = parsed("amqps://u:p@h/v?certfile=/dev/null").unwrap_err().to_string();
        assert!(error.contains("only together"), "{error}");
    }
}
