use std::sync::PoisonError;
use std::time::Duration;

use lapin::options::{ExchangeDeleteOptions, QueueDeleteOptions};
use lapin::{Connection, ConnectionProperties};
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgPoolOptions;

use super::World;

/// Longer than a server takes that is up.
const LIMIT: Duration = Duration::from_secs(5);

impl World {
    /// Has the queue and the exchange of this name deleted with the world.
    pub fn delete_at_end(&self, name: &str) {
        self.own_names.lock().unwrap_or_else(PoisonError::into_inner).push(name.to_owned());
    }

    /// The same for all that a worker declares for this exchange and this queue.
    pub fn delete_fleet_at_end(&self, exchange: &str, queue: &str) {
        self.delete_at_end(exchange);
        for suffix in ["", ".wait.1s", ".wait.10s", ".wait.1m", ".wait.10m", ".dead-letter", ".dlx", ".retry"] {
            self.delete_at_end(&format!("{queue}{suffix}"));
        }
    }
}

/// Servers that were given are left as they were found. Private ones end with the run, so there only the space of the database counts.
impl Drop for World {
    fn drop(&mut self) {
        let (database_url, name, pool) = (self.servers.database_url.clone(), self.name().to_owned(), self.pool.clone());
        self.delete_fleet_at_end(&self.exchange, &self.queue);
        let names = std::mem::take(&mut *self.own_names.lock().unwrap_or_else(PoisonError::into_inner));
        let broker = self.servers.are_given().then(|| (self.servers.amqp_url.clone(), names));
        // A thread of its own: a runtime cannot be entered from within another.
        let cleaner = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async move {
                drop(pool);
                let delete_queues = async {
                    if let Some((url, names)) = broker {
                        tokio::time::timeout(LIMIT, delete_queues(&url, &names)).await.ok();
                    }
                };
                tokio::join!(drop_database(&database_url, &name), delete_queues)
            });
        });
        cleaner.join().ok();
    }
}

async fn drop_database(url: &str, name: &str) {
    let admin = PgPoolOptions::new().max_connections(1).acquire_timeout(Duration::from_secs(2)).connect(url);
    if let Ok(admin) = admin.await {
        sqlx::raw_sql(AssertSqlSafe(format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"))).execute(&admin).await.ok();
    }
}

/// Deletes queues and exchanges; one that does not exist is no error.
async fn delete_queues(url: &str, names: &[String]) -> Result<(), lapin::Error> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    for name in names.iter().map(String::as_str) {
        // The broker does what was sent before it answers to the close.
        channel.queue_delete(name.into(), QueueDeleteOptions { nowait: true, ..Default::default() }).await?;
        channel.exchange_delete(name.into(), ExchangeDeleteOptions { nowait: true, ..Default::default() }).await?;
    }
    connection.close(200, "done".into()).await
}
