use crate::doctor::check_id::DatabaseCheck;
use crate::doctor::finding::Finding;
use crate::storage::Pause;

/// What an operator has stopped, a line each: it may be forgotten.
pub(in crate::doctor) fn paused(list: &[Pause]) -> Vec<Finding> {
    if list.is_empty() {
        return vec![Finding::ok(DatabaseCheck::Pause, "nothing is paused")];
    }
    let warning = |pause: &Pause| {
        let fix = format!("once the reason is gone: `snapshot-lifecycle resume {}`", pause.what);
        Finding::warning(DatabaseCheck::Pause, format!("{} is paused {pause}", pause.what), fix)
    };
    list.iter().map(warning).collect()
}
