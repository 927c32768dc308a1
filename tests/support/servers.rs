use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};

use tokio::sync::OnceCell;

use super::template::Template;

/// A PostgreSQL and a RabbitMQ.
pub struct Servers {
    pub database_url: String,
    pub amqp_url: String,
    /// Where they live, when they are ours to stop.
    directory: Option<PathBuf>,
    template: OnceCell<Template>,
}

/// The program that starts and stops servers, for people and tests alike.
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/local/servers");

impl Servers {
    /// One pair for all tests of the run: those of `DATABASE_URL` and `AMQP_URL`, or private ones, started once.
    pub fn shared() -> Arc<Self> {
        static SHARED: OnceLock<Arc<Servers>> = OnceLock::new();
        // Never dropped: the guard process stops them when this process is gone.
        Arc::clone(SHARED.get_or_init(|| {
            Arc::new(match (env::var("DATABASE_URL"), env::var("AMQP_URL")) {
                (Ok(database_url), Ok(amqp_url)) => Self::at(database_url, amqp_url, None),
                _ => Self::start(),
            })
        }))
    }

    fn at(database_url: String, amqp_url: String, directory: Option<PathBuf>) -> Self {
        Self { database_url, amqp_url, directory, template: OnceCell::new() }
    }

    /// The name of the migrated database that worlds are copied from.
    pub(super) async fn template(&self) -> &str {
        &self.template.get_or_init(|| Template::create(self)).await.name
    }

    /// Whether they are somebody else's, too.
    pub fn are_given(&self) -> bool {
        self.directory.is_none()
    }

    /// A pair that a test may stop and kill, alone. Started once and handed on from test to test.
    pub fn private() -> PrivateServers {
        let mut turn = PrivatePairs::take();
        let servers = Arc::clone(turn.0.get_or_insert_with(|| Arc::new(Self::start())));
        // The one before may have failed half-way and left a server down.
        servers.control(&["postgres", "start"]);
        servers.control(&["rabbitmq", "start"]);
        PrivateServers { servers, _turn: turn }
    }

    /// A pair for the caller alone, gone with the test run; PostgreSQL is started again after `prepare` has seen its folder.
    pub fn own(prepare: impl FnOnce(&Path) -> (Vec<String>, Vec<String>)) -> Arc<Self> {
        let mut servers = Self::start();
        servers.database_url.push_str("?sslmode=disable"); // the test's own way, whatever it asks of others
        let directory = servers.directory.clone().expect("private servers have a folder");
        let path = directory.to_str().expect("a path in UTF-8");
        let (postgres, rabbitmq) = prepare(&directory);
        for (server, settings) in [("postgres", postgres), ("rabbitmq", rabbitmq)] {
            script(&[server, "stop", path]);
            let arguments = [server, "start", path].into_iter().chain(settings.iter().map(String::as_str));
            script(&arguments.collect::<Vec<_>>());
        }
        Arc::new(servers)
    }

    /// Starts a node that makes a cluster with this RabbitMQ, and returns its URL.
    pub fn join(&self, name: &str) -> String {
        let first = self.directory.as_ref().expect("only private servers can be joined");
        let directory = first.with_file_name(format!("{}-{name}", first.file_name().unwrap().to_str().unwrap()));
        let path = directory.to_str().expect("a path in UTF-8");
        script(&["guard", path, &std::process::id().to_string()]);
        script(&["rabbitmq", "join", path, first.to_str().expect("a path in UTF-8")])
    }

    fn start() -> Self {
        let directory = env::temp_dir().join(format!("snapshot-lifecycle-test-{}", uuid::Uuid::new_v4().simple()));
        std::fs::create_dir_all(&directory).expect("a directory for the servers");
        let path = directory.to_str().expect("a path in UTF-8");
        script(&["install"]);
        script(&["guard", path, &std::process::id().to_string()]);
        // Tests kill processes, not machines: what the operating system has is safe.
        let database_url = script(&["postgres", "start", path, "fsync=off", "max_connections=300"]);
        let amqp_url = script(&["rabbitmq", "start", path]);
        Self::at(database_url, amqp_url, Some(directory))
    }

