use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use sqlx::{AssertSqlSafe, PgPool};
use uuid::Uuid;

use super::servers::script;

/// What tests start by name, and the Debian package that has it.
const PROGRAMS: [(&str, &str); 5] = [
    ("bash", "bash"),
    ("kill", "procps"),
    ("psql", "postgresql-client"),
    ("script", "bsdutils"),
    ("setpriv", "util-linux"),
];

/// Where a program is that tests start by name. The first call looks for all of them.
pub fn tool(name: &str) -> PathBuf {
    static CHECKED: OnceLock<()> = OnceLock::new();
    CHECKED.get_or_init(|| {
        let missing = PROGRAMS.iter().filter(|(name, _)| find(name).is_none());
        let missing: Vec<_> = missing.map(|(name, package)| format!("{name} (Debian: {package})")).collect();
        assert!(missing.is_empty(), "install what the tests need and PATH does not have: {}", missing.join(", "));
    });
    find(name).unwrap_or_else(|| panic!("{name} is not on PATH"))
}

fn find(name: &str) -> Option<PathBuf> {
    let runs = |file: &Path| file.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0);
    std::env::split_paths(&std::env::var_os("PATH")?).map(|folder| folder.join(name)).find(|file| runs(file))
}

/// The folder of the logs of workers that run. When this process is gone, so is it, however the process ended.
pub fn logs() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = std::env::temp_dir().join(format!("snapshot-lifecycle-test-logs-{}", Uuid::new_v4().simple()));
        std::fs::create_dir_all(&folder).expect("a folder for the logs");
        script(&["guard", folder.to_str().expect("a path in UTF-8"), &std::process::id().to_string()]);
        folder
    })
}

/// Keeps a log of a test that failed, and says where.
pub fn keep_log(log: &Path) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("failed");
    let kept = folder.join(log.file_name().expect("a file"));
    std::fs::create_dir_all(&folder).and_then(|()| std::fs::copy(log, &kept)).ok();
    kept
}

/// A name for what a test makes on servers that others use, too; it tells which process made it.
pub fn new_name() -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(1);
    let id = std::process::id();
    let since = started(id).expect("this process runs");
    format!("it_{}_{id}_{since}_{}", machine(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Removes the databases of runs on this machine that ended without having done it.
pub async fn drop_databases_of_dead_runs(admin: &PgPool) {
    let names: Vec<String> = sqlx::query_scalar("SELECT datname::text FROM pg_database WHERE datname LIKE 'it\\_%'")
        .fetch_all(admin)
        .await
        .unwrap();
    for name in names.iter().filter(|name| maker_is_gone(name)) {
        // Another run may be about the same.
        let drop = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
        sqlx::raw_sql(AssertSqlSafe(drop)).execute(admin).await.ok();
    }
}

fn maker_is_gone(name: &str) -> bool {
    let ["it", machine_of, id, since, _] = name.split('_').collect::<Vec<_>>()[..] else { return false };
    let running = id.parse().ok().and_then(started);
    machine_of == machine() && running.as_deref() != Some(since)
}

/// When a process was started, which tells it from a later one of the same number.
fn started(id: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // After the name, which may hold anything but ends with the last parenthesis.
    stat.rsplit_once(") ")?.1.split(' ').nth(19).map(str::to_owned)
}

/// Where process ids mean the same: this boot of this machine, in this container.
fn machine() -> &'static str {
    static MACHINE: OnceLock<String> = OnceLock::new();
    MACHINE.get_or_init(|| {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let namespace = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
        let name = format!("{boot}{}", namespace.display());
        Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes()).simple().to_string()[..8].to_owned()
    })
}

#[test]
fn what_this_process_made_is_not_taken_for_a_dead_runs() {
    let name = new_name();
    assert!(!maker_is_gone(&name), "{name}");
    let since = started(std::process::id()).unwrap();
    assert!(maker_is_gone(&name.replace(&format!("_{since}_"), "_1_")), "another process had the number");
    assert!(!maker_is_gone(&name.replace(machine(), "01234567")), "another machine's");
    assert!(!maker_is_gone("it_is_somebody_elses") && !maker_is_gone("items"));
}
