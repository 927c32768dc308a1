use crate::broker::BrokerAddress;
use crate::doctor::Finding;
use crate::storage::Encryption;

pub(in crate::doctor) fn database_encryption(encryption: Encryption, host: &str) -> Finding {
    const CHECK: &str = "database.tls";
    const MEND: &str = "add sslmode=verify-full to DATABASE_URL, and sslrootcert=FILE where the certificate is signed by the provider's own authority (Supabase)";
    match encryption {
        Encryption::Local => Finding::ok(CHECK, "the database is on this machine"),
        Encryption::Full => Finding::ok(CHECK, "encrypted, and the server's name is verified (sslmode=verify-full)"),
        Encryption::Authority => Finding::warning(
            CHECK,
            format!("any server with a certificate of the same authority could pass for {host} (sslmode=verify-ca)"),
            MEND,
        ),
        Encryption::Unverified => {
            Finding::warning(CHECK, format!("encrypted, but anybody could pass for {host} (sslmode=require)"), MEND)
        }
        Encryption::Opportunistic => Finding::warning(
            CHECK,
            format!("perhaps not encrypted, and anybody could pass for {host} (sslmode=prefer, the default, or allow)"),
            MEND,
        ),
        Encryption::Off => {
            Finding::warning(CHECK, format!("password and data go to {host} in the clear (sslmode=disable)"), MEND)
        }
    }
}

pub(in crate::doctor) fn rabbitmq_encryption(address: &BrokerAddress) -> Finding {
    const CHECK: &str = "rabbitmq.tls";
    if address.is_encrypted() {
        return Finding::ok(CHECK, "encrypted, and the server's name is verified (amqps)");
    }
    if address.is_local() {
        return Finding::ok(CHECK, "the broker is on this machine");
    }
    Finding::warning(
        CHECK,
        format!("password and messages go to {} in the clear", address.host()),
        "write amqps:// in AMQP_URL, with the port for TLS (5671)",
    )
}