    /// Starts a pooler in front of this pair's PostgreSQL, in this mode, and returns its URL.
    pub fn pooler(&self, mode: &str) -> String {
        self.pooler_of(mode, 20)
    }

    /// The same, with at most this many connections to PostgreSQL.
    pub fn pooler_of(&self, mode: &str, connections: u32) -> String {
        script(&["install", "pgbouncer"]);
        self.control(&["pgbouncer", "stop"]);
        // Both, because a setting also holds for later starts.
        let settings = [format!("pool_mode={mode}"), format!("default_pool_size={connections}")];
        self.control(&["pgbouncer", "start", &settings[0], &settings[1]])
    }

    /// `deploy/local/servers` with this pair's directory, as in `control(&["postgres", "stop"])`.
    pub fn control(&self, words: &[&str]) -> String {
        let directory = self.directory.as_ref().expect("only private servers may be stopped");
        let [server, action, rest @ ..] = words else { panic!("a server and what to do with it: {words:?}") };
        let mut arguments = vec![*server, *action, directory.to_str().expect("a path in UTF-8")];
        arguments.extend(rest);
        script(&arguments)
    }
}

/// Pairs for tests that stop servers: such a test waits most of the time, so two of them run side by side.
struct PrivatePairs {
    free: Vec<Arc<Servers>>,
    taken: usize,
}

const PRIVATE_PAIRS: usize = 2;
static PAIRS: Mutex<PrivatePairs> = Mutex::new(PrivatePairs { free: Vec::new(), taken: 0 });
static RETURNED: Condvar = Condvar::new();

impl PrivatePairs {
    /// Waits for a turn, with a pair if one has been started that is free.
    fn take() -> Turn {
        let pairs = PAIRS.lock().unwrap_or_else(PoisonError::into_inner);
        let mut pairs =
            RETURNED.wait_while(pairs, |pairs| pairs.taken == PRIVATE_PAIRS).unwrap_or_else(PoisonError::into_inner);
        pairs.taken += 1;
        Turn(pairs.free.pop())
    }
}

/// The right to one pair, and the pair once it is started. Its end is the next test's turn.
struct Turn(Option<Arc<Servers>>);

impl Drop for Turn {
    fn drop(&mut self) {
        let mut pairs = PAIRS.lock().unwrap_or_else(PoisonError::into_inner);
        pairs.taken -= 1;
        pairs.free.extend(self.0.take());
        RETURNED.notify_one();
    }
}

/// A pair for one test alone.
pub struct PrivateServers {
    servers: Arc<Servers>,
    _turn: Turn,
}

impl PrivateServers {
    pub fn pair(&self) -> Arc<Servers> {
        Arc::clone(&self.servers)
    }

    pub fn control(&self, words: &[&str]) -> String {
        self.servers.control(words)
    }

    /// How a script calls `rabbitmqctl` on this pair's RabbitMQ.
    pub fn rabbitmqctl(&self) -> String {
        let directory = self.servers.directory.as_ref().expect("private servers have a folder");
        format!("{SCRIPT} rabbitmq ctl {}", directory.display())
    }

    /// What `postgres` or `rabbitmq` has logged.
    pub fn log_of(&self, server: &str) -> String {
        let directory = self.servers.directory.as_ref().expect("private servers have a folder");
        std::fs::read_to_string(directory.join(server).join("log")).unwrap_or_default()
    }
}

pub(super) fn script(arguments: &[&str]) -> String {
    let output =
        Command::new(SCRIPT).args(arguments).stdin(Stdio::null()).output().expect("deploy/local/servers can be run");
    assert!(
        output.status.success(),
        "deploy/local/servers {} failed:\n{}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("output in UTF-8").trim().to_owned()
}
