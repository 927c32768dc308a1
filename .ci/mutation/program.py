"""One program with all mutants: each function that has some becomes a match over copies of its body."""

import collections
import json
import os
import re
import subprocess
import sys

from modules import MODULES
from places import TREE, WORK, run

SWITCH = """
#[doc(hidden)]
pub mod mutant {
    use std::io::Write;
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
    static CHOSEN: LazyLock<usize> = LazyLock::new(|| std::env::var("MUTANT").map_or(0, |text| text.parse().unwrap()));
    static REACHED: LazyLock<Option<String>> = LazyLock::new(|| std::env::var("MUTANT_REACHED").ok());
    static SEEN: [AtomicBool; LAST + 1] = [const { AtomicBool::new(false) }; LAST + 1];
    pub fn pick(first: usize, last: usize) -> usize {
        if let Some(file) = &*REACHED && !SEEN[first].swap(true, Relaxed) {
            let file = std::fs::OpenOptions::new().append(true).create(true).open(file);
            file.and_then(|mut file| file.write_all(format!("{first}\\n").as_bytes())).unwrap();
        }
        if (first..=last).contains(&*CHOSEN) { *CHOSEN } else { 0 }
    }
}
"""


def list_mutants(modules):
    mutants = []
    for module in modules:
        files = [word for pattern in MODULES[module][0].split() for word in ("--file", pattern)]
        listed = run("cargo", "mutants", "--list", "--json", "--config", ".config/mutants.toml", *files, cwd=TREE)
        mutants += [{**mutant, "module": module} for mutant in json.loads(listed)]
    for number, mutant in enumerate(mutants, 1):
        mutant["number"] = number
    return mutants


class Source:
    """The text of a file, by cargo-mutants' lines and columns, which count from 1."""

    def __init__(self, path):
        self.path = path
        self.text = open(os.path.join(TREE, path)).read()
        self.starts = [0] + [at.end() for at in re.finditer("\n", self.text)]

    def offset(self, place):
        return self.starts[place["line"] - 1] + place["column"] - 1

    def span(self, span):
        return self.offset(span["start"]), self.offset(span["end"])

    def body(self, function):
        """Where the body of a function is, its braces included. No signature here has braces."""
        start, end = self.span(function["span"])
        blank = re.compile(r'//[^\n]*|#\[[^\n]*\]\n|"(?:\\.|[^"\\])*"', re.S)
        signature = blank.sub(lambda found: " " * len(found[0]), self.text[start:end])
        return start + signature.index("{"), end


def rewrite(path, mutants):
    """Writes the file with a match over copies in each function; returns which lines of it belong to which mutant."""
    source = Source(path)
    functions = collections.defaultdict(list)
    for mutant in mutants:
        functions[source.body(mutant["function"])].append(mutant)
    text, end, lines = "", 0, []
    for (start, stop), inside in sorted(functions.items()):
        if start < end:  # a function in a function
            for mutant in inside:
                mutant["result"] = "by hand"
            continue
        original = source.text[start:stop]
        first, last = inside[0]["number"], inside[-1]["number"]
        # The switch is none of what a `const fn` may call.
        text += re.sub(r"\bconst fn(?=[^;{}]*$)", "fn", source.text[end:start])
        begun = text.count("\n") + 1
        text += "{ match crate::mutant::pick(%d, %d) {\n0 => %s\n" % (first, last, original)
        for mutant in inside:
            mutant["first"] = first
            a, b = source.span(mutant["span"])
            line = text.count("\n") + 1
            text += "%d => %s\n" % (
                mutant["number"],
                original[: a - start] + mutant["replacement"] + source.text[b:stop],
            )
            lines.append((line, text.count("\n"), [mutant]))
        text += "_ => unreachable!() } }"
        lines.append((begun, text.count("\n") + 1, inside))
        end = stop
    open(os.path.join(TREE, path), "w").write(text + source.text[end:])
    return lines


def build(mutants):
    """Builds with all mutants; those that do not compile are left out. Returns the two test programs."""
    for mutant in mutants:
        if not mutant["function"]:
            mutant["result"] = "by hand"
    files = sorted({mutant["file"] for mutant in mutants})
    original = {path: open(os.path.join(TREE, path)).read() for path in files}
    lib = os.path.join(TREE, "src/lib.rs")
    with open(lib, "a") as file:
        file.write(SWITCH.replace("LAST", str(len(mutants))))
    environment = dict(
        os.environ, CARGO_TARGET_DIR=os.path.join(WORK, "build"), RUSTFLAGS="--cap-lints warn", CARGO_PROFILE_DEV_DEBUG="0"
    )
    for turn in range(40):
        places = {}
        for path in files:
            open(os.path.join(TREE, path), "w").write(original[path])
            places[path] = rewrite(path, [one for one in mutants if one["file"] == path and "result" not in one])
        command = ["cargo", "test", "--locked", "--no-run", "--lib", "--test", "it", "--message-format=json"]
        done = subprocess.run(command, cwd=TREE, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        messages = [json.loads(line) for line in done.stdout.splitlines()]
        errors = [one["message"] for one in messages if one.get("message", {}).get("level") == "error"]
        if done.returncode == 0:
            programs = {one["target"]["name"]: one["executable"] for one in messages if one.get("executable")}
            return [programs["snapshot_lifecycle"], programs["it"]]
        dropped = 0
        for error in errors:
            for span in error["spans"]:
                if not span["is_primary"]:
                    continue
                while span.get("expansion") and span["file_name"] not in places:
                    span = span["expansion"]["span"]
                found = [
                    inside
                    for start, end, inside in places.get(span["file_name"], [])
                    if start <= span["line_start"] and span["line_end"] <= end
                ]
                for mutant in min(found, key=len, default=[]):
                    if "result" not in mutant:
                        # An error outside of the copies comes from their being together, as with two types of one `impl Trait`.
                        mutant["result"] = "does not compile" if len(min(found, key=len)) == 1 else "by hand"
                        dropped += 1
        print(f"build {turn + 1}: {len(errors)} errors, {dropped} mutants left out", flush=True)
        if not dropped:
            sys.exit("\n".join(error["rendered"] for error in errors[:5]) or f"cargo failed: {' '.join(command)}")
    sys.exit("no build without errors in 40 turns")
