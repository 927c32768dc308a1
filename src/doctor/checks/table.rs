use crate::doctor::check_id::DatabaseCheck;
use crate::doctor::finding::Finding;
use crate::storage::{Misshape, TableProtection};

/// Whether the statements reach the whole table, and only what the rules name.
pub(in crate::doctor) fn table(misshapes: Vec<Misshape>, protection: TableProtection) -> Vec<Finding> {
    const CHECK: DatabaseCheck = DatabaseCheck::Table;
    let mut findings: Vec<_> = misshapes
        .into_iter()
        .map(|it| Finding::failed(CHECK, format!("public.snapshots: {}", it.message), it.fix))
        .collect();
    if protection.published_without_identity {
        findings.push(Finding::failed(
            CHECK,
            "public.snapshots is published for logical replication without a replica identity, so PostgreSQL rejects every delete",
            "as the owner: ALTER TABLE public.snapshots REPLICA IDENTITY DEFAULT; (uses the primary key; FULL without one)",
        ));
    }
    if findings.is_empty() {
        findings.push(Finding::ok(CHECK, "an ordinary table whose id is unique"));
    }
    findings
}
