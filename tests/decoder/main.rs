//! The decoder against whatever comes: a corpus of malformed messages, each with the reason it must get, and random ones. It never
//! panics and takes memory in proportion to the message. One test after the other, because memory is counted for the process.

use peak_alloc::PeakAlloc;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde::Deserialize;
use snapshot_lifecycle::StatusMessage;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// A line of the corpus.
#[derive(Deserialize)]
struct Malformed {
    reason: String,
    what: String,
    body: Option<String>,
    /// Where it is no UTF-8.
    hex: Option<String>,
}

impl Malformed {
    fn all() -> Vec<(String, String, Vec<u8>)> {
        let corpus = include_str!("../fixtures/malformed.ndjson");
        let bytes = |hex: &str| {
            let digits = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
            (0..hex.len()).step_by(2).map(digits).collect()
        };
        let read = |line| {
            let Self { reason, what, body, hex } = serde_json::from_str(line).unwrap();
            (reason, what, body.map_or_else(|| bytes(&hex.unwrap()), String::into_bytes))
        };
        corpus.lines().map(read).collect()
    }
}

/// Bytes that decoding takes at most, beside a fixed amount for error texts: a copy of what has escapes, and no more.
fn bound(body: &[u8]) -> usize {
    4 * body.len() + 16 * 1024
}

/// Decodes, and fails where it took more than its share.
fn decode(body: &[u8]) -> Result<StatusMessage, String> {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let read = StatusMessage::from_json(body);
    let taken = MEMORY.peak_usage().saturating_sub(before);
    assert!(taken <= bound(body), "{taken} bytes for a message of {}", body.len());
    read.map_err(|invalid| invalid.reason.to_string())
}

/// Like a message: known fields with values of any kind, in any order, some twice, now and then with a byte changed.
fn nearly_a_message() -> impl Strategy<Value = Vec<u8>> {
    let field = prop_oneof![
        Just("event_id"),
        Just("status"),
        Just("occurred_at"),
        Just("team_id"),
        Just("message_id"),
        Just("step"),
        Just("x\\u0041")
    ];
    let value = prop_oneof![
        Just("\"9b1deb4d-3b7d-4bad-9bdd-2b0d7b3dcb6d\"".to_owned()),
        Just("\"Confirmed\"".to_owned()),
        Just("\"2026-01-05T12:00:00.5+01:00\"".to_owned()),
        "-?[0-9]{1,30}(\\.[0-9]{1,30})?([eE][+-]?[0-9]{1,4})?",
        "\"(\\\\u[0-9a-f]{4}|\\\\n|[a-z äß🙂-]){0,40}\"",
        "(\\[|\\{\"a\":){0,140}",
        Just("null".to_owned()),
        Just("true".to_owned()),
    ];
    let fields = prop::collection::vec((field, value), 0..9);
    (fields, prop::option::weighted(0.3, (any::<prop::sample::Index>(), any::<u8>()))).prop_map(|(fields, change)| {
        let fields: Vec<_> = fields.into_iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        let mut body = format!("{{{}}}", fields.join(",")).into_bytes();
        if let Some((at, byte)) = change {
            let at = at.index(body.len());
            body[at] = byte;
        }
        body
    })
}

#[test]
fn decoder_bears_whatever_comes() {
    let corpus = Malformed::all();
    assert!(corpus.len() > 500, "{}", corpus.len());
    let mut wrong = Vec::new();
    for (reason, what, body) in corpus {
        let read = decode(&body);
        if read.as_ref().err() != Some(&reason) {
            wrong.push(format!("{what} must be {reason} and is {read:?}: {}", String::from_utf8_lossy(&body)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    let config = || Config { cases: 2_000, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new(config());
    runner
        .run(&prop::collection::vec(any::<u8>(), 0..2_000), |body| {
            let _ = decode(&body);
            Ok(())
        })
        .unwrap();
    let mut runner = TestRunner::new(config());
    runner
        .run(&nearly_a_message(), |body| {
            if let Ok(message) = decode(&body) {
                // What was understood is written and read as the same.
                let again = decode(&message.to_json().unwrap()).unwrap();
                prop_assert_eq!(
                    (again.event_id, again.team_id, again.status),
                    (message.event_id, message.team_id, message.status)
                );
                prop_assert_eq!(again.occurred_at, message.occurred_at);
            }
            Ok(())
        })
        .unwrap();

    // Sizes far beyond what is parsed by default.
    for unit in ["[", "{\"a\":", "\"\\u00e4", "1e", "\\", "{\"status\":\"confirmed\",", " "] {
        decode(unit.repeat(4_000_000 / unit.len()).as_bytes()).unwrap_err();
    }
    let long = format!(
        r#"{{"event_id":"9b1deb4d-3b7d-4bad-9bdd-2b0d7b3dcb6d","status":"lead","occurred_at":"2026-01-05T12:00:00Z","x":"{}"}}"#,
        "\\u00e4".repeat(700_000)
    );
    decode(long.as_bytes()).unwrap();
}
