//! Reading the sources: which files there are, and what remains of one without comments, texts and tests.

use std::fs;
use std::path::{Path, PathBuf};

/// A file of Rust.
pub struct Source {
    /// As in `src/storage/rules/ttl.rs`.
    pub path: String,
    pub text: String,
}

impl Source {
    /// As in `storage::rules::ttl`; empty for `lib.rs`.
    pub fn module(&self) -> Vec<&str> {
        let inside = self.path.strip_prefix("src/").unwrap_or(&self.path);
        let stem = inside.strip_suffix(".rs").unwrap_or(inside);
        let names: Vec<_> = stem.split('/').collect();
        match names.last() {
            Some(&"mod" | &"lib") => names[..names.len() - 1].to_vec(),
            _ => names,
        }
    }
}

pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every file of Rust under the folder, in order.
pub fn sources(folder: &str) -> Vec<Source> {
    let mut found = Vec::new();
    collect(&root().join(folder), &mut found);
    found.sort_by(|one, other| one.path.cmp(&other.path));
    assert!(!found.is_empty(), "{folder} has no sources");
    found
}

fn collect(folder: &Path, found: &mut Vec<Source>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
            found.push(Source { path: name, text: fs::read_to_string(&path).unwrap() });
        }
    }
}

/// The names and signs of a program, without comments, texts and whatever is only compiled for tests.
pub fn tokens(text: &str) -> Vec<String> {
    without_tests(&read(text).0)
}

/// The texts of a program, as they are written between their quotes.
pub fn texts(text: &str) -> Vec<Text> {
    read(text).1
}

pub struct Text {
    pub written: String,
    pub is_raw: bool,
}

/// The tokens, and the texts between them.
fn read(text: &str) -> (Vec<String>, Vec<Text>) {
    let characters: Vec<char> = text.chars().collect();
    let (mut tokens, mut texts) = (Vec::new(), Vec::new());
    let mut at = 0;
    while let Some(&character) = characters.get(at) {
        let next = characters.get(at + 1).copied();
        match character {
            '/' if next == Some('/') => at = behind(&characters, at, "\n"),
            '/' if next == Some('*') => at = behind(&characters, at, "*/"),
            '"' => {
                let end = behind_text(&characters, at);
                texts.push(Text { written: characters[at + 1..end - 1].iter().collect(), is_raw: false });
                at = end;
            }
            'r' if raw_text(&characters, at).is_some() => {
                let hashes = raw_text(&characters, at).unwrap_or_default();
                let end = behind(&characters, at + hashes + 2, &format!("\"{}", "#".repeat(hashes)));
                texts.push(Text {
                    written: characters[at + hashes + 2..end - hashes - 1].iter().collect(),
                    is_raw: true,
                });
                at = end;
            }
            // A character, or else a lifetime.
            '\'' if next == Some('\\') => at = behind(&characters, at + 3, "'"),
            '\'' if characters.get(at + 2) == Some(&'\'') => at += 3,
            ':' if next == Some(':') => {
                tokens.push("::".to_owned());
                at += 2;
            }
            _ if character.is_alphanumeric() || character == '_' => {
                let word: String =
                    characters[at..].iter().take_while(|one| one.is_alphanumeric() || **one == '_').collect();
                at += word.chars().count();
                tokens.push(word);
            }
            _ => {
                if !character.is_whitespace() {
                    tokens.push(character.to_string());
                }
                at += 1;
            }
        }
    }
    (tokens, texts)
}

/// The number of `#` of a raw text that begins here.
fn raw_text(characters: &[char], at: usize) -> Option<usize> {
    let before = at.checked_sub(1).map(|before| characters[before]);
    if before.is_some_and(|before| before.is_alphanumeric() && before != 'b' || before == '_') {
        return None;
    }
    let hashes = characters[at + 1..].iter().take_while(|one| **one == '#').count();
    (characters.get(at + 1 + hashes) == Some(&'"')).then_some(hashes)
}

fn behind(characters: &[char], from: usize, end: &str) -> usize {
    let end: Vec<char> = end.chars().collect();
    (from..characters.len())
        .find(|at| characters[*at..].starts_with(&end))
        .map_or(characters.len(), |at| at + end.len())
}

fn behind_text(characters: &[char], from: usize) -> usize {
    let mut at = from + 1;
    while let Some(character) = characters.get(at) {
        match character {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    at
}

fn without_tests(tokens: &[String]) -> Vec<String> {
    const TEST_ONLY: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if tokens[at..].iter().take(TEST_ONLY.len()).eq(TEST_ONLY.iter()) {
            at = behind_item(tokens, at + TEST_ONLY.len());
        } else {
            kept.push(tokens[at].clone());
            at += 1;
        }
    }
    kept
}

/// Behind the next `;` or block.
fn behind_item(tokens: &[String], from: usize) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(from) {
        match token.as_str() {
            "{" => depth += 1,
            "}" => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            ";" if depth == 0 => return at + 1,
            _ => {}
        }
    }
    tokens.len()
}

#[test]
fn comments_texts_and_tests_are_left_out() {
    let text = r##"
        use a::b; // crate::c
        /* crate::d */ fn f<'a>() -> char { g("crate::e \" crate::f", '"', r#"crate::g "x" "#, 'x'); '\'' }
        #[cfg(test)]
        mod tests { use crate::h; fn i() { j(); } }
        fn k() {}
    "##;
    let left = tokens(text).join(" ");
    assert_eq!(left, "use a :: b ; fn f < ' a > ( ) - > char { g ( , , , ) ; } fn k ( ) { }");
}

#[test]
fn texts_are_what_stands_between_their_quotes() {
    let found = texts(
        r##"f("a\
        b", /* "c" */ r#"d "e" "#, r"", '"', "g \" h")"##,
    );
    let found: Vec<_> = found.iter().map(|text| (text.written.as_str(), text.is_raw)).collect();
    assert_eq!(found, [("a\\\n        b", false), ("d \"e\" ", true), ("", true), ("g \\\" h", false)]);
}
