//! Tables that fit a terminal. Pure: from cells and a width to text.

use std::borrow::Cow;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// A column, and what happens to it on a narrow terminal. Only a [`text`] is ever shortened.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    name: &'static str,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Always,
    IfRoom,
    Text,
}

/// Left out where it does not fit. Of several, those that come first in the heading stay.
pub(super) const fn if_room(name: &'static str) -> Column {
    Column { name, kind: Kind::IfRoom }
}

/// Prose: shortened between two words, and left out where nearly nothing of it fits.
pub(super) const fn text(name: &'static str) -> Column {
    Column { name, kind: Kind::Text }
}

/// Never shortened and never left out: where it does not fit, there are records instead of a table.
impl From<&'static str> for Column {
    fn from(name: &'static str) -> Self {
        Self { name, kind: Kind::Always }
    }
}

/// Rows of text under a heading.
pub(super) struct Rows {
    columns: Vec<Column>,
    lines: Vec<Vec<String>>,
    /// Sentences under the table.
    remark: Option<String>,
}

/// Between two columns.
const GAP: usize = 2;
/// Less than this of a text says nothing.
const SHORTEST_TEXT: usize = 16;

impl Rows {
    pub(super) fn new<const N: usize>(columns: [impl Into<Column>; N]) -> Self {
        Self { columns: columns.map(Into::into).into(), lines: Vec::new(), remark: None }
    }

    pub(super) fn row<const N: usize>(mut self, row: [String; N]) -> Self {
        self.push(row);
        self
    }

    pub(super) fn push<const N: usize>(&mut self, row: [String; N]) {
        self.lines.push(row.map(|cell| harmless(&cell).replace(['\n', '\t'], " ")).into());
    }

    pub(super) fn remark(mut self, remark: impl Into<String>) -> Self {
        self.remark = Some(remark.into());
        self
    }

    /// The table, within this width if there is one. Where even the columns that are always shown do not fit, one record under
    /// the other.
    pub(super) fn render(&self, width: Option<usize>) -> String {
        let mut lines = if self.lines.is_empty() {
            Vec::new()
        } else if let Some(widths) = self.fit(width.unwrap_or(usize::MAX)) {
            self.table(&widths, width)
        } else {
            let names = || self.columns.iter().map(|column| column.name.to_owned());
            let records: Vec<_> = self.lines.iter().map(|line| names().zip(line.iter().cloned()).collect()).collect();
            records_of(&records, width)
        };
        lines.extend(self.remark.iter().flat_map(|remark| wrap(remark, width)));
        text_of(&lines)
    }

    /// The width of each column that is shown.
    fn fit(&self, width: usize) -> Option<Vec<Option<usize>>> {
        let natural: Vec<usize> = (0..self.columns.len())
            .map(|at| {
                self.lines.iter().map(|line| line[at].width()).max().unwrap_or(0).max(self.columns[at].name.width())
            })
            .collect();
        let mut widths: Vec<Option<usize>> = vec![None; natural.len()];
        let used = |widths: &[Option<usize>]| {
            widths.iter().flatten().map(|width| width + GAP).sum::<usize>().saturating_sub(GAP)
        };
        for at in self.of_kind(|kind| kind == Kind::Always) {
            widths[at] = Some(natural[at]);
        }
        if used(&widths) > width {
            return None;
        }
        // What says nothing comes last.
        let (blank, telling): (Vec<_>, Vec<_>) =
            self.of_kind(|kind| kind != Kind::Always).partition(|at| self.is_blank(*at));
        for at in telling.into_iter().chain(blank) {
            let least = if self.columns[at].kind == Kind::Text { natural[at].min(SHORTEST_TEXT) } else { natural[at] };
            if used(&widths) + GAP + least <= width {
                widths[at] = Some(least);
            }
        }
        for at in self.of_kind(|kind| kind == Kind::Text) {
            let room = width - used(&widths);
            widths[at] = widths[at].map(|least| natural[at].min(least.saturating_add(room)));
        }
        Some(widths)
    }

    fn of_kind(&self, wanted: impl Fn(Kind) -> bool) -> impl Iterator<Item = usize> {
        self.columns.iter().enumerate().filter(move |(_, column)| wanted(column.kind)).map(|(at, _)| at)
    }

