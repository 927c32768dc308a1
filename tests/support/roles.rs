use uuid::Uuid;

use super::{TempFile, World, as_user};

impl World {
    /// A role for a worker, by the shipped script. Roles belong to the whole server, so each test has one of its own, under another name.
    pub fn worker_role(&self) -> String {
        let role = format!("worker_{}", Uuid::new_v4().simple());
        self.run_role_script(&role);
        role
    }

    /// By psql, as the head of the script says.
    pub fn run_role_script(&self, role: &str) {
        let script = include_str!("../../deploy/sql/worker-role.sql").replace("snapshot_lifecycle_worker", role);
        let file = TempFile::new(script);
        let mut psql = std::process::Command::new("psql");
        psql.args([&self.database_url, "--no-psqlrc", "--quiet", "--set", "password=secret", "--file", file.path()]);
        let done = psql.output().expect("psql can be run");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    /// `DATABASE_URL` for a role whose password is `secret`, as the script gives it.
    pub fn url_as(&self, role: &str) -> String {
        as_user(&self.database_url, role, "secret")
    }

    pub async fn drop_role(&self, role: &str) {
        self.sql(format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
    }
}
