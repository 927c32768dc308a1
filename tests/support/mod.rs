//! What the tests stand on: servers, a world of its own for each test, the program's processes, and waiting for conditions.

mod broker;
mod checkup;
mod cleanup;
mod clock;
mod collector;
mod command;
mod dead_letters;
mod guard;
mod hostile;
mod local_store;
mod obstacles;
mod outages;
mod outbox;
mod passes;
mod pipeline;
mod proxy;
mod random;
pub mod raw_amqp;
mod roles;
mod seed;
mod servers;
mod sqlstates;
mod temp_file;
mod template;
mod test_run;
mod url;
mod worker;
mod world;

use std::time::{Duration, Instant};

pub use broker::{ReceivedMessage, body, body_of_team};
pub use checkup::{Checkup, checkup, checkup_with, settled};
pub use clock::now;
pub use collector::{Collector, ReceivedSpan};
pub use command::{Finished, Running, finish, on_a_terminal, program};
pub use dead_letters::with_headers;
pub use guard::guarded_types;
pub use local_store::local_store;
pub use obstacles::{Obstacle, Policy};
pub use passes::{HOUR, run_pass, ttl_lease};
pub use proxy::{Network, Proxy};
pub use random::Random;
pub use raw_amqp::{RawProperties, RawPublisher};
pub use seed::{SEED, SEED_INDEXES, SEED_POLICY};
pub use servers::{PrivateServers, Servers};
pub use sqlstates::SQLSTATES;
pub use temp_file::TempFile;
pub use test_run::drop_databases_of_dead_runs;
pub use url::{as_user, host_of};
pub use worker::Worker;
pub use world::{BACKEND_TABLES, Snapshot, World, set};

/// Longer than anything takes on a loaded machine; a condition that does not come true by then never will.
const TIMEOUT: Duration = Duration::from_mins(1);

/// Checks again until the condition holds; fails with what was waited for.
pub async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !condition().await {
        assert!(began.elapsed() < TIMEOUT, "timeout; waited for: {what}");
        pause().await;
    }
}

/// The pause between two checks of a condition.
pub async fn pause() {
    tokio::time::sleep(Duration::from_millis(25)).await;
}
