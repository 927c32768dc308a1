use std::fmt;

use serde::{Serialize, Serializer};

use crate::closed_set::described_set;

described_set! {
    /// What is checked of the database, in this order: the first failure explains those after it.
    pub enum DatabaseCheck {
        /// DATABASE_URL can be used
        Url = "database.url",
        /// passwords and data travel encrypted
        Tls = "database.tls",
        /// PostgreSQL accepts the login
        Connection = "database.connection",
        /// PostgreSQL 15 or newer
        Version = "database.version",
        /// transaction_timeout of the role or database
        Timeout = "database.timeout",
        /// neither a standby nor read-only
        Writable = "database.writable",
        /// the clocks of both machines agree
        Clock = "database.clock",
        /// direct, or through which kind of pooler
        Pooler = "database.pooler",
        /// every migration is applied
        Schema = "database.schema",
        /// deletes reach the table as a whole
        Table = "database.table",
        /// row-level security is on
        Isolation = "database.isolation",
        /// the role can do the job, and nothing else
        Role = "database.role",
        /// every statement has its index
        Indexes = "database.indexes",
        /// foreign keys that slow or prevent deletes
        References = "database.references",
        /// every snapshot gets an expiry
        Retention = "database.retention",
        /// deleted rows are cleaned up
        Autovacuum = "database.autovacuum",
        /// nothing is paused
        Pause = "database.pause",
        /// TTL sweeps complete
        Sweep = "database.sweep",
        /// evictions complete
        Evict = "database.evict",
        /// status changes are published
        Outbox = "database.outbox",
    }
}

described_set! {
    /// What is checked of the broker, in this order: the first failure explains those after it.
    pub enum RabbitmqCheck {
        /// AMQP_URL can be used
        Url = "rabbitmq.url",
        /// passwords and messages travel encrypted
        Tls = "rabbitmq.tls",
        /// RabbitMQ 3.10 or newer
        Version = "rabbitmq.version",
        /// RabbitMQ accepts the login
        Connection = "rabbitmq.connection",
        /// the backend's exchange can be bound to
        Exchange = "rabbitmq.exchange",
        /// exchanges and queues are as declared
        Topology = "rabbitmq.topology",
        /// a message that crashes the worker ends
        DeliveryLimit = "rabbitmq.delivery_limit",
        /// the user may do what the worker does
        Permissions = "rabbitmq.permissions",
        /// a worker consumes
        Consumers = "rabbitmq.consumers",
        /// no dead letters wait
        DeadLetters = "rabbitmq.dead_letters",
        /// with --probe: a queue takes status messages
        ProbeExchange = "rabbitmq.probe.exchange",
        /// with --probe: a queue takes dead letters
        ProbeDeadLetters = "rabbitmq.probe.dead_letters",
    }
}

/// A check of the doctor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckId {
    /// The values of flags and variables.
    Configuration,
    /// The database as a whole: why the checks that follow were not made.
    WholeDatabase,
    /// One check of the database.
    Database(DatabaseCheck),
    /// The broker as a whole: why the checks that follow were not made.
    WholeRabbitmq,
    /// One check of the broker.
    Rabbitmq(RabbitmqCheck),
}

impl CheckId {
    /// Every check, in the order of the report.
    pub fn all() -> impl Iterator<Item = Self> {
        let database = DatabaseCheck::ALL.map(Self::Database);
        let rabbitmq = RabbitmqCheck::ALL.map(Self::Rabbitmq);
        [Self::Configuration].into_iter().chain(database).chain(rabbitmq)
    }

    /// All of them with what they check, for the help.
    #[must_use]
    pub fn list() -> String {
        let longest = Self::all().map(|check| check.as_str().len()).max().unwrap_or_default();
        let lines = Self::all().map(|check| format!("  {check:<longest$}  {}\n", check.description()));
        format!("Checks:\n{}", lines.collect::<String>())
    }

    /// The name, in the table and in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::WholeDatabase => "database",
            Self::Database(check) => check.as_str(),
            Self::WholeRabbitmq => "rabbitmq",
            Self::Rabbitmq(check) => check.as_str(),
        }
    }

    /// What is as it should be when the check is ok.
    #[must_use]
    pub const fn description(self) -> &'static str {
        match self {
            Self::Configuration => "every flag and variable has a usable value",
            Self::WholeDatabase => "why checks of the database were skipped",
            Self::Database(check) => check.description(),
            Self::WholeRabbitmq => "why checks of the broker were skipped",
            Self::Rabbitmq(check) => check.description(),
        }
    }

    /// Whether it stands for every check of its server that was not made.
    pub(super) const fn is_whole_server(self) -> bool {
        match self {
            Self::WholeDatabase | Self::WholeRabbitmq => true,
            Self::Configuration | Self::Database(_) | Self::Rabbitmq(_) => false,
        }
    }
}

impl From<DatabaseCheck> for CheckId {
    fn from(check: DatabaseCheck) -> Self {
        Self::Database(check)
    }
}

impl From<RabbitmqCheck> for CheckId {
    fn from(check: RabbitmqCheck) -> Self {
        Self::Rabbitmq(check)
    }
}

impl fmt::Display for CheckId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for CheckId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
