use std::process::{Child, Command, Stdio};

use super::test_run::{drop_databases_of_dead_runs, new_name, tool};
use super::world::{BACKEND_TABLES, execute, pool};
use super::{Servers, url};

/// A database with the backend's tables and all migrations, of which each world is a copy. It is made by the migrations of the program
/// under test, once for each test process and PostgreSQL, so it is never an old one and no other process waits for it.
pub struct Template {
    pub name: String,
    /// Ends with this process, and drops the database then.
    _cleaner: Option<Child>,
}

impl Template {
    pub async fn create(servers: &Servers) -> Self {
        let name = new_name();
        let admin = pool(&servers.database_url).await;
        if servers.are_given() {
            drop_databases_of_dead_runs(&admin).await;
        }
        execute(&admin, format!("CREATE DATABASE {name} TEMPLATE template0")).await;
        let cleaner = servers.are_given().then(|| drop_with_this_process(servers, &name));
        let database_url = url::with_database(&servers.database_url, &name);
        let own = pool(&database_url).await;
        execute(&own, BACKEND_TABLES.to_owned()).await;
        own.close().await;
        super::world::database(&database_url).migrate().await.expect("migrations apply");
        // A database can be copied while nobody is connected to it.
        let nobody_else = format!(
            r"
                ALTER DATABASE {name} ALLOW_CONNECTIONS false;
                SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
        );
        execute(&admin, nobody_else).await;
        admin.close().await;
        Self { name, _cleaner: cleaner }
    }
}

/// A process that reads from this one, so that it notices each way to end, and drops the database then.
fn drop_with_this_process(servers: &Servers, name: &str) -> Child {
    let mut shell = Command::new(tool("bash"));
    shell.args(["-c", r#"read -r; exec psql --no-psqlrc --quiet --command "$1" "$0""#, &servers.database_url]);
    shell.arg(format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"));
    // A signal from the terminal is for the tests.
    std::os::unix::process::CommandExt::process_group(&mut shell, 0);
    shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("bash can be run")
}
