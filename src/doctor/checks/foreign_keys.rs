use crate::doctor::check_id::DatabaseCheck;
use crate::doctor::finding::Finding;
use crate::storage::ForeignKey;

pub(in crate::doctor) fn references(references: &[ForeignKey]) -> Vec<Finding> {
    const CHECK: DatabaseCheck = DatabaseCheck::References;
    let unindexed = |it: &ForeignKey| {
        let (table, columns) = (&it.table, it.columns_without_index.as_ref()?);
        Some(Finding::failed(
            CHECK,
            format!("{table} references snapshots by {columns} without an index: each deleted snapshot scans it"),
            format!("as the owner: CREATE INDEX CONCURRENTLY ON {table} ({columns});"),
        ))
    };
    let named = |wanted: fn(&ForeignKey) -> bool| {
        let tables: Vec<_> = references.iter().filter(|it| wanted(it)).map(|it| it.table.as_str()).collect();
        tables.join(", ")
    };
    let mut findings: Vec<_> = references.iter().filter_map(unindexed).collect();
    let (blocking, cascading) = (named(|it| it.blocks), named(|it| it.cascades));
    if !blocking.is_empty() {
        findings.push(Finding::warning(
            CHECK,
            format!(
                "a foreign key of {blocking} prevents the deletion of snapshots, and their messages become dead letters"
            ),
            "drop the foreign key, or make it ON DELETE CASCADE or SET NULL with an index on its column",
        ));
    } else if !cascading.is_empty() {
        findings.push(Finding::warning(
            CHECK,
            format!("rows of {cascading} are deleted together with their snapshots (ON DELETE CASCADE)"),
            "make sure that this is intended",
        ));
    }
    if findings.is_empty() {
        findings.push(Finding::ok(CHECK, "no other table prevents the deletion of snapshots"));
    }
    findings
}
