//! What `pause` and `resume` share: their argument, who calls them, a table, and what an error lacks.

use std::fs::read_to_string;

use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::database::explained;
use crate::config::{DatabaseOptions, variable};
use crate::policy::Activity;
use crate::storage::{Database, Pause, StorageError};
use crate::terminal::Table;

/// The activities that one word names.
#[derive(Debug, Clone)]
pub(super) struct Activities(pub(super) Vec<Activity>);

const ALL: &str = "all";

impl Activities {
    pub(super) fn all() -> Self {
        Self(Activity::ALL.to_vec())
    }

    pub(super) fn parser() -> impl TypedValueParser<Value = Self> {
        let names = Activity::ALL.into_iter().map(Activity::as_str).chain([ALL]);
        PossibleValuesParser::new(names).map(|name| {
            Self(Activity::ALL.into_iter().filter(|activity| name == ALL || name == activity.as_str()).collect())
        })
    }
}

/// Without the checks of other commands, which find a mistake in a deployment: what deletes is stopped all the same.
pub(super) fn open_unchecked(options: &DatabaseOptions) -> anyhow::Result<Database> {
    Ok(Database::new(options.database_url.as_ref(), 1)?)
}

/// Who calls, as the machine knows them.
pub(super) fn os_user() -> String {
    let known = |names: [&str; 2]| names.into_iter().find_map(variable).map(|name| name.to_string_lossy().into_owned());
    let user = known(["USER", "LOGNAME"]).unwrap_or_else(|| "unknown".to_owned());
    let host = read_to_string("/proc/sys/kernel/hostname").ok().or_else(|| known(["HOSTNAME", "HOST"]));
    format!("{user}@{}", host.as_deref().map_or("unknown", str::trim))
}

/// The error, with the role that is needed, or the migration.
pub(super) fn not_done(error: StorageError) -> anyhow::Error {
    if error.code().as_deref() == Some("42P01") {
        return anyhow::Error::from(error).context(
            "the database is not migrated; run `snapshot-lifecycle migrate` with a role that owns the schema",
        );
    }
    explained(error, "this needs a role that may read and write snapshot_lifecycle.pause: the one that ran `migrate`")
}

pub(super) fn table(list: &[Pause], footer: &str) -> Table {
    let table = Table::new(["paused", "since", "ends", "by"]);
    let table = list
        .iter()
        .fold(table, |table, pause| table.row([pause.what.clone(), pause.begins(), pause.ends(), pause.by()]));
    table.footer(footer)
}
