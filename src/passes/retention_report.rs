use std::fmt;

use serde::Serialize;

use super::retention_change::RetentionPreview;

/// Who may change the policy: what to do where the role lacks a privilege.
pub const POLICY_ROLE: &str = "this needs the role that ran `migrate`, in DATABASE_URL";

/// What a change of the policy did, or would do.
#[derive(Debug, Serialize)]
pub struct RetentionReport {
    /// Whether this is a preview.
    pub dry_run: bool,
    /// The change.
    #[serde(flatten)]
    pub change: RetentionPreview,
    /// Rows that the restamp has changed.
    pub restamped: i64,
    /// Why the restamp ended early.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
}

impl RetentionReport {
    /// Why the change is not complete.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        let why = self.stopped.as_ref()?;
        Some(format!("stopped: {why}; the same command goes on where it stopped"))
    }
}

/// The sentences under a table of what applies before and after.
impl fmt::Display for RetentionReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { dry_run, change, restamped, stopped } = self;
        writeln!(f, "{}, {} with an event", existing(change.rows, &change.snapshot_type), change.rows_with_event)?;
        if let Some(restamp) = change.would_restamp {
            writeln!(
                f,
                "restamp: {} expire later, {} earlier, {} that never expired get an expiry; {} of these expire at once (the next sweep takes \
                 those); {} without created_at stay as they are",
                restamp.later,
                restamp.earlier,
                restamp.without_expires_at,
                restamp.expired_at_once,
                restamp.without_created_at
            )?;
        }
        match (stopped, dry_run) {
            (Some(_), _) => write!(f, "restamped {restamped} so far"),
            (None, true) if change.permitted => f.write_str("nothing was changed, add --yes to do it"),
            (None, true) => write!(f, "nothing was changed, and --yes would fail: {POLICY_ROLE}"),
            (None, false) if change.would_restamp.is_some() => write!(f, "changed, restamped {restamped}"),
            (None, false) => f.write_str("changed; existing rows keep their expires_at (--restamp changes them)"),
        }
    }
}

fn existing(rows: i64, of_type: &str) -> String {
    let (plural, exist) = if rows == 1 { ("", "exists") } else { ("s", "exist") };
    match of_type {
        "*" => format!("{rows} snapshot{plural} of a type that is not listed {exist}"),
        name => format!("{rows} snapshot{plural} of type {name} {exist}"),
    }
}
