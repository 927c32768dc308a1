use unicode_width::UnicodeWidthStr;

use super::records::records_of;
use super::wrap::{COLUMN_GAP, escape_control, joined, shortened, wrap};

/// A column, and how it behaves on a narrow terminal. Only a [`text`] is ever shortened.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    name: &'static str,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Always,
    IfItFits,
    Text,
}

/// A column that is left out where it does not fit. Of several, those that come first in the heading stay.
#[must_use]
pub const fn if_it_fits(name: &'static str) -> Column {
    Column { name, kind: Kind::IfItFits }
}

/// A column of prose: shortened between two words, and left out where nearly nothing of it fits.
#[must_use]
pub const fn text(name: &'static str) -> Column {
    Column { name, kind: Kind::Text }
}

/// Never shortened and never left out: where it does not fit, there are records instead of a table.
impl From<&'static str> for Column {
    fn from(name: &'static str) -> Self {
        Self { name, kind: Kind::Always }
    }
}

/// Rows of text under a heading.
pub struct Table {
    columns: Vec<Column>,
    lines: Vec<Vec<String>>,
    /// Sentences under the table.
    footer: Option<String>,
}

/// Less of a text tells nothing.
const SHORTEST_TEXT: usize = 16;

impl Table {
    /// No rows yet.
    #[must_use]
    pub fn new<const N: usize>(columns: [impl Into<Column>; N]) -> Self {
        Self { columns: columns.map(Into::into).into(), lines: Vec::new(), footer: None }
    }

    /// With one more row.
    #[must_use]
    pub fn row<const N: usize>(mut self, row: [String; N]) -> Self {
        self.push(row);
        self
    }

    /// Adds a row.
    pub fn push<const N: usize>(&mut self, row: [String; N]) {
        self.lines.push(row.map(|cell| escape_control(&cell).replace(['\n', '\t'], " ")).into());
    }

    /// With these sentences under the table.
    #[must_use]
    pub fn footer(mut self, footer: impl Into<String>) -> Self {
        self.footer = Some(footer.into());
        self
    }

    /// The text, within this width if there is one. Where even the columns that are always shown do not fit, it shows one record
    /// under the other.
    #[must_use]
    pub fn render(&self, width: Option<usize>) -> String {
        let mut lines = if self.lines.is_empty() {
            Vec::new()
        } else if let Some(widths) = self.fit(width.unwrap_or(usize::MAX)) {
            self.table(&widths, width)
        } else {
            let names = || self.columns.iter().map(|column| column.name.to_owned());
            let records: Vec<_> = self.lines.iter().map(|line| names().zip(line.iter().cloned()).collect()).collect();
            records_of(&records, width)
        };
        lines.extend(self.footer.iter().flat_map(|footer| wrap(footer, width)));
        joined(&lines)
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
            widths.iter().flatten().map(|width| width + COLUMN_GAP).sum::<usize>().saturating_sub(COLUMN_GAP)
        };
        for at in self.of_kind(|kind| kind == Kind::Always) {
            widths[at] = Some(natural[at]);
        }
        if used(&widths) > width {
            return None;
        }
        // Columns without a value come last.
        let (blank, telling): (Vec<_>, Vec<_>) =
            self.of_kind(|kind| kind != Kind::Always).partition(|at| self.is_blank(*at));
        for at in telling.into_iter().chain(blank) {
            let least = if self.columns[at].kind == Kind::Text { natural[at].min(SHORTEST_TEXT) } else { natural[at] };
            if used(&widths) + COLUMN_GAP + least <= width {
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
                let space = " ".repeat(width.saturating_sub(cell.width()) + COLUMN_GAP);
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

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0";
    const TIME: &str = "2026-01-05T12:00:00Z";
    const ERROR: &str = "the event 0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0 belongs to another team than the message says";

    fn rows() -> Table {
        let columns = [
            Column::from("#"),
            if_it_fits("at"),
            "reason".into(),
            "message".into(),
            text("error"),
            if_it_fits("event"),
        ];
        let row =
            |n: u32| [n.to_string(), TIME.into(), "attempts_exhausted".into(), ID.into(), ERROR.into(), "-".into()];
        Table::new(columns)
            .row(row(9))
            .row(row(10))
            .footer(format!("2 of 2 dead letters, --exactly 2-2-{ID} names them"))
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
    fn wide_enough_or_without_a_terminal_all_is_shown() {
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
            Table::new(["name", "id"]).row(["会議室".into(), "1".into()]).row(["a\u{1b}[2J\nb".into(), "2".into()]);
        assert_eq!(rows.render(None), "name          id\n────────────  ──\n会議室        1\na\\u{1b}[2J b  2\n");
    }
}
