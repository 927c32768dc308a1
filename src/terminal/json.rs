//! JSON laid out for people, token by token as it was written: no digit and no order of keys changes.

use serde::de::IgnoredAny;

/// More characters than this would push everything else off the screen.
const LONGEST: usize = 4_000;

/// A body or a snapshot's data for the screen: JSON is indented, and what is very long is cut, with a sentence on how to see all of it
/// (`whole`).
#[must_use]
pub fn for_the_screen(text: &str, whole: &str) -> String {
    shortened(&indented(text).unwrap_or_else(|| text.to_owned()), whole)
}

fn shortened(text: &str, whole: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…\n({} bytes more; {whole} shows all)", &text[..end], text.len() - end),
        None => text.to_owned(),
    }
}

/// None for what is not JSON.
fn indented(json: &str) -> Option<String> {
    serde_json::from_str::<IgnoredAny>(json).ok()?;
    let mut out = String::with_capacity(json.len() * 2);
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    let new_line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", depth));
    };
    let mut rest = json.chars().peekable();
    while let Some(c) = rest.next() {
        if in_string {
            in_string = escaped || c != '"';
            escaped = !escaped && c == '\\';
            out.push(c);
            continue;
        }
        match c {
            '{' | '[' => {
                while rest.next_if(char::is_ascii_whitespace).is_some() {}
                out.push(c);
                if let Some(end) = rest.next_if(|next| matches!(next, '}' | ']')) {
                    out.push(end);
                } else {
                    depth += 1;
                    new_line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                new_line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                new_line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            c if c.is_ascii_whitespace() => {}
            c => {
                in_string = c == '"';
                out.push(c);
            }
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_indented_and_every_token_stays_as_it_was_written() {
        let json = r#"{"b":[1.10, 12345678901234567890123,[ ],{}],"a":"{\"x\": [1,2]}\\","c":null}"#;
        let shown = "{\n  \"b\": [\n    1.10,\n    12345678901234567890123,\n    [],\n    {}\n  ],\n  \"a\": \"{\\\"x\\\": [1,2]}\\\\\",\n  \"c\": null\n}";
        assert_eq!(indented(json).as_deref(), Some(shown));
        assert_eq!(indented(shown).as_deref(), Some(shown));
        assert_eq!(indented("not json"), None);
    }

    #[test]
    fn what_is_very_long_is_cut_and_says_how_to_see_all() {
        assert_eq!(shortened("short", "--raw"), "short");
        let cut = shortened(&"ä".repeat(LONGEST + 1), "--raw");
        assert!(cut.ends_with("ä…\n(2 bytes more; --raw shows all)"), "{}", &cut[cut.len() - 60..]);
    }
}
