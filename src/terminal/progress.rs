use std::fmt;
use std::io::{self, IsTerminal};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

/// A progress bar on stderr where that is a terminal, and nothing elsewhere. Without a length it counts.
#[must_use]
pub fn progress(length: Option<u64>, unit: &str) -> ProgressBar {
    let target = if io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(length, target);
    let template = if length.is_some() {
        format!("{{bar:40}} {{pos}}/{{len}} {unit}, {{rate}}, {{eta}} left")
    } else {
        format!("{{spinner}} {{pos}} {unit}, {{rate}}")
    };
    if let Ok(style) = ProgressStyle::with_template(&template) {
        let rate =
            |state: &ProgressState, out: &mut dyn fmt::Write| write!(out, "{:.0}/s", state.per_sec()).unwrap_or(());
        bar.set_style(style.with_key("rate", rate));
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