    fn is_blank(&self, at: usize) -> bool {
        self.lines.iter().all(|line| matches!(line[at].as_str(), "" | "-"))
    }

    fn table(&self, widths: &[Option<usize>], width: Option<usize>) -> Vec<String> {
        let shown: Vec<_> = widths.iter().enumerate().filter_map(|(at, width)| Some((at, (*width)?))).collect();
        let line = |cell: &dyn Fn(usize, usize) -> String| {
            let padded = |(at, width): &(usize, usize)| {
                let cell = cell(*at, *width);
                let space = " ".repeat(width.saturating_sub(cell.width()) + GAP);
                cell + &space
            };
            shown.iter().map(padded).collect::<String>().trim_end().to_owned()
        };
        let mut lines = vec![line(&|at, _| self.columns[at].name.to_owned()), line(&|_, width| "─".repeat(width))];
        lines.extend(self.lines.iter().map(|cells| line(&|at, width| shortened(&cells[at], width))));
        let hidden = self.of_kind(|_| true).filter(|at| widths[*at].is_none() && !self.is_blank(*at));
        let hidden: Vec<_> = hidden.map(|at| self.columns[at].name).collect();
        if !hidden.is_empty() {
            let note = format!("too narrow for: {}; `--output table | less -S` shows all", hidden.join(", "));
            lines.extend(wrap(&note, width));
        }
        lines
    }
}

/// Records of names and values, one under the other.
pub(super) fn render_records(records: &[Vec<(String, String)>], width: Option<usize>) -> String {
    text_of(&records_of(records, width))
}

fn records_of(records: &[Vec<(String, String)>], width: Option<usize>) -> Vec<String> {
    let longest = records.iter().flatten().map(|(name, _)| name.width()).max().unwrap_or_default();
    let mut lines = Vec::new();
    for (number, record) in records.iter().enumerate() {
        if records.len() > 1 {
            lines.push(format!("─[ {} ]─", number + 1));
        }
        for (name, value) in record {
            let value = harmless(value);
            let room = width.map(|width| width.saturating_sub(longest + GAP));
            let beside = wrap(&value, room);
            // Lines of their own, and a word that does not fit beside the name, begin at the left.
            if value.contains('\n') || room.is_some_and(|room| beside.iter().any(|line| line.width() > room)) {
                lines.push(name.clone());
                lines.extend(wrap(&value, width));
                continue;
            }
            for (at, line) in beside.iter().enumerate() {
                let name = if at == 0 { name } else { "" };
                let space = " ".repeat(longest - name.width() + GAP);
                lines.push(format!("{name}{space}{line}").trim_end().to_owned());
            }
        }
    }
    lines
}

/// Lines no longer than the width, broken between words only.
pub(super) fn wrap(text: &str, width: Option<usize>) -> Vec<String> {
    let width = width.unwrap_or(usize::MAX);
    let mut lines = Vec::new();
    for line in text.split('\n') {
        let mut rest = line;
        while rest.width() > width {
            // The word that does not fit stays whole.
            let Some(end) =
                head(rest, width + 1).rfind(' ').filter(|end| !rest[..*end].trim().is_empty()).or_else(|| {
                    let start = rest.len() - rest.trim_start().len();
                    rest[start..].find(' ').map(|end| start + end)
                })
            else {
                break;
            };
            lines.push(rest[..end].trim_end().to_owned());
            rest = rest[end..].trim_start();
        }
        lines.push(rest.to_owned());
    }
    lines
}

/// At most this width; cut between two words, so that an id in it is either whole or not there.
fn shortened(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let fits = head(text, width.saturating_sub(1));
    let whole = if text[fits.len()..].starts_with(' ') { fits.len() } else { fits.rfind(' ').unwrap_or(fits.len()) };
    format!("{}…", fits[..whole].trim_end())
}

/// The longest beginning that is no wider than this.
fn head(text: &str, width: usize) -> &str {
    let mut used = 0;
    let end = text.char_indices().find(|(_, c)| {
        used += c.width().unwrap_or_default();
        used > width
    });
    end.map_or(text, |(at, _)| &text[..at])
}

