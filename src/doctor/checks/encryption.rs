use crate::broker::BrokerAddress;
use crate::doctor::check_id::{DatabaseCheck, RabbitmqCheck};
use crate::doctor::finding::Finding;
use crate::storage::Encryption;

pub(in crate::doctor) fn database_encryption(encryption: Encryption, host: &str) -> Finding {
    const CHECK: DatabaseCheck = DatabaseCheck::Tls;
    const FIX: &str = "add sslmode=verify-full to DATABASE_URL, and sslrootcert=FILE if the provider has its own authority (Supabase)";
    match encryption {
        Encryption::Local => Finding::ok(CHECK, "the database is on this machine"),
        Encryption::Full => Finding::ok(CHECK, "encrypted, and the server's name is verified (sslmode=verify-full)"),
        Encryption::Authority => Finding::warning(
            CHECK,
            format!("any server with a certificate of the same authority can impersonate {host} (sslmode=verify-ca)"),
            FIX,
        ),
        Encryption::Unverified => {
            Finding::warning(CHECK, format!("encrypted, but anyone can impersonate {host} (sslmode=require)"), FIX)
        }
        Encryption::Opportunistic => Finding::warning(
            CHECK,
            format!("perhaps not encrypted, and anyone can impersonate {host} (sslmode=prefer, the default, or allow)"),
            FIX,
        ),
        Encryption::Off => {
            Finding::warning(CHECK, format!("password and data travel to {host} unencrypted (sslmode=disable)"), FIX)
        }
    }
}

pub(in crate::doctor) fn rabbitmq_encryption(address: &BrokerAddress) -> Finding {
    const CHECK: RabbitmqCheck = RabbitmqCheck::Tls;
    if address.is_encrypted() {
        return Finding::ok(CHECK, "encrypted, and the server's name is verified (amqps)");
    }
    if address.is_local() {
        return Finding::ok(CHECK, "the broker is on this machine");
    }
    Finding::warning(
        CHECK,
        format!("password and messages travel to {} unencrypted", address.host()),
        "write amqps:// in AMQP_URL, with the port for TLS (5671)",
    )
}
