use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use secrecy::SecretString;
use snapshot_lifecycle::storage::Database;
use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, PgPool};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::test_run::new_name;
use super::url::with_database;
use super::{Servers, eventually};

/// A database, an exchange and a queue that nobody else uses.
pub struct World {
    pub servers: Arc<Servers>,
    pub pool: PgPool,
    pub database_url: String,
    pub exchange: String,
    pub queue: String,
    /// Queues and exchanges that the test has declared.
    pub(super) own_names: Mutex<Vec<String>>,
}

/// A row of `public.snapshots` to insert.
#[derive(Clone)]
pub struct Snapshot {
    pub team: Uuid,
    pub kind: &'static str,
    pub event: Option<Uuid>,
    pub created_at: Option<OffsetDateTime>,
    pub expires_at: OffsetDateTime,
}

impl Snapshot {
    /// Created an hour ago, expiring in a week.
    pub fn of(team: Uuid) -> Self {
        let now = OffsetDateTime::now_utc();
        Self {
            team,
            kind: "offer",
            event: None,
            created_at: Some(now - Duration::HOUR),
            expires_at: now + Duration::WEEK,
        }
    }

    pub fn event(mut self, event: Uuid) -> Self {
        self.event = Some(event);
        self
    }

    pub fn kind(mut self, kind: &'static str) -> Self {
        self.kind = kind;
        self
    }

    pub fn created_at(mut self, at: OffsetDateTime) -> Self {
        self.created_at = Some(at);
        self
    }

    pub fn without_created_at(mut self) -> Self {
        self.created_at = None;
        self
    }

    pub fn expires_at(mut self, at: OffsetDateTime) -> Self {
        self.expires_at = at;
        self
    }
}

/// What the backend has before us: as in the note that the project comes from.
pub const BACKEND_TABLES: &str = r"
    CREATE TABLE public.teams (id UUID PRIMARY KEY DEFAULT gen_random_uuid());
    CREATE TABLE public.events (id UUID PRIMARY KEY DEFAULT gen_random_uuid());";

impl World {
    /// The backend's tables and all migrations, on the shared servers.
    pub async fn new() -> Self {
        Self::on(Servers::shared()).await
    }

    /// The same on servers that the test may stop.
    pub async fn on(servers: Arc<Servers>) -> Self {
        let template = servers.template().await.to_owned();
        Self::copy_of(&template, servers).await
    }

    /// A database with nothing in it.
    pub async fn bare(servers: Arc<Servers>) -> Self {
        // Not template1: nobody may be connected to what is copied.
        Self::copy_of("template0", servers).await
    }

    async fn copy_of(template: &str, servers: Arc<Servers>) -> Self {
        let name = new_name();
        let admin = pool(&servers.database_url).await;
        execute(&admin, format!("CREATE DATABASE {name} TEMPLATE {template}")).await;
        admin.close().await;
        let database_url = with_database(&servers.database_url, &name);
        Self {
            pool: pool(&database_url).await,
            database_url,
            exchange: format!("{name}.event.status"),
            queue: format!("{name}.lifecycle"),
            servers,
            own_names: Mutex::default(),
        }
    }

    /// The library's own way to the database.
    pub fn database(&self) -> Database {
        database(&self.database_url)
    }

    /// Of the database; the exchange and the queues begin with it.
    pub fn name(&self) -> &str {
        self.queue.strip_suffix(".lifecycle").expect("as it was made")
    }

    pub async fn sql(&self, sql: impl Into<String>) {
        execute(&self.pool, sql.into()).await;
    }

    pub async fn team(&self) -> Uuid {
        sqlx::query_scalar("INSERT INTO public.teams DEFAULT VALUES RETURNING id").fetch_one(&self.pool).await.unwrap()
    }

    pub async fn event(&self) -> Uuid {
        sqlx::query_scalar("INSERT INTO public.events DEFAULT VALUES RETURNING id").fetch_one(&self.pool).await.unwrap()
    }

    pub async fn insert(&self, snapshot: &Snapshot) -> Uuid {
        sqlx::query_scalar(
            r"
                INSERT INTO public.snapshots (team_id, snapshot_type, event_id, data, created_at, expires_at)
                VALUES ($1, $2, $3, '{}', $4, $5) RETURNING id",
        )
        .bind(snapshot.team)
        .bind(snapshot.kind)
        .bind(snapshot.event)
        .bind(snapshot.created_at)
        .bind(snapshot.expires_at)
        .fetch_one(&self.pool)
        .await
        .unwrap()
    }

