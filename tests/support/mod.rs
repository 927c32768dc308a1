//! What the tests stand on: servers, a world of its own for each test, the program's processes, and waiting for conditions.

mod broker;
mod checkup;
mod hostile;
mod obstacles;
mod process;
mod proxy;
mod random;
pub mod raw_amqp;
mod servers;
mod sqlstates;
mod template;
mod test_run;
mod url;
mod world;

use std::time::{Duration, Instant};

pub use broker::{Letter, body, body_of_team};
pub use checkup::{Checkup, checkup, checkup_with, settled};
pub use obstacles::{Obstacle, Policy};
pub use process::{Finished, Running, Worker, finish, on_a_terminal, program};
pub use proxy::{Proxy, Way};
pub use random::Random;
pub use raw_amqp::{RawProperties, RawPublisher};
pub use servers::{PrivateServers, Servers};
pub use sqlstates::SQLSTATES;
pub use test_run::drop_databases_of_dead_runs;
pub use url::{as_user, host_of};
pub use world::{BACKEND_TABLES, Snapshot, World, set};

/// Longer than anything takes on a loaded machine; a condition that does not come true by then never will.
const PATIENCE: Duration = Duration::from_mins(1);

/// Looks again until the condition holds; fails with what was waited for.
pub async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !condition().await {
        assert!(began.elapsed() < PATIENCE, "waited in vain for: {what}");
        pause().await;
    }
}

/// The pause between two looks at a condition.
pub async fn pause() {
    tokio::time::sleep(Duration::from_millis(25)).await;
}
