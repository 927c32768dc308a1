//! What is true only of Supabase's shared pooler, which is recognised by its name: a server's own port is 5432 as well.

use crate::doctor::check_id::DatabaseCheck;
use crate::doctor::finding::Finding;

const POOLER: &str = ".pooler.supabase.com";
/// The other is 6543, for transaction mode.
const SESSION_MODE: &str = "5432";

/// The fix for a password that is refused by `host:port`, where that is the pooler.
pub(super) fn refused_password_fix(host: &str) -> Option<&'static str> {
    let (name, _) = host.rsplit_once(':')?;
    name.ends_with(POOLER).then_some(
        "correct the user (ROLE.PROJECT) and the password in the database's URL; after a change of the password this pooler refuses the new one for a while: wait some minutes, or try the direct address, db.PROJECT.supabase.co:5432",
    )
}

/// A warning where `host:port` is the pooler in session mode.
pub(super) fn session_mode(host: &str) -> Option<Finding> {
    let (name, port) = host.rsplit_once(':')?;
    (name.ends_with(POOLER) && port == SESSION_MODE).then(|| {
        Finding::warning(
            DatabaseCheck::Pooler,
            "Supabase's pooler in session mode: at its small sizes 15 connections per role and database, and a worker takes up to 5, so it is enough for two",
            "for three workers and more, which a rollout of two has for a while, take port 6543 (transaction mode) in DATABASE_URL",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::State;

    #[test]
    fn only_port_5432_of_supabases_pooler_is_its_session_mode() {
        let warning = session_mode("aws-0-eu-central-1.pooler.supabase.com:5432").unwrap();
        assert_eq!((warning.check, warning.state), (DatabaseCheck::Pooler.into(), State::Warning));
        assert!(warning.message.contains("up to 5") && warning.fix.unwrap().contains("port 6543"));
        for host in [
            "aws-0-eu-central-1.pooler.supabase.com:6543",
            "db.abcdefghijklmnop.supabase.co:5432",
            "pooler.supabase.com.example.org:5432",
            "[::1]:5432",
            "/run/postgresql",
        ] {
            assert_eq!(session_mode(host), None, "{host}");
        }
    }

    #[test]
    fn refused_password_may_be_one_that_the_pooler_does_not_know_yet() {
        for port in [5432, 6543] {
            let fix = refused_password_fix(&format!("aws-1-us-east-1.pooler.supabase.com:{port}")).unwrap();
            assert!(fix.contains("wait some minutes, or try the direct address"), "{fix}");
        }
        assert_eq!(refused_password_fix("db.abcdefghijklmnop.supabase.co:6543"), None);
        assert_eq!(refused_password_fix("/run/postgresql"), None);
    }
}
