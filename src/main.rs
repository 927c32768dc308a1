//! Parses, starts the runtime, ends with the command's exit code; everything else is the library's.

use std::process::ExitCode;

fn main() -> ExitCode {
    snapshot_lifecycle::cli::main()
}
