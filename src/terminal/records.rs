use unicode_width::UnicodeWidthStr;

use super::wrap::{COLUMN_GAP, escape_control, joined, wrap};

/// Records of names and values, one under the other.
#[must_use]
pub fn render_records(records: &[Vec<(String, String)>], width: Option<usize>) -> String {
    joined(&records_of(records, width))
}

pub(super) fn records_of(records: &[Vec<(String, String)>], width: Option<usize>) -> Vec<String> {
    let longest = records.iter().flatten().map(|(name, _)| name.width()).max().unwrap_or_default();
    let mut lines = Vec::new();
    for (number, record) in records.iter().enumerate() {
        if records.len() > 1 {
            lines.push(format!("─[ {} ]─", number + 1));
        }
        for (name, value) in record {
            let value = escape_control(value);
            let room = width.map(|width| width.saturating_sub(longest + COLUMN_GAP));
            let beside = wrap(&value, room);
            // A value of several lines, or with a word that does not fit beside the name, begins at the left.
            if value.contains('\n') || room.is_some_and(|room| beside.iter().any(|line| line.width() > room)) {
                lines.push(name.clone());
                lines.extend(wrap(&value, width));
                continue;
            }
            for (at, line) in beside.iter().enumerate() {
                let name = if at == 0 { name } else { "" };
                let space = " ".repeat(longest - name.width() + COLUMN_GAP);
                lines.push(format!("{name}{space}{line}").trim_end().to_owned());
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0";

    #[test]
    fn indentation_and_line_breaks_of_a_record_stay() {
        let record = vec![("id".to_owned(), ID.to_owned()), ("data".to_owned(), "{\n  \"a\": 1\n}".to_owned())];
        let shown = render_records(&[record], Some(80));
        assert_eq!(shown, format!("id    {ID}\ndata\n{{\n  \"a\": 1\n}}\n"));
    }
}
