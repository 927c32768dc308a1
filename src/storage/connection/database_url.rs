//! Reading the URL of the database. sqlx takes any parameter that it does not know and ignores it, so a misspelt `sslmod=verify-full` would
//! go without TLS; and what it says of a URL that it cannot read names no part of it.

use std::str::FromStr;

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use url::Url;

use crate::setting::{ConfigError, Setting};

const UNREADABLE: &str = "the value of a parameter cannot be read: port= and statement-cache-capacity= are numbers, hostaddr= is an IP address";
const FORM: &str = "postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=verify-full";
const SSL_MODES: &str = "disable, allow, prefer, require, verify-ca, verify-full";
/// All that sqlx reads, besides `options[NAME]`.
const PARAMETERS: [&str; 19] = [
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
    "options[",
];

/// The URL as sqlx expects it. An error says which part is wrong and why, and never holds a value.
pub(in crate::storage) fn parse(text: Option<&str>) -> Result<PgConnectOptions, ConfigError> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Err(ConfigError::new(Setting::DatabaseUrl, FORM));
    };
    let options = read(text).map_err(|why| ConfigError::new(Setting::DatabaseUrl, format!("{FORM} ({why})")))?;
    // An IPv6 address stands in brackets in a URL, and nowhere else.
    let host = options.get_host().trim_matches(['[', ']']).to_owned();
    Ok(options.host(&host))
}

fn read(text: &str) -> Result<PgConnectOptions, String> {
    const ENCODE: &str = "a / ? # or @ in the user or the password is written %2F %3F %23 %40";
    // sqlx would take anything else for the name of a file or of a host.
    let rest = text
        .strip_prefix("postgres://")
        .or_else(|| text.strip_prefix("postgresql://"))
        .ok_or("the scheme is neither postgres:// nor postgresql://")?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    // The password ended too early, and the part behind it is taken for something else.
    let torn = !authority.contains('@') && rest.contains('@');
    let url = Url::parse(text).map_err(|error| if torn { ENCODE.to_owned() } else { error.to_string() })?;
    if url.fragment().is_some() || url.path().contains('@') {
        return Err(ENCODE.to_owned());
    }
    for (name, value) in url.query_pairs() {
        if !PARAMETERS.contains(&&*name) && !name.starts_with("options[") {
            let readable = !torn && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c));
            let named =
                if readable { format!("{name}= is unknown") } else { format!("a parameter is unknown, or {ENCODE}") };
            return Err(format!(
                "{named}; parameters: {}, options[NAME]",
                PARAMETERS[..PARAMETERS.len() - 1].join(", ")
            ));
        }
        if matches!(&*name, "sslmode" | "ssl-mode") && PgSslMode::from_str(&value).is_err() {
            return Err(format!("{name}= is one of {SSL_MODES}"));
        }
    }
    PgConnectOptions::from_str(text).map_err(|_| UNREADABLE.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_named_and_no_value_is_shown() {
        for (url, why) in [
            ("mysql://u:hidden@h/db", "the scheme"),
            ("postgres://u:hidden#x@h/db", "%23"),
            ("postgres://u:12#hidden@h/db", "%23"),
            ("postgres://u:hidden/x@h/db", "%2F"),
            ("postgres://u:12/hidden@h/db", "%2F"),
            ("postgres://u:12?hidden@h/db", "%3F"),
            ("postgres://u:p@h:hidden/db", "port"),
            ("postgres://u:hidden@h/db?sslmode=bogus", "verify-ca, verify-full"),
            ("postgres://u:hidden@h/db?sslmod=verify-full", "sslmod= is unknown"),
            ("postgres://u:hidden@h/db?port=x", "port="),
        ] {
            let error = parse(Some(url)).unwrap_err().to_string();
            assert!(error.contains(why) && error.contains("database_url"), "{url}: {error}");
            assert!(!error.contains("hidden") && !error.contains("bogus"), "{url}: {error}");
        }
        assert!(parse(None).unwrap_err().to_string().contains("postgres://USER"));
    }

    #[test]
    fn what_sqlx_knows_is_taken() {
        let known = "sslmode=require&application_name=a@b&options=-c%20geqo=off&options[jit]=off&statement-cache-capacity=0&host=%2Ftmp";
        assert!(parse(Some(&format!("postgresql://u:p%23%2F@h:1/db?{known}"))).is_ok());
        assert_eq!(parse(Some("postgres://u@[::1]:5433/db")).unwrap().get_host(), "::1");
    }
}
