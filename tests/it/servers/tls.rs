//! TLS to both servers, with certificates made here: the right ones are enough, and every wrong one is refused and named.

use std::net::TcpListener;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use serde_json::Value;

use crate::support::{Finished, Servers, Snapshot, World, eventually, finish};

/// An authority and what it signed, as files in PEM.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    /// Writes NAME.crt and NAME.key for these host names.
    fn sign(&self, directory: &Path, name: &str, hosts: &[&str]) {
        let mut params = CertificateParams::new(hosts.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        write(directory, &format!("{name}.crt"), &certificate.pem());
        write(directory, &format!("{name}.key"), &key.serialize_pem());
    }
}

/// Readable for its owner alone, who is the one of the folder: PostgreSQL insists on it.
fn write(directory: &Path, name: &str, text: &str) {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
    let file = directory.join(name);
    std::fs::write(&file, text).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let owner = std::fs::metadata(directory).unwrap();
    chown(&file, Some(owner.uid()), Some(owner.gid())).unwrap();
}

/// Servers that require a client's certificate over TLS, for `127.0.0.1` and no other name. Returns the folder of the client's
/// files and RabbitMQ's port for TLS.
fn servers_with_tls() -> (std::sync::Arc<Servers>, PathBuf, u16) {
    let client = std::env::temp_dir().join(format!("tls-{}", uuid::Uuid::new_v4().simple()));
    std::fs::create_dir_all(&client).unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (authority, other) = (Authority::new("ours"), Authority::new("another"));
    let servers = Servers::own(|directory| {
        let data = directory.join("postgres/data");
        for folder in [&data, &directory.join("rabbitmq")] {
            authority.sign(folder, "server", &["127.0.0.1"]);
            write(folder, "ca.crt", &authority.issuer.pem());
        }
        let rules = std::fs::read_to_string(data.join("pg_hba.conf")).unwrap();
        write(&data, "pg_hba.conf", &format!("hostssl all all 127.0.0.1/32 trust clientcert=verify-ca\n{rules}"));
        let of_rabbitmq = |file: &str| directory.join("rabbitmq").join(file).display().to_string();
        let postgres = vec!["ssl=on".to_owned(), "ssl_ca_file=ca.crt".to_owned()];
        let rabbitmq = vec![
            format!("listeners.ssl.default={port}"),
            format!("ssl_options.cacertfile={}", of_rabbitmq("ca.crt")),
            format!("ssl_options.certfile={}", of_rabbitmq("server.crt")),
            format!("ssl_options.keyfile={}", of_rabbitmq("server.key")),
            "ssl_options.verify=verify_peer".to_owned(),
            "ssl_options.fail_if_no_peer_cert=true".to_owned(),
        ];
        (postgres, rabbitmq)
    });
    authority.sign(&client, "client", &[]);
    other.sign(&client, "stranger", &[]);
    write(&client, "ca.crt", &authority.issuer.pem());
    write(&client, "other.crt", &other.issuer.pem());
    (servers, client, port)
}

fn with(world: &World, command: &[&str], variables: &[(&str, &str)]) -> Finished {
    let mut program = world.program(command);
    program.envs(variables.iter().copied());
    finish(program)
}

