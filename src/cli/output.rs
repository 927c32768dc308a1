//! The only place that prints: answers to stdout, everything else to stderr.

use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;

use clap::{Args, ValueEnum};
use serde::Serialize;
use terminal_size::{Width, terminal_size_of};

use crate::config::variable;
use crate::terminal::{self, Table, escape_control, render_records, wrap};

/// How answers are printed.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct OutputOptions {
    /// Format of the answer on stdout, table or json [default: table on a terminal, json elsewhere]
    #[arg(long = "output", value_enum, value_name = "FORMAT", hide_possible_values = true)]
    form: Option<Form>,
}

/// The format of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// For people.
    Table,
    /// For programs.
    Json,
}

impl Form {
    fn of_stdout() -> Self {
        if on_a_terminal() { Self::Table } else { Self::Json }
    }
}

/// For commands that delete or move.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct ConfirmOptions {
    /// Do it; without this, only show what would be done
    #[arg(long)]
    pub(super) yes: bool,
}

impl OutputOptions {
    /// Whether the answer is for programs.
    pub(super) fn is_json(self) -> bool {
        self.form.unwrap_or_else(Form::of_stdout) == Form::Json
    }

    /// Prints the answer in the chosen format. A reader that has gone away (`| head`) is no error.
    pub(super) fn print<T: Serialize>(self, answer: &T, rows: impl FnOnce(&T) -> Table) -> anyhow::Result<()> {
        self.print_text(answer, |answer| rows(answer).render(terminal_width()))
    }

    /// The same for a few things with many fields: one record under the other, one field per line.
    pub(super) fn print_records<T: Serialize>(
        self,
        answer: &T,
        records: impl FnOnce(&T) -> Vec<Vec<(String, String)>>,
    ) -> anyhow::Result<()> {
        self.print_text(answer, |answer| render_records(&records(answer), terminal_width()))
    }

    /// The same where text serves people better than a table.
    pub(super) fn print_text<T: Serialize>(self, answer: &T, text: impl FnOnce(&T) -> String) -> anyhow::Result<()> {
        let text = if self.is_json() { format!("{}\n", serde_json::to_string_pretty(answer)?) } else { text(answer) };
        write_stdout(text.as_bytes())
    }
}

/// Whether the answer goes to a terminal.
fn on_a_terminal() -> bool {
    io::stdout().is_terminal()
}

/// A body or a snapshot's data as it is shown: laid out on a terminal, and as it is elsewhere. `whole` shows all of it.
pub(super) fn for_the_screen(text: &str, whole: &str) -> String {
    if on_a_terminal() { terminal::for_the_screen(text, whole) } else { text.to_owned() }
}

/// The width of the terminal that the answer goes to. `None` where it goes elsewhere, or where nothing says how wide the terminal is.
pub(super) fn terminal_width() -> Option<usize> {
    width_of(&io::stdout())
}

fn width_of(stream: &(impl AsFd + IsTerminal)) -> Option<usize> {
    if !stream.is_terminal() {
        return None;
    }
    let known = terminal_size_of(stream).map(|(Width(columns), _)| usize::from(columns));
    let from_environment = || variable("COLUMNS")?.to_str()?.parse().ok();
    known.or_else(from_environment).filter(|columns| *columns > 0)
}

/// Writes bytes to stdout. A reader that has gone away is no error.
pub(super) fn write_stdout(bytes: &[u8]) -> anyhow::Result<()> {
    Ok(write_while_read(bytes).map(drop)?)
}

/// Writes bytes to stdout; `false` when nobody reads any longer.
pub(super) fn write_while_read(bytes: &[u8]) -> io::Result<bool> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        other => other.map(|()| true),
    }
}

/// Prints why the command failed.
pub(super) fn error(error: &anyhow::Error) {
    print_to_stderr("error", &one_line(error));
}

/// Prints a note that is not part of the answer.
pub(super) fn note(text: &str) {
    print_to_stderr("note", text);
}

/// Not `eprintln!`, which panics where stderr is full or gone: the exit code is the command's own.
fn print_to_stderr(kind: &str, text: &str) {
    let mut stderr = io::stderr();
    let lines = wrap(&format!("{kind}: {}", escape_control(text)), width_of(&stderr));
    writeln!(stderr, "{}", lines.join("\n")).ok();
}

/// The error and its causes, each once: many errors repeat the text of their cause.
pub(super) fn one_line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if line.is_empty() {
            line = cause;
        } else if !line.contains(&cause) {
            line = format!("{line}: {cause}");
        }
    }
    line
}

/// Prints clap's help to stdout, or its error to stderr.
pub(super) fn clap_error(error: &clap::Error) {
    error.print().ok();
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn each_cause_of_an_error_is_printed_once() {
        let repeats = anyhow!("database \"nope\" does not exist")
            .context("error returned from database: database \"nope\" does not exist")
            .context("could not begin a transaction");
        let once = "could not begin a transaction: error returned from database: database \"nope\" does not exist";
        assert_eq!(one_line(&repeats), once);
        assert_eq!(one_line(&anyhow!("no").context("why").context("what")), "what: why: no");
    }
}