fn text_of(lines: &[String]) -> String {
    lines.iter().flat_map(|line| [line, "\n"]).collect()
}

/// A terminal obeys control characters, and what publishers send may hold any.
pub(super) fn harmless(text: &str) -> Cow<'_, str> {
    let obeyed = |c: char| c.is_control() && c != '\n' && c != '\t';
    if !text.contains(obeyed) {
        return Cow::Borrowed(text);
    }
    text.chars().map(|c| if obeyed(c) { c.escape_unicode().to_string() } else { c.to_string() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0";
    const TIME: &str = "2026-01-05T12:00:00Z";
    const ERROR: &str = "the event 0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0 belongs to another team than the message says";

    fn rows() -> Rows {
        let columns =
            [Column::from("#"), if_room("at"), "reason".into(), "message".into(), text("error"), if_room("event")];
        let row =
            |n: u32| [n.to_string(), TIME.into(), "attempts_exhausted".into(), ID.into(), ERROR.into(), "-".into()];
        Rows::new(columns)
            .row(row(9))
            .row(row(10))
            .remark(format!("2 of 2 dead letters, --exactly 2-2-{ID} names them"))
    }

    /// Every word of the output is a word of what went in, whole.
    fn nothing_is_broken(shown: &str) {
        let whole = |word: &&str| {
            let word = word.trim_end_matches('…');
            word.is_empty()
                || word.contains('─')
                || [ID, TIME, "attempts_exhausted"].contains(&word)
                || word.len() < 15
                || word.starts_with("2-2-")
        };
        let broken: Vec<_> = shown.split_whitespace().filter(|word| !whole(word)).collect();
        assert!(broken.is_empty(), "{broken:?} in\n{shown}");
        for part in ID.split('-').chain(TIME.split('T')) {
            let alone = shown.matches(part).count();
            assert!(alone == 0 || shown.contains(ID) || shown.contains(TIME), "{part} in\n{shown}");
        }
    }

    #[test]
    fn no_width_breaks_an_id_a_reason_or_a_time_and_every_line_fits() {
        for width in 54..300 {
            let shown = rows().render(Some(width));
            assert!(shown.lines().all(|line| line.width() <= width), "{width}\n{shown}");
            nothing_is_broken(&shown);
        }
        for width in 1..54 {
            nothing_is_broken(&rows().render(Some(width)));
        }
    }

    #[test]
    fn wide_enough_or_without_a_terminal_all_is_there() {
        for width in [None, Some(300)] {
            let shown = rows().render(width);
            assert_eq!(shown.matches(ERROR).count(), 2, "{shown}");
            assert_eq!(shown.lines().count(), 5, "{shown}");
        }
    }

    #[test]
    fn what_matters_most_stays_in_the_table_and_too_narrow_for_that_there_are_records() {
        let shown = rows().render(Some(80));
        assert!(shown.contains("attempts_exhausted") && shown.contains(ID) && !shown.contains(TIME), "{shown}");
        assert!(shown.contains("the event…"), "{shown}");
        assert!(shown.contains("too narrow for: at;"), "{shown}");
        let shown = rows().render(Some(50));
        assert!(shown.starts_with("─[ 1 ]─\n#        9\nat       2026-01-05T12:00:00Z\n"), "{shown}");
        assert!(shown.contains(&format!("\nmessage  {ID}\n")), "{shown}");
    }

    #[test]
    fn wide_characters_and_control_characters_do_not_shift_a_column() {
        let rows =
            Rows::new(["name", "id"]).row(["会議室".into(), "1".into()]).row(["a\u{1b}[2J\nb".into(), "2".into()]);
        assert_eq!(rows.render(None), "name          id\n────────────  ──\n会議室        1\na\\u{1b}[2J b  2\n");
    }

    #[test]
    fn indentation_and_line_breaks_of_a_record_stay() {
        let record = vec![("id".to_owned(), ID.to_owned()), ("data".to_owned(), "{\n  \"a\": 1\n}".to_owned())];
        let shown = render_records(&[record], Some(80));
        assert_eq!(shown, format!("id    {ID}\ndata\n{{\n  \"a\": 1\n}}\n"));
    }
}
