use std::borrow::Cow;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Between two columns.
pub(super) const COLUMN_GAP: usize = 2;

/// Lines no longer than the width, broken between words only.
#[must_use]
pub fn wrap(text: &str, width: Option<usize>) -> Vec<String> {
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
pub(super) fn shortened(text: &str, width: usize) -> String {
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

/// Each line with its line break.
pub(super) fn joined(lines: &[String]) -> String {
    lines.iter().flat_map(|line| [line, "\n"]).collect()
}

/// Writes control characters as escapes: a terminal obeys them, and a message may hold any.
#[must_use]
pub fn escape_control(text: &str) -> Cow<'_, str> {
    let obeyed = |c: char| c.is_control() && c != '\n' && c != '\t';
    if !text.contains(obeyed) {
        return Cow::Borrowed(text);
    }
    text.chars().map(|c| if obeyed(c) { c.escape_unicode().to_string() } else { c.to_string() }).collect()
}
