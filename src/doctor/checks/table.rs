use crate::doctor::Finding;
use crate::storage::{Guards, Misshape};

/// Whether the statements reach the table as a whole, and no further than the rules say.
pub(in crate::doctor) fn table(misshapes: Vec<Misshape>, guards: Guards) -> Vec<Finding> {
    const CHECK: &str = "database.table";
    let mut findings: Vec<_> = misshapes
        .into_iter()
        .map(|it| Finding::failed(CHECK, format!("public.snapshots: {}", it.says), it.fix))
        .collect();
    if guards.published_without_identity {
        findings.push(Finding::failed(
            CHECK,
            "public.snapshots is published for logical replication without a replica identity, so PostgreSQL refuses each delete",
            "as the owner: ALTER TABLE public.snapshots REPLICA IDENTITY DEFAULT; (it uses the primary key; FULL where there is none)",
        ));
    }
    if findings.is_empty() {
        findings.push(Finding::ok(CHECK, "an ordinary table whose id is unique"));
    }
    findings
}
