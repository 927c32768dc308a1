use clap::Args;
use secrecy::SecretString;

/// How to reach PostgreSQL.
#[derive(Debug, Clone, Args)]
pub struct DatabaseOptions {
    /// PostgreSQL (15 and newer), direct or behind PgBouncer/Supavisor in session or transaction mode
    #[arg(long, env = "DATABASE_URL", value_name = "URL", hide_env_values = true, hide_default_value = true, value_parser = secret)]
    pub database_url: Option<SecretString>,
}

/// Takes any text: a check here would quote the secret in its error.
#[expect(clippy::unnecessary_wraps, reason = "the signature of a value parser")]
pub(super) fn secret(text: &str) -> Result<SecretString, std::convert::Infallible> {
    Ok(SecretString::from(text))
}