    /// `count` snapshots of a team, a second apart, the first the oldest. Returns their ids in that order.
    pub async fn insert_many(&self, team: Uuid, count: i32) -> Vec<Uuid> {
        sqlx::query_scalar(
            r"
                INSERT INTO public.snapshots (team_id, snapshot_type, data, created_at, expires_at)
                SELECT $1, 'offer', '{}', now() - interval '1 day' + make_interval(secs => n), now() + interval '7 days'
                FROM generate_series(1, $2) AS n ORDER BY n RETURNING id",
        )
        .bind(team)
        .bind(count)
        .fetch_all(&self.pool)
        .await
        .unwrap()
    }

    /// The ids of all snapshots that exist.
    pub async fn snapshots(&self) -> BTreeSet<Uuid> {
        let ids: Vec<Uuid> = sqlx::query_scalar("SELECT id FROM public.snapshots").fetch_all(&self.pool).await.unwrap();
        ids.into_iter().collect()
    }

    /// Makes a trigger of the backend's take this long for each deleted row.
    pub async fn make_each_delete_take(&self, seconds: &str) {
        self.sql(format!(
            r"
                CREATE FUNCTION public.slow() RETURNS trigger LANGUAGE plpgsql AS
                    'BEGIN PERFORM pg_sleep({seconds}); RETURN OLD; END';
                CREATE TRIGGER slow BEFORE DELETE ON public.snapshots FOR EACH ROW EXECUTE FUNCTION public.slow();"
        ))
        .await;
    }

    /// The same for the rows of one event.
    pub async fn make_deletes_of_event_take(&self, event: Uuid, seconds: &str) {
        self.sql(format!(
            r"
                CREATE FUNCTION public.slow() RETURNS trigger LANGUAGE plpgsql AS
                    'BEGIN PERFORM pg_sleep({seconds}); RETURN OLD; END';
                CREATE TRIGGER slow BEFORE DELETE ON public.snapshots
                    FOR EACH ROW WHEN (OLD.event_id = '{event}') EXECUTE FUNCTION public.slow()"
        ))
        .await;
    }

    /// Makes a trigger of the backend's keep each row that a DELETE names and for which the condition holds, without an error.
    pub async fn keep_rows(&self, condition: &str) {
        self.sql(format!(
            r"
                CREATE FUNCTION public.keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
                CREATE TRIGGER keep BEFORE DELETE ON public.snapshots
                    FOR EACH ROW WHEN ({condition}) EXECUTE FUNCTION public.keep()"
        ))
        .await;
    }

    /// Ends every session of a worker.
    pub async fn terminate_backends(&self) {
        self.sql(
            r"
                SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE datname = current_database() AND application_name = 'snapshot-lifecycle'",
        )
        .await;
    }

    /// Waits until one of those is in the middle of it.
    pub async fn a_delete_is_under_way(&self) {
        eventually("a delete to be under way", async || {
            let sleeping: i64 = sqlx::query_scalar(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'",
            )
            .fetch_one(&self.pool)
            .await
            .unwrap();
            sleeping > 0
        })
        .await;
    }

    /// Makes a trigger of the backend's refuse every delete of a row.
    pub async fn refuse_deletes(&self) {
        self.sql(
            r"
                CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS
                    $$ BEGIN RAISE EXCEPTION 'no'; END $$;
                CREATE TRIGGER refuse BEFORE DELETE ON public.snapshots FOR EACH ROW EXECUTE FUNCTION public.refuse();",
        )
        .await;
    }

    pub async fn count(&self, condition: &str) -> i64 {
        let sql = format!("SELECT count(*) FROM public.snapshots WHERE {condition}");
        sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&self.pool).await.unwrap()
    }
}

/// The set of the given ids.
pub fn set<const N: usize>(ids: [Uuid; N]) -> BTreeSet<Uuid> {
    ids.into_iter().collect()
}

pub(super) fn database(url: &str) -> Database {
    Database::new(Some(&SecretString::from(url)), 4).expect("a usable URL")
}

pub(super) async fn pool(url: &str) -> PgPool {
    PgPoolOptions::new().max_connections(8).connect(url).await.expect("PostgreSQL answers")
}

pub(super) async fn execute(pool: &PgPool, sql: String) {
    sqlx::raw_sql(AssertSqlSafe(sql.clone())).execute(pool).await.unwrap_or_else(|error| panic!("{error}: {sql}"));
}
