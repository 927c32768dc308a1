//! Completions and manual pages, from the program's own definition.

use std::io::Write;
use std::process::{Command, Stdio};

use uuid::Uuid;

use crate::support::{TempFile, finish, on_a_terminal, program};

const COMMANDS: [&str; 15] = [
    "run",
    "migrate",
    "publish",
    "delete-event",
    "sweep",
    "evict",
    "pause",
    "resume",
    "dlq",
    "retention",
    "outbox",
    "snapshots",
    "topology",
    "doctor",
    "healthcheck",
];

#[test]
fn bash_completes_commands() {
    let script = finish(program(&["completions", "bash"]));
    assert_eq!(script.code, 0, "{script:?}");
    let mut bash = Command::new("bash").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let ask = "COMP_WORDS=(snapshot-lifecycle dlq re) COMP_CWORD=2\n_snapshot__lifecycle snapshot-lifecycle re dlq\necho \"${COMPREPLY[@]}\"\n";
    bash.stdin.take().unwrap().write_all(format!("{}\n{ask}", script.stdout).as_bytes()).unwrap();
    let output = bash.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "replay\n");
}

#[test]
fn help_manual_and_completions_need_no_value() {
    for arguments in [&["man"][..], &["completions", "zsh"], &["dlq", "list", "--help"], &["--version"], &["run", "-h"]]
    {
        let mut command = program(arguments);
        command.env("AMQP_URL_FILE", "/no/such/file").env("DATABASE_URL_FILE", "/no/such/file");
        assert_eq!(finish(command).code, 0, "{arguments:?}");
    }
}

#[test]
fn values_of_reason_are_completed_and_in_the_help() {
    for arguments in
        [&["completions", "bash"][..], &["completions", "fish"], &["dlq", "replay", "--help"], &["dlq", "list", "-h"]]
    {
        let shown = finish(program(arguments));
        for reason in ["attempts_exhausted", "replayed_too_often", "delivery_limit", "maxlen"] {
            assert!(shown.stdout.contains(reason), "{reason} in {arguments:?}");
        }
    }
}

#[test]
fn help_fits_a_terminal_and_breaks_no_word() {
    for arguments in [
        &["--help"][..],
        &["run", "--help"],
        &["dlq", "replay", "--help"],
        &["publish", "--help"],
        &["snapshots", "import", "--help"],
    ] {
        let (code, shown) = on_a_terminal(80, &program(arguments));
        assert_eq!(code, 0, "{shown}");
        let plain = without_colours(&shown);
        let long: Vec<_> =
            plain.lines().filter(|line| line.chars().count() > 80 && !line.starts_with("Usage:")).collect();
        assert!(long.is_empty(), "{long:#?}");
        let logging =
            plain.lines().skip_while(|line| !line.starts_with("Logging:")).take_while(|line| !line.is_empty());
        assert!(logging.count() <= 6, "{plain}");
    }
}

/// Text without the escape sequences that set colours.
fn without_colours(text: &str) -> String {
    let mut parts = text.split('\u{1b}');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |plain, part| plain + part.split_once('m').map_or("", |(_, rest)| rest))
}

#[test]
fn every_shell_has_completions_and_an_unknown_one_is_refused() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = finish(program(&["completions", shell]));
        assert!(script.code == 0 && COMMANDS.iter().all(|command| script.stdout.contains(command)), "{shell}");
    }
    let unknown = finish(program(&["completions", "tcsh"]));
    assert_eq!(unknown.code, 2);
    assert!(unknown.stderr.contains("bash"), "{unknown:?}");
}

#[test]
fn manual_names_every_command_and_no_secret() {
    let secret = TempFile::new("postgres://somebody:hunter2@host/db");
    let mut command = program(&["man"]);
    command.env("DATABASE_URL_FILE", secret.path()).env("AMQP_URL", "amqp://somebody:hunter2@host");
    let page = finish(command);
    assert_eq!(page.code, 0, "{page:?}");
    for command in COMMANDS {
        assert!(page.stdout.contains(&command.replace('-', "\\-")), "{command}\n{}", page.stdout);
    }
    assert!(!page.stdout.contains("hunter2"));
}

#[test]
fn one_page_a_command_goes_into_a_folder() {
    let dir = std::env::temp_dir().join(Uuid::new_v4().to_string());
    let missing = finish(program(&["man", "--dir", dir.to_str().unwrap()]));
    assert_eq!(missing.code, 1);
    assert!(missing.stderr.contains("could not write"), "{missing:?}");
    std::fs::create_dir(&dir).unwrap();
    assert_eq!(finish(program(&["man", "--dir", dir.to_str().unwrap()])).code, 0);
    for page in ["snapshot-lifecycle.1", "snapshot-lifecycle-run.1", "snapshot-lifecycle-dlq-replay.1"] {
        let text = std::fs::read_to_string(dir.join(page)).unwrap_or_else(|error| panic!("{page}: {error}"));
        assert!(text.contains(".TH"), "{page}");
    }
    std::fs::remove_dir_all(dir).ok();
}

#[test]
fn every_command_line_of_the_documents_is_understood() {
    let documents = [
        include_str!("../../../README.md"),
        include_str!("../../../deploy/operating.md"),
        include_str!("../../../deploy/runbook.md"),
    ];
    let blocks = documents.iter().flat_map(|text| text.split("```").skip(1).step_by(2));
    let lines = blocks.filter(|block| block.starts_with("sh\n")).flat_map(str::lines);
    let inline = documents.iter().flat_map(|text| text.split('`')).filter(|text| !text.contains('\n'));
    let lines = lines.chain(inline);
    let mut tried = 0;
    for line in lines {
        let Some((before, words)) =
            line.split_once("snapshot-lifecycle ").or_else(|| line.starts_with("dlq ").then_some(("", line)))
        else {
            continue;
        };
        // A name, a folder or a path of something else.
        if before.ends_with(['/', '.', '-']) || before.starts_with("helm ") || words.starts_with(['-', '…', '.']) {
            continue;
        }
        let words = words.split(['#', '>', '|']).next().unwrap();
        let id = Uuid::new_v4().to_string();
        let words: Vec<_> = words
            .split_whitespace()
            .map(|word| word.trim_matches('\''))
            .map(|word| if ["ID", "EVENT_ID", "COMMAND"].contains(&word) { id.as_str() } else { word })
            .collect();
        if words.is_empty() || words[0] == id || words.contains(&"…") {
            continue;
        }
        // Nothing is reached from here: it ends at the missing URL, or says what it does not know.
        let mut command = program(&words);
        command.env("LIFECYCLE_HTTP_ADDR", "127.0.0.1:1");
        let ended = finish(command);
        for sign in [
            "unexpected argument",
            "unrecognized subcommand",
            "invalid value",
            "required arguments",
            "cannot be used with",
        ] {
            assert!(!ended.stderr.contains(sign), "{line}: {}", ended.stderr);
        }
        tried += 1;
    }
    assert!(tried >= 20, "{tried}");
}
