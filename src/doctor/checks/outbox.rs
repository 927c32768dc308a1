use std::time::Duration;

use crate::doctor::check_id::DatabaseCheck;
use crate::doctor::finding::Finding;
use crate::storage::{OutboxBacklog, OutboxTrigger};

/// A record is published within seconds.
const OUTBOX_LATE: Duration = Duration::from_mins(1);

pub(in crate::doctor) fn outbox(triggers: &[OutboxTrigger], backlog: OutboxBacklog) -> Finding {
    const CHECK: DatabaseCheck = DatabaseCheck::Outbox;
    let OutboxBacklog { pending, oldest } = backlog;
    if pending > 0 && oldest > OUTBOX_LATE {
        return Finding::failed(
            CHECK,
            format!("{pending} status changes wait to be published, the oldest for {} s", oldest.as_secs()),
            "start a worker (`run`) with the exchange that `outbox status` names, or see in its log why they are rejected or unroutable",
        );
    }
    if let Some((trigger, problem)) = triggers.iter().find_map(|it| Some((it, it.problem.as_ref()?))) {
        let message = format!("the trigger on {} ({}): {problem}", trigger.table, trigger.columns);
        let fix = "run `snapshot-lifecycle outbox install` again with the current names, or `outbox uninstall`";
        return if trigger.enabled {
            Finding::warning(CHECK, message, fix)
        } else {
            Finding::failed(CHECK, message, fix)
        };
    }
    if let Some(trigger) = triggers.iter().find(|trigger| !trigger.enabled) {
        return Finding::failed(
            CHECK,
            format!(
                "a trigger on {} is disabled or missing: not all of its status changes are published",
                trigger.table
            ),
            "as the owner: ALTER TABLE … ENABLE TRIGGER snapshot_lifecycle_outbox_update (and …_insert), or run `outbox install` again",
        );
    }
    let inserts = |it: &OutboxTrigger| if it.on_insert { ", inserts are recorded too" } else { "" };
    match triggers {
        [] => Finding::ok(CHECK, "not installed; the backend publishes its status changes itself"),
        [one] => Finding::ok(CHECK, format!("on {}{}; {pending} wait", one.table, inserts(one))),
        more => Finding::ok(CHECK, format!("on {} tables; {pending} wait", more.len())),
    }
}
