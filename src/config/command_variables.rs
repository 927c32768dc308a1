//! The environment variables of a command's flags, as clap has them.

use std::collections::BTreeMap;

use clap::{Arg, Command};

/// The variables of the command that is called: files that another command needs may be unreadable.
pub fn used_variables(command: &Command) -> Vec<String> {
    let mut names = Vec::new();
    // An error is reported later; where parsing fails here, it is a call for help, which needs no value.
    if let Ok(matches) = command.clone().ignore_errors(true).try_get_matches() {
        let (mut called, mut matches) = (Some(command), &matches);
        while let Some(command) = called {
            names.extend(command.get_arguments().filter_map(variable_of));
            let Some((name, inner)) = matches.subcommand() else { break };
            (called, matches) = (command.find_subcommand(name), inner);
        }
    }
    names
}

/// The variables of all commands.
pub fn variables(command: &Command) -> Vec<String> {
    let mut names: Vec<_> = all_arguments(command).filter_map(variable_of).collect();
    names.sort();
    names.dedup();
    names
}

fn all_arguments(command: &Command) -> Box<dyn Iterator<Item = &Arg> + '_> {
    Box::new(command.get_arguments().chain(command.get_subcommands().flat_map(all_arguments)))
}

fn variable_of(argument: &Arg) -> Option<String> {
    Some(argument.get_env()?.to_string_lossy().into_owned())
}

/// A value from a file is a default: a flag wins over it.
#[must_use]
pub fn with_values(command: Command, values: &BTreeMap<String, String>) -> Command {
    command
        .mut_args(|argument| match variable_of(&argument).and_then(|name| values.get(&name)) {
            Some(value) => argument.default_value(value.clone()),
            None => argument,
        })
        .mut_subcommands(|subcommand| with_values(subcommand, values))
}

/// The variable of the argument that the error is about.
pub fn variable_named_in(command: &Command, error: &str) -> Option<String> {
    all_arguments(command)
        .filter(|argument| {
            argument
                .get_long()
                .is_some_and(|long| error.contains(&format!("'--{long} ")) || error.contains(&format!("'--{long}'")))
        })
        .find_map(variable_of)
}
