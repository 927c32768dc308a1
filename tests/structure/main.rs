//! The rules of the layout, read from the sources: who may import whom, which module names which crate, how long a file may be.

mod imports;
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use imports::Imports;
use source::{root, sources, texts};

/// From the bottom to the top: a module imports from its own layer and those before it, never from one behind it.
const LAYERS: [&[&str]; 6] = [
    &["backoff", "clock", "closed_set", "config", "heartbeat", "lifecycle", "network", "setting", "terminal"],
    &["message", "policy"],
    &["telemetry"],
    &["broker", "storage"],
    &["dead_letters", "doctor", "http", "import", "monitor", "outbox", "passes", "pipeline", "publication", "watchdog"],
    &["cli"],
];

/// Crates that belong to certain modules.
const HOMES: [(&str, &[&str]); 7] = [
    ("lapin", &["broker"]),
    ("sqlx", &["storage"]),
    ("axum", &["http"]),
    ("hyper", &["http"]),
    ("prometheus", &["telemetry"]),
    ("clap", &["cli", "config"]),
    ("anyhow", &["cli"]),
];

const MOST_LINES: usize = 300;
const MOST_LINES_OF_COMMANDS: usize = 2600;

/// SQL of the program that has as many lines, or more, is a file.
const LINES_OF_AN_SQL_FILE: usize = 4;

/// What SQL begins with.
const SQL_VERBS: [&str; 18] = [
    "ALTER", "ANALYZE", "BEGIN", "COPY", "CREATE", "DELETE", "DO", "DROP", "EXPLAIN", "GRANT", "INSERT", "LOCK",
    "REVOKE", "SELECT", "SET", "TRUNCATE", "UPDATE", "WITH",
];

/// Names that say nothing.
const EMPTY_NAMES: [&str; 6] = ["util", "utils", "common", "types", "helpers", "misc"];

/// Tests that are programs of several files, which may import from each other.
const PROGRAMS: [&str; 2] = ["tests/it/faults/random_faults/", "tests/it/rules/model/"];

#[test]
fn nothing_is_imported_in_a_circle() {
    let circles = Imports::of(&sources("src")).circles();
    assert!(circles.is_empty(), "{circles:#?}");
}

#[test]
fn nothing_is_imported_from_a_layer_above() {
    let layer = |module: &str| {
        let top = module.split("::").next().unwrap();
        LAYERS.iter().position(|names| names.contains(&top))
    };
    let imports = Imports::of(&sources("src"));
    let mut wrong = Vec::new();
    for (from, all) in imports.arrows.iter().filter(|(from, _)| !["", "main"].contains(&from.as_str())) {
        for to in all {
            match (layer(from), layer(to)) {
                (Some(lower), Some(upper)) if upper <= lower => {}
                (None, _) => wrong.push(format!("{from} is in no layer")),
                _ => wrong.push(format!("{from} imports from {}", if to.is_empty() { "lib.rs" } else { to })),
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn crates_are_named_only_where_they_belong() {
    let imports = Imports::of(&sources("src"));
    let wrong: Vec<_> = HOMES
        .iter()
        .flat_map(|(name, homes)| {
            let elsewhere = |module: &&String| !homes.contains(&module.split("::").next().unwrap());
            let uses = imports.crates.iter().filter(|(_, crates)| crates.contains(*name));
            uses.map(|(module, _)| module).filter(elsewhere).map(move |module| format!("{module} names {name}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn modules_at_the_top_are_those_of_the_layers() {
    let modules: BTreeSet<_> =
        sources("src").iter().filter_map(|it| it.module().first().map(ToString::to_string)).collect();
    let named = LAYERS.concat().into_iter().chain(["main"]).map(ToOwned::to_owned).collect::<BTreeSet<_>>();
    assert_eq!(modules, named);
}

#[test]
fn folder_shows_what_a_visitor_expects() {
    let shown: BTreeSet<String> = fs::read_dir(root())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.starts_with('.') && name != "target")
        .collect();
    let expected =
        ["Cargo.lock", "Cargo.toml", "LICENSE", "README.md", "deploy", "migrations", "src", "tests"].map(String::from);
    assert_eq!(shown, BTreeSet::from(expected));
}

#[test]
fn files_are_short_and_their_names_say_something() {
    let all: Vec<_> = sources("src").into_iter().chain(sources("tests")).collect();
    let long: BTreeMap<&str, usize> = all
        .iter()
        .map(|source| (source.path.as_str(), source.text.lines().count()))
        .filter(|(_, lines)| *lines > MOST_LINES)
        .collect();
    assert!(long.is_empty(), "{long:#?}");
    for source in &all {
        let stem = source.path.rsplit('/').next().unwrap().trim_end_matches(".rs");
        assert!(!EMPTY_NAMES.contains(&stem), "{}", source.path);
    }
}

#[test]
fn tests_import_fixtures_and_not_each_other() {
    let mut wrong = Vec::new();
    for source in sources("tests/it") {
        let in_program = PROGRAMS.iter().any(|folder| source.path.starts_with(folder));
        let code = source.text.lines().filter(|line| !line.trim_start().starts_with("//"));
        let imports = code.filter(|line| {
            let others = line.split("crate::").skip(1).any(|path| !path.starts_with("support::"));
            others || (line.contains("super::") && !in_program)
        });
        wrong.extend(imports.map(|line| format!("{}: {}", source.path, line.trim())));
    }
    assert!(wrong.is_empty(), "fixtures are for tests/support: {wrong:#?}");
}

#[test]
fn sql_of_several_lines_is_raw_and_from_four_lines_on_a_file_of_the_program() {
    let mut wrong = Vec::new();
    for source in sources("src").into_iter().chain(sources("tests")) {
        for text in texts(&source.text) {
            let sql = text.written.trim();
            let (begins, lines) = (sql.lines().next().unwrap_or_default(), sql.lines().count());
            let is_sql = begins.split_whitespace().next().is_some_and(|verb| SQL_VERBS.contains(&verb));
            let is_long = source.path.starts_with("src/") && lines >= LINES_OF_AN_SQL_FILE;
            if is_sql && (is_long || lines > 1 && !text.is_raw) {
                wrong.push(format!("{}: {begins}", source.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn commands_are_thin() {
    let lines: usize = sources("src/cli").iter().map(|source| source.text.lines().count()).sum();
    assert!(lines < MOST_LINES_OF_COMMANDS, "src/cli has {lines} lines: work belongs below the commands");
}

/// The documents that name files.
const DOCUMENTS: [&str; 6] = [
    "README.md",
    "deploy/operating.md",
    "deploy/runbook.md",
    "tests/README.md",
    "tests/bench/README.md",
    ".github/CONTRIBUTING.md",
];

#[test]
fn files_that_the_documents_name_exist() {
    let is_path = |name: &&str| {
        let begins = ["src/", "tests/", "deploy/", "migrations/", ".ci/", ".config/", ".github/"];
        begins.iter().any(|folder| name.starts_with(folder)) && !name.contains(['<', '*', '…'])
    };
    let mut missing = Vec::new();
    for document in DOCUMENTS {
        let text = fs::read_to_string(root().join(document)).unwrap();
        // Between backticks; a command's first word is the file.
        let words = text.split('`').skip(1).step_by(2).filter_map(|code| code.split_whitespace().next());
        let gone = words.filter(is_path).filter(|name| !root().join(name).exists());
        missing.extend(gone.map(|name| format!("{document} names {name}")));
    }
    assert!(missing.is_empty(), "{missing:#?}");
}
