use std::fmt;

use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::policy::Activity;
use crate::storage::database::Database;
use crate::storage::error::StorageError;
use crate::storage::limits::Limits;
use crate::storage::statement::{query_as, query_scalar, sql};
use crate::storage::transaction::Tx;
use crate::terminal::to_the_second;

/// An activity that an operator has stopped for the whole fleet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct Pause {
    /// The name of the activity.
    pub what: String,
    /// By the database's clock.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
    /// When it ends on its own; `None`: not before somebody resumes it.
    #[serde(with = "time::serde::rfc3339::option")]
    pub until: Option<OffsetDateTime>,
    /// The role that the database knows.
    pub by_role: String,
    /// Who that was on the machine where the command ran.
    pub by_user: Option<String>,
}

impl Pause {
    /// Who has paused it.
    #[must_use]
    pub fn by(&self) -> String {
        match &self.by_user {
            Some(user) => format!("{} ({user})", self.by_role),
            None => self.by_role.clone(),
        }
    }

    /// Since when.
    #[must_use]
    pub fn begins(&self) -> String {
        shown(self.since)
    }

    /// When it ends.
    #[must_use]
    pub fn ends(&self) -> String {
        self.until.map_or_else(|| "until it is resumed".to_owned(), |until| format!("until {}", shown(until)))
    }
}

/// Without what is paused.
impl fmt::Display for Pause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "since {} {}, by {}", self.begins(), self.ends(), self.by())
    }
}

fn shown(at: OffsetDateTime) -> String {
    at.format(&Rfc3339).map_or_else(|_| at.to_string(), |text| to_the_second(&text))
}

/// Since when, until when and by whom the activity is paused, if it is.
#[must_use]
pub fn pause_of(list: &[Pause], activity: Activity) -> Option<String> {
    list.iter().find(|pause| pause.what == activity.as_str()).map(ToString::to_string)
}

impl Database {
    /// What is paused now, in the order of [`Activity::ALL`]. Its timeouts are those of a health check, because it serves as one.
    ///
    /// # Errors
    /// If the database does not answer or refuses.
    pub async fn pause_list(&self) -> Result<Vec<Pause>, StorageError> {
        let mut tx = self.begin(Limits::PING, "read what is paused").await?;
        let statement = query_as(sql!("pause_list.sql", "pause_columns.sql", "pause_in_force.sql"));
        let list = tx.fetch_all(statement.bind(Activity::ALL.map(Activity::as_str).to_vec())).await?;
        tx.commit(list).await
    }
}

/// Whether it is paused.
pub(in crate::storage) async fn is_paused(tx: &mut Tx, activity: Activity) -> Result<bool, StorageError> {
    tx.fetch_one(query_scalar(sql!("pause_is_in_force.sql", "pause_in_force.sql")).bind(activity.as_str())).await
}
