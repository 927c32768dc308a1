use serde_json::{Value, json};

use super::TempFile;

/// A local store of the backend's with `count` snapshots.
pub fn local_store(count: usize) -> TempFile {
    let entry = |n: usize| {
        let id = format!("snap_20260105_120000_{n:08x}");
        let snapshot = json!({"snapshot_id": id, "type": "offer", "created_at": "2026-01-05T12:00:00",
            "expires_at": "2099-01-05T12:00:00", "event_id": null, "params": {}, "data": {"n": n}});
        (id, snapshot)
    };
    let snapshots: serde_json::Map<String, Value> = (0..count).map(entry).collect();
    TempFile::new(json!({ "snapshots": snapshots }).to_string())
}