#[tokio::test]
async fn both_servers_are_reached_over_verified_tls_and_by_no_other_way() {
    let (servers, files, port) = servers_with_tls();
    let world = World::on(servers.clone()).await;
    let file = |name: &str| files.join(name).display().to_string();
    let postgres = |host: &str, more: &str| {
        let (url, _) = world.database_url.split_once('?').unwrap();
        format!("{}?sslmode=verify-full&{more}", url.replace("127.0.0.1", host))
    };
    let rabbitmq = |host: &str, more: &str| format!("amqps://guest:guest@{host}:{port}/%2f?{more}");
    let (ca, crt, key) = (file("ca.crt"), file("client.crt"), file("client.key"));
    let good_postgres = postgres("127.0.0.1", &format!("sslrootcert={ca}&sslcert={crt}&sslkey={key}"));
    let good_rabbitmq = rabbitmq("127.0.0.1", &format!("cacertfile={ca}&certfile={crt}&keyfile={key}"));

    let (team, event) = (world.team().await, world.event().await);
    world.insert(&Snapshot::of(team).event(event)).await;
    let variables = [("DATABASE_URL", good_postgres.as_str()), ("AMQP_URL", good_rabbitmq.as_str())];
    let worker = world.worker_with(&variables).await;
    let encrypted: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE ssl AND application_name = 'snapshot-lifecycle'",
    )
    .fetch_one(&world.pool)
    .await
    .unwrap();
    assert!(encrypted > 0, "the worker's connections are encrypted");
    let event_id = event.to_string();
    let published = with(&world, &["publish", "--event-id", &event_id, "--status", "confirmed"], &variables);
    assert_eq!(published.code, 0, "{published:?}");
    worker.reaches("messages_total{outcome=\"applied\"}", 1.0).await;
    eventually("the rows to be gone", async || world.snapshots().await.is_empty()).await;
    let doctor = with(&world, &["doctor"], &variables);
    assert_eq!(doctor.code, 0, "{doctor:?}");
    worker.stop().await;

    let (other, stranger, its_key) = (file("other.crt"), file("stranger.crt"), file("stranger.key"));
    let client = format!("sslcert={crt}&sslkey={key}");
    for (url, why) in [
        (postgres("localhost", &format!("sslrootcert={ca}&{client}")), "name"),
        (postgres("127.0.0.1", &format!("sslrootcert={other}&{client}")), "certificate"),
        (postgres("127.0.0.1", &format!("sslrootcert={ca}")), "certificate"),
        (postgres("127.0.0.1", &format!("sslrootcert={ca}&sslcert={stranger}&sslkey={its_key}")), ""),
    ] {
        refused(&with(&world, &["doctor"], &[("DATABASE_URL", &url)]), "database.connection", why, &url);
        stops(&world, &[("DATABASE_URL", &url), ("AMQP_URL", &good_rabbitmq)], why);
    }
    let client = format!("certfile={crt}&keyfile={key}");
    for (url, why) in [
        (rabbitmq("localhost", &format!("cacertfile={ca}&{client}")), "name"),
        (rabbitmq("127.0.0.1", &format!("cacertfile={other}&{client}")), "certificate"),
        (rabbitmq("127.0.0.1", &client), "certificate"),
        (rabbitmq("127.0.0.1", &format!("cacertfile={ca}")), ""),
        (rabbitmq("127.0.0.1", &format!("cacertfile={ca}&certfile={stranger}&keyfile={its_key}")), ""),
    ] {
        refused(&with(&world, &["doctor"], &[("AMQP_URL", &url)]), "rabbitmq.connection", why, &url);
        stops(&world, &[("DATABASE_URL", &good_postgres), ("AMQP_URL", &url)], why);
        let event = uuid::Uuid::new_v4().to_string();
        let publish = with(&world, &["publish", "--event-id", &event, "--status", "lead"], &[("AMQP_URL", &url)]);
        assert_eq!(publish.code, 1, "{url}: {publish:?}");
        assert!(publish.stderr.to_lowercase().contains(why) && !publish.stderr.contains("guest:guest"), "{publish:?}");
    }
    let absent = rabbitmq("127.0.0.1", "cacertfile=/nowhere/ca.pem");
    let stopped = with(&world, &["run", "--http-addr", "127.0.0.1:0"], &[("AMQP_URL", &absent)]);
    assert_eq!(stopped.code, 2, "{stopped:?}");
    assert!(stopped.stderr.contains("/nowhere/ca.pem"), "{stopped:?}");
    std::fs::remove_dir_all(files).ok();
}

/// Waiting would not fix it, so the worker ends at once, says why, and shows no secret.
fn stops(world: &World, variables: &[(&str, &str)], why: &str) {
    let stopped = with(world, &["run", "--http-addr", "127.0.0.1:0"], variables);
    assert_eq!(stopped.code, 1, "{variables:?}: {stopped:?}");
    assert!(stopped.stderr.to_lowercase().contains(why), "{variables:?}: {stopped:?}");
    assert!(!stopped.stderr.contains("guest:guest"), "{stopped:?}");
}

/// The check fails, says why, and shows no secret.
fn refused(doctor: &Finished, check: &str, why: &str, url: &str) {
    let answer = doctor.json();
    let line = answer["checks"].as_array().unwrap().iter().find(|line| line["check"] == check).cloned();
    let line = line.unwrap_or(Value::Null);
    assert_eq!((doctor.code, line["state"].as_str()), (1, Some("failed")), "{url}: {doctor:?}");
    let message = line["message"].as_str().unwrap().to_lowercase();
    assert!(message.contains(why), "{url}: {message}");
    assert!(!doctor.stdout.contains("guest:guest"), "{doctor:?}");
}
