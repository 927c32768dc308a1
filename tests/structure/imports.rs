//! Who imports whom, from the paths in the sources: `use` lines and paths in the code alike.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::{Source, tokens};

/// Modules, by name, and those that each imports from.
pub struct Imports {
    pub arrows: BTreeMap<String, BTreeSet<String>>,
    /// Crates that each names in a path, such as `sqlx`.
    pub crates: BTreeMap<String, BTreeSet<String>>,
}

impl Imports {
    pub fn of(sources: &[Source]) -> Self {
        let modules: BTreeSet<String> = sources.iter().map(|source| source.module().join("::")).collect();
        let (mut arrows, mut crates) = (BTreeMap::new(), BTreeMap::new());
        for source in sources {
            let module = source.module();
            let (mut inside, mut outside) = (BTreeSet::new(), BTreeSet::new());
            for path in paths(&tokens(&source.text)) {
                match absolute(&module, &path, &modules) {
                    Some(path) => {
                        inside.insert(module_of(&path, &modules));
                    }
                    None => {
                        outside.insert(path[0].clone());
                    }
                }
            }
            let name = module.join("::");
            inside.remove(&name);
            arrows.insert(name.clone(), inside);
            crates.insert(name, outside);
        }
        Self { arrows, crates }
    }

    /// Groups of modules that import each other in a circle, each sorted.
    pub fn circles(&self) -> BTreeSet<Vec<String>> {
        let reached: BTreeMap<_, _> = self.arrows.keys().map(|from| (from, self.reached_from(from))).collect();
        let circle = |from: &String| {
            let both_ways = |to: &&String| reached.get(to).is_some_and(|back| back.contains(from));
            reached[from].iter().filter(both_ways).cloned().collect::<Vec<_>>()
        };
        self.arrows.keys().map(circle).filter(|circle| !circle.is_empty()).collect()
    }

    fn reached_from(&self, from: &str) -> BTreeSet<String> {
        let mut reached = BTreeSet::new();
        let mut open = vec![from.to_owned()];
        while let Some(module) = open.pop() {
            for next in self.arrows.get(&module).into_iter().flatten() {
                if reached.insert(next.clone()) {
                    open.push(next.clone());
                }
            }
        }
        reached
    }
}

/// Every path of two segments and more, trees spread out.
fn paths(tokens: &[String]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut at = 0;
    while at + 1 < tokens.len() {
        let visibility = at >= 2 && tokens[at - 1] == "in" && tokens[at - 2] == "(";
        if is_name(&tokens[at]) && tokens[at + 1] == "::" && !visibility {
            at = spread(tokens, at, &mut Vec::new(), &mut found);
        } else {
            at += 1;
        }
    }
    found
}

/// Adds the path that begins here, and gives the place behind it.
fn spread(tokens: &[String], mut at: usize, before: &mut Vec<String>, found: &mut Vec<Vec<String>>) -> usize {
    let length = before.len();
    while at < tokens.len() && is_name(&tokens[at]) {
        before.push(tokens[at].clone());
        at += 1;
        if tokens.get(at).is_none_or(|sign| sign != "::") {
            break;
        }
        at += 1;
    }
    if tokens.get(at).is_some_and(|sign| sign == "{") && tokens[at - 1] == "::" {
        at += 1;
        while at < tokens.len() && tokens[at] != "}" {
            let from = at;
            at = spread(tokens, at, before, found);
            // `as name`, `,` and `*`.
            while at < tokens.len() && ![",", "}"].contains(&tokens[at].as_str()) {
                at += 1;
            }
            if tokens.get(at).is_some_and(|sign| sign == ",") {
                at += 1;
            }
            assert!(at > from, "an endless path at {:?}", &tokens[from..tokens.len().min(from + 9)]);
        }
        at += 1;
    } else {
        found.push(before.clone());
    }
    before.truncate(length);
    at
}

fn is_name(token: &str) -> bool {
    token.starts_with(|first: char| first.is_alphabetic() || first == '_')
}

/// The path from the crate's root; `None` where it leads into another crate, or to a name that was imported before.
fn absolute(module: &[&str], path: &[String], modules: &BTreeSet<String>) -> Option<Vec<String>> {
    let own = |names: &[&str], rest: &[String]| {
        Some(names.iter().map(ToString::to_string).chain(rest.iter().cloned()).collect::<Vec<_>>())
    };
    match path[0].as_str() {
        "crate" => own(&[], &path[1..]),
        "self" => own(module, &path[1..]),
        "super" => {
            let levels = path.iter().take_while(|name| *name == "super").count();
            own(&module[..module.len().checked_sub(levels)?], &path[levels..])
        }
        first => {
            let child = module.iter().copied().chain([first]).collect::<Vec<_>>().join("::");
            if modules.contains(&child) { own(module, path) } else { None }
        }
    }
}

/// The innermost module of the path.
fn module_of(path: &[String], modules: &BTreeSet<String>) -> String {
    (0..=path.len())
        .rev()
        .map(|length| path[..length].join("::"))
        .find(|name| modules.contains(name))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn imports(files: &[(&str, &str)]) -> Imports {
        let source = |(path, text): &(&str, &str)| Source { path: (*path).to_owned(), text: (*text).to_owned() };
        Imports::of(&files.iter().map(source).collect::<Vec<_>>())
    }

    #[test]
    fn paths_are_followed_to_the_file_that_they_name() {
        let found = imports(&[
            ("src/lib.rs", "mod a; pub use a::X;"),
            ("src/a/mod.rs", "mod b; mod c; pub use b::X; pub(in crate::d) fn f() {}"),
            ("src/a/b.rs", "use super::c::{Y, self, Z as W}; use sqlx::{query, PgPool};"),
            ("src/a/c.rs", "fn f() -> crate::d::V { crate::d::e() }"),
            ("src/d.rs", ""),
        ]);
        let expected =
            [("", vec!["a"]), ("a", vec!["a::b"]), ("a::b", vec!["a::c"]), ("a::c", vec!["d"]), ("d", vec![])];
        for (from, to) in expected {
            assert_eq!(found.arrows[from].iter().map(String::as_str).collect::<Vec<_>>(), to, "{from}");
        }
        assert!(found.crates["a::b"].contains("sqlx"));
        assert!(found.circles().is_empty());
    }

    #[test]
    fn circle_over_the_parents_re_export_is_found() {
        let found = imports(&[
            ("src/a/mod.rs", "mod b; mod c; pub use b::X; pub use c::Y;"),
            ("src/a/b.rs", "use super::Y;"),
            ("src/a/c.rs", ""),
        ]);
        assert_eq!(found.circles(), BTreeSet::from([vec!["a".to_owned(), "a::b".to_owned()]]));
    }
}
