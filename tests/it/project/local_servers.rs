//! The script that starts and stops servers, tested on its own: the tests and `deploy/dev` rely on it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use crate::support::eventually;

/// A folder for servers, which are stopped at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        Self(std::env::temp_dir().join(format!("snapshot-lifecycle-script-{}", Uuid::new_v4().simple())))
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        run(&["down", self.path()]);
        std::fs::remove_dir_all(&self.0).ok();
    }
}

fn run(arguments: &[&str]) -> Output {
    Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/local/servers")).args(arguments).output().unwrap()
}

/// What it prints, where it succeeds.
fn answer(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// What it says, where it fails with this code.
fn refusal(code: i32, arguments: &[&str]) -> String {
    let output = run(arguments);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[tokio::test]
async fn killed_postgres_comes_back_at_its_address_with_its_data() {
    let folder = Folder::new();
    let dir = folder.path();
    let url = answer(&["postgres", "start", dir, "fsync=off"]);
    let mut before = PgConnection::connect(&url).await.unwrap();
    sqlx::query("CREATE TABLE kept (id int)").execute(&mut before).await.unwrap();
    let killed = answer(&["postgres", "pid", dir]);

    answer(&["postgres", "kill", dir]);
    assert!(refusal(1, &["postgres", "pid", dir]).contains("start it with"));
    assert_eq!(answer(&["postgres", "start", dir]), url);
    assert_eq!(answer(&["postgres", "start", dir]), url, "a second start does nothing");
    assert_ne!(answer(&["postgres", "pid", dir]), killed);

    let mut after = PgConnection::connect(&url).await.unwrap();
    sqlx::query("INSERT INTO kept VALUES (1)").execute(&mut after).await.unwrap();
    let setting: String = sqlx::query_scalar("SHOW fsync").fetch_one(&mut after).await.unwrap();
    assert_eq!(setting, "off", "a setting holds for later starts");

    answer(&["postgres", "stop", dir]);
    assert_eq!(answer(&["postgres", "url", dir]), url);
    assert!(refusal(1, &["postgres", "pid", dir]).contains("start it with"));
}

#[tokio::test]
async fn guard_stops_the_servers_of_a_process_that_is_gone() {
    let folder = Folder::new();
    let dir = folder.path();
    let mut process = Command::new("sleep").arg("600").spawn().unwrap();
    answer(&["guard", dir, &process.id().to_string()]);
    answer(&["postgres", "start", dir, "fsync=off"]);
    let postgres = answer(&["postgres", "pid", dir]);
    process.kill().unwrap();
    process.wait().unwrap();
    eventually("the folder to be gone", async || !folder.0.exists()).await;
    eventually("the server to be gone", async || !Path::new("/proc").join(&postgres).exists()).await;
}

#[test]
fn wrong_use_says_what_is_right() {
    for arguments in
        [&[][..], &["postgres", "start"], &["up"], &["guard", "/tmp/x", "zero"], &["redis", "start", "/tmp/x"]]
    {
        assert!(refusal(2, arguments).contains("usage: deploy/local/servers COMMAND"), "{arguments:?}");
    }
    assert!(refusal(1, &["rabbitmq", "ctl", "/tmp/no-such-folder", "status"]).contains("start it with"));
    assert!(refusal(1, &["postgres", "url", "/tmp/no-such-folder"]).contains("start"));
}
