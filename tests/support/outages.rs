use super::{World, eventually};

impl World {
    /// Makes every delete fail as on a full disk: with what PostgreSQL says when it cannot extend a file (appendix A of its
    /// documentation: 53100, `disk_full`).
    pub async fn fill_disk(&self) {
        self.sql(
            r"
                CREATE OR REPLACE FUNCTION public.full_disk() RETURNS trigger LANGUAGE plpgsql AS
                    $$ BEGIN RAISE EXCEPTION 'could not extend file: No space left on device'
                        USING ERRCODE = '53100'; END $$;
                CREATE OR REPLACE TRIGGER full_disk BEFORE DELETE ON public.snapshots
                    FOR EACH ROW EXECUTE FUNCTION public.full_disk()",
        )
        .await;
    }

    /// Ends that. The trigger stays, because to drop it would take a lock that deletes wait for.
    pub async fn free_disk(&self) {
        self.sql(
            "CREATE OR REPLACE FUNCTION public.full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN OLD; END $$",
        )
        .await;
    }

    /// Makes every commit of the server wait for these standbys, which do not exist. An empty list ends that.
    pub async fn wait_for_standbys(&self, names: &str) {
        // Neither of the two writes anything that would have to wait.
        self.sql(format!("ALTER SYSTEM SET synchronous_standby_names = '{names}'")).await;
        self.sql("SELECT pg_reload_conf()").await;
        eventually("the server to have read its settings", async || {
            sqlx::query_scalar::<_, String>("SHOW synchronous_standby_names").fetch_one(&self.pool).await.unwrap()
                == names
        })
        .await;
    }

    /// Sessions of workers and commands in this database, whatever they do.
    pub async fn program_sessions(&self) -> i64 {
        sqlx::query_scalar(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'snapshot-lifecycle'",
        )
        .fetch_one(&self.pool)
        .await
        .unwrap()
    }

    /// Transactions in this database so far. A session reports its own at its end at the latest; ours is told to do it now.
    pub async fn transactions(&self) -> i64 {
        let mut connection = self.pool.acquire().await.unwrap();
        sqlx::query("SELECT pg_stat_force_next_flush()").execute(&mut *connection).await.unwrap();
        sqlx::query_scalar(
            "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()",
        )
        .fetch_one(&mut *connection)
        .await
        .unwrap()
    }
}
