//! What systemd is told: readiness, status, the watchdog, the end.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use crate::support::{TempFile, World};

/// A socket such as systemd gives to a service.
struct Systemd {
    socket: UnixDatagram,
    path: TempFile,
}

impl Systemd {
    fn listening() -> Self {
        let path = TempFile::absent();
        let socket = UnixDatagram::bind(path.path()).unwrap();
        socket.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
        Self { socket, path }
    }

    /// Reads until a message begins with this, and returns all that came.
    fn told(&self, until: &str) -> Vec<String> {
        let mut all = Vec::new();
        let mut buffer = [0; 4096];
        while !all.last().is_some_and(|last: &String| last.starts_with(until)) {
            let length =
                self.socket.recv(&mut buffer).unwrap_or_else(|error| panic!("{until}: {error}; so far {all:?}"));
            all.extend(String::from_utf8_lossy(&buffer[..length]).lines().map(str::to_owned));
        }
        all
    }
}

#[tokio::test]
async fn systemd_is_told_of_start_status_watchdog_and_end() {
    let world = World::new().await;
    let systemd = Systemd::listening();
    let variables = [("NOTIFY_SOCKET", systemd.path.path()), ("WATCHDOG_USEC", "1000000")];
    let worker = world.worker_with(&variables).await;
    assert_eq!(systemd.told("READY=1"), ["READY=1"], "first of all, whether or not the servers are up");
    systemd.told("STATUS=consuming");
    for _ in 0..3 {
        systemd.told("WATCHDOG=1");
    }
    worker.stop().await;
    assert!(!systemd.told("STOPPING=1").iter().any(|line| line.starts_with("STATUS")), "its status had not changed");
}

#[tokio::test]
async fn worker_that_waits_for_a_server_is_started_alive_and_says_what_it_waits_for() {
    let world = World::new().await;
    let systemd = Systemd::listening();
    let nobody = ("AMQP_URL", "amqp://guest:guest@127.0.0.1:1/%2f");
    let worker =
        world.start_worker(&[("NOTIFY_SOCKET", systemd.path.path()), ("WATCHDOG_USEC", "1000000"), nobody]).await;
    systemd.told("READY=1");
    systemd.told("STATUS=waiting for rabbitmq");
    systemd.told("WATCHDOG=1");
    let health = |options: &[&str]| {
        let address = worker.http().to_string();
        let arguments = [&["healthcheck", "--http-addr", &address], options].concat();
        arguments.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    for (options, code) in [(&[][..], 1), (&["--live"], 0)] {
        let arguments = health(options);
        let checked = world.run(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).await;
        assert_eq!(checked.code, code, "{options:?}: {checked:?}");
    }
    worker.stop().await;
}
