use crate::doctor::check_id::DatabaseCheck;
use crate::doctor::finding::Finding;
use crate::storage::{ServerFacts, TableProtection};

pub(in crate::doctor) fn isolation(protection: TableProtection) -> Finding {
    const CHECK: DatabaseCheck = DatabaseCheck::Isolation;
    if protection.isolated {
        return Finding::ok(CHECK, "row-level security is on for public.snapshots");
    }
    Finding::warning(
        CHECK,
        "row-level security is off for public.snapshots: the backend's roles see the snapshots of every team",
        "as the owner: ALTER TABLE public.snapshots ENABLE ROW LEVEL SECURITY;",
    )
}

pub(in crate::doctor) fn role(server: &ServerFacts, protection: TableProtection) -> Finding {
    const CHECK: DatabaseCheck = DatabaseCheck::Role;
    if protection.isolated && !protection.binds_role {
        return Finding::warning(
            CHECK,
            format!("role {} can do the job and much more: row-level security does not apply to it", server.role),
            "deploy/sql/worker-role.sql makes a role that can do nothing else",
        );
    }
    Finding::ok(CHECK, format!("role {} sees and may delete every snapshot", server.role))
}
