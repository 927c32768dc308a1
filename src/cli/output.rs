//! The only place that prints: answers to stdout, everything else to stderr.
#![expect(clippy::print_stderr, reason = "the one place that prints")]

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use clap::{Args, ValueEnum};
use comfy_table::{ContentArrangement, Table, presets};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

/// How answers are printed.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct OutputOptions {
    /// Form of the answer on stdout [default: table on a terminal, json elsewhere]
    #[arg(long = "output", value_enum, value_name = "FORM")]
    form: Option<Form>,
}

/// The form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// For people.
    Table,
    /// For programs.
    Json,
}

impl Form {
    fn of_stdout() -> Self {
        if io::stdout().is_terminal() { Self::Table } else { Self::Json }
    }
}

/// Asks before it deletes or moves.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct ConfirmOptions {
    /// Do it; without this, only show what would be done
    #[arg(long)]
    pub(super) yes: bool,
}

/// Rows of text under a heading.
pub(super) struct Rows {
    heading: Vec<&'static str>,
    lines: Vec<Vec<String>>,
    /// A sentence under the table.
    remark: Option<String>,
}

impl Rows {
    pub(super) fn new<const N: usize>(heading: [&'static str; N]) -> Self {
        Self { heading: heading.to_vec(), lines: Vec::new(), remark: None }
    }

    pub(super) fn row<const N: usize>(mut self, row: [String; N]) -> Self {
        self.lines.push(row.into());
        self
    }

    pub(super) fn push<const N: usize>(&mut self, row: [String; N]) {
        self.lines.push(row.into());
    }

    pub(super) fn remark(mut self, remark: impl Into<String>) -> Self {
        self.remark = Some(remark.into());
        self
    }
}

impl OutputOptions {
    /// Whether the answer is for programs.
    pub(super) fn is_json(self) -> bool {
        self.form.unwrap_or_else(Form::of_stdout) == Form::Json
    }

    /// Prints the answer in the chosen form. A reader that has gone away (`| head`) is no error.
    pub(super) fn print<T: Serialize>(self, answer: &T, rows: impl FnOnce(&T) -> Rows) -> anyhow::Result<()> {
        self.print_text(answer, |answer| table(rows(answer)))
    }

    /// The same where lines of text serve people better than a table.
    pub(super) fn print_text<T: Serialize>(self, answer: &T, text: impl FnOnce(&T) -> String) -> anyhow::Result<()> {
        let text = if self.is_json() { format!("{}\n", serde_json::to_string_pretty(answer)?) } else { text(answer) };
        write_stdout(text.as_bytes())
    }
}

/// An array printed one element at a time, so that its length is not bounded by memory.
pub(super) struct JsonArray {
    elements: u64,
}

impl JsonArray {
    /// Prints nothing yet.
    pub(super) const fn new() -> Self {
        Self { elements: 0 }
    }

    /// Prints one element more; `false` when nobody reads any longer.
    pub(super) fn push<T: Serialize>(&mut self, element: &T) -> anyhow::Result<bool> {
        let before = if self.elements == 0 { "[\n" } else { ",\n" };
        self.elements += 1;
        write_while_read(format!("{before}{}", serde_json::to_string(element)?).as_bytes())
    }

    /// Ends the array.
    pub(super) fn end(self) -> anyhow::Result<()> {
        write_stdout(if self.elements == 0 { b"[]\n" } else { b"\n]\n" })
    }
}

/// Columns below which a table is not made to fit.
const NARROWEST: u16 = 40;

fn table(rows: Rows) -> String {
    let mut text = String::new();
    if !rows.lines.is_empty() {
        let mut table = Table::new();
        table
            .load_style(presets::UTF8_FULL_CONDENSED)
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_header(rows.heading);
        for row in rows.lines {
            table.add_row(row.iter().map(|text| harmless(text)));
        }
        // A terminal that does not know its width says 0, and a column of single letters helps nobody.
        if table.width().is_some_and(|width| width < NARROWEST) {
            table.set_content_arrangement(ContentArrangement::Disabled);
        }
        text = format!("{table}\n");
    }
    if let Some(remark) = rows.remark {
        text.push_str(&remark);
        text.push('\n');
    }
    text
}

/// A terminal obeys control characters, and what publishers send may hold any.
fn harmless(text: &str) -> Cow<'_, str> {
    let obeyed = |c: char| c.is_control() && c != '\n' && c != '\t';
    if !text.contains(obeyed) {
        return Cow::Borrowed(text);
    }
    text.chars().map(|c| if obeyed(c) { c.escape_unicode().to_string() } else { c.to_string() }).collect()
}

/// Writes bytes to stdout. A reader that has gone away is no error.
pub(super) fn write_stdout(bytes: &[u8]) -> anyhow::Result<()> {
    write_while_read(bytes).map(drop)
}

/// Writes bytes to stdout; `false` when nobody reads any longer.
pub(super) fn write_while_read(bytes: &[u8]) -> anyhow::Result<bool> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        other => Ok(other.map(|()| true)?),
    }
}

/// Says why the command failed.
pub(super) fn error(error: &anyhow::Error) {
    eprintln!("error: {}", harmless(&format!("{error:#}")));
}

/// Says something beside the answer.
pub(super) fn note(text: &str) {
    eprintln!("note: {}", harmless(text));
}

/// Prints what clap has to say: help to stdout, errors to stderr.
pub(super) fn clap_error(error: &clap::Error) {
    error.print().ok();
}

/// A progress bar on a terminal, nothing elsewhere. Without a length it counts.
pub(super) fn progress(length: Option<u64>, unit: &str) -> ProgressBar {
    let target = if io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(length, target);
    let template = if length.is_some() {
        format!("{{bar:40}} {{pos}}/{{len}} {unit}, {{per_sec}}, {{eta}} left")
    } else {
        format!("{{spinner}} {{pos}} {unit}, {{per_sec}}")
    };
    if let Ok(style) = ProgressStyle::with_template(&template) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
