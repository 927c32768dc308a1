use std::io;

use serde::Serialize;

use super::output::{OutputOptions, write_stdout, write_while_read};
use crate::terminal::Table;

/// An answer of many elements. As JSON each is printed at once, so that their number is not bounded by memory; a table is printed at the end,
/// when the width of its columns is known.
pub(super) struct Listing {
    output: OutputOptions,
    elements: u64,
    table: Table,
}

impl Listing {
    /// Prints nothing yet.
    pub(super) const fn new(output: OutputOptions, table: Table) -> Self {
        Self { output, elements: 0, table }
    }

    /// Takes one more element; `false` when nobody reads any longer.
    pub(super) fn push<T: Serialize, const N: usize>(
        &mut self,
        element: &T,
        row: impl FnOnce(&T) -> [String; N],
    ) -> io::Result<bool> {
        if !self.output.is_json() {
            self.table.push(row(element));
            return Ok(true);
        }
        let before = if self.elements == 0 { "[\n" } else { ",\n" };
        self.elements += 1;
        write_while_read(format!("{before}{}", serde_json::to_string(element)?).as_bytes())
    }

    /// Ends the array, or prints the table with these sentences under it.
    pub(super) fn end(self, footer: String) -> anyhow::Result<()> {
        if self.output.is_json() {
            return write_stdout(if self.elements == 0 { b"[]\n" } else { b"\n]\n" });
        }
        self.output.print(&(), |()| self.table.footer(footer))
    }
}
