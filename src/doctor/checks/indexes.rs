use crate::doctor::check_id::DatabaseCheck;
use crate::doctor::finding::Finding;
use crate::storage::{Index, RequiredIndex, Work};

pub(in crate::doctor) fn indexes(indexes: &[Index]) -> Vec<Finding> {
    const CHECK: DatabaseCheck = DatabaseCheck::Indexes;
    let mut findings = Vec::new();
    for need in RequiredIndex::ALL {
        if indexes.iter().any(|index| index.valid && index.serves(*need)) {
            continue;
        }
        let (slow, costly) = match need.work {
            Work::EventEnd => ("the end of an event", true),
            Work::Sweep => ("the TTL sweep", true),
            Work::Cap => ("the eviction", true),
            Work::Lists => ("a list of a team's snapshots", false),
        };
        let (message, fix) = match indexes.iter().find(|index| index.serves(*need)) {
            Some(invalid) => (
                format!("index {} is invalid, so {slow} reads the whole table", invalid.name),
                format!("as the owner: REINDEX INDEX CONCURRENTLY {};", invalid.name),
            ),
            None => (
                format!("no index on ({}): {slow} reads the whole table", need.keys),
                format!("as the owner: CREATE INDEX CONCURRENTLY {} ON public.snapshots ({});", need.name, need.keys),
            ),
        };
        findings.push(if costly {
            Finding::failed(CHECK, message, fix)
        } else {
            Finding::warning(CHECK, message, fix)
        });
    }
    for index in
        indexes.iter().filter(|index| !index.valid && !RequiredIndex::ALL.iter().any(|need| index.serves(*need)))
    {
        findings.push(Finding::warning(
            CHECK,
            format!("index {} is invalid: it slows inserts and no query uses it", index.name),
            format!("as the owner: DROP INDEX CONCURRENTLY {0}; or REINDEX INDEX CONCURRENTLY {0};", index.name),
        ));
    }
    if findings.is_empty() {
        findings.push(Finding::ok(CHECK, "every statement of the worker has its index"));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn index_with_more_keys_serves_and_one_with_other_or_fewer_does_not() {
        let index = |keys: &str, whole| Index {
            name: "public.i".to_owned(),
            definition: format!("CREATE INDEX i ON public.snapshots USING btree ({keys})"),
            valid: true,
            whole,
        };
        let event = *RequiredIndex::ALL.iter().find(|need| need.work == Work::EventEnd).unwrap();
        assert!(index("event_id", true).serves(event));
        assert!(index("event_id, team_id", true).serves(event));
        assert!(index("event_id DESC NULLS LAST", true).serves(event), "of one key both directions serve");
        for (keys, whole) in [("event_id", false), ("team_id, event_id", true), ("event_id_hash", true)] {
            assert!(!index(keys, whole).serves(event), "{keys}");
        }
    }
}
