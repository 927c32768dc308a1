use std::process::{Child, Command, Stdio};

use super::World;
use super::test_run::tool;

const PROGRAM: &str = env!("CARGO_BIN_EXE_snapshot-lifecycle");

/// A command that has ended.
#[derive(Debug)]
pub struct Finished {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Finished {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("stdout is not JSON alone: {error}: {self:?}"))
    }
}

/// The program with an empty environment. It is killed when the tests are, which then clean up nothing themselves.
pub fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(tool("setpriv"));
    command.args(["--pdeathsig", "KILL", "--", PROGRAM]).args(arguments).env_clear().stdin(Stdio::null());
    // What .ci/coverage and .ci/mutants tell the tests, they tell the program, too.
    for name in ["LLVM_PROFILE_FILE", "MUTANT", "MUTANT_REACHED"] {
        command.envs(std::env::var_os(name).map(|value| (name, value)));
    }
    command
}

pub fn finish(mut command: Command) -> Finished {
    let output = command.output().expect("the program can be run");
    Finished {
        code: output.status.code().expect("an exit code"),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// The same command with a terminal of this many columns for its output; what the terminal shows.
pub fn on_a_terminal(columns: u32, command: &Command) -> (i32, String) {
    let words: Vec<_> = std::iter::once(command.get_program()).chain(command.get_args()).collect();
    let line = words.iter().map(|word| format!("'{}'", word.to_str().unwrap())).collect::<Vec<_>>().join(" ");
    let line = format!("stty cols {columns} rows 24; exec {line}");
    let mut terminal = Command::new("script");
    terminal.args(["--quiet", "--return", "--command", &line, "/dev/null"]).stdin(Stdio::null());
    terminal.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).env("TERM", "xterm").env("SHELL", "/bin/sh");
    terminal.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let Finished { code, stdout, .. } = finish(terminal);
    (code, stdout.replace('\r', ""))
}

impl World {
    /// The program with this world's servers and names in its environment.
    pub fn program(&self, arguments: &[&str]) -> Command {
        let mut command = program(arguments);
        command
            .env("DATABASE_URL", &self.database_url)
            .env("AMQP_URL", &self.servers.amqp_url)
            .env("LIFECYCLE_EXCHANGE", &self.exchange)
            .env("LIFECYCLE_QUEUE", &self.queue);
        command
    }

    /// Runs a command to its end.
    pub async fn run(&self, arguments: &[&str]) -> Finished {
        let command = self.program(arguments);
        tokio::task::spawn_blocking(move || finish(command)).await.unwrap()
    }
}

/// A command that is under way; killed when dropped, as by SIGKILL.
pub struct Running(Option<Child>);

impl Running {
    pub fn start(mut command: Command) -> Self {
        Self(Some(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program can be run")))
    }

    /// Sends a signal by name, such as `INT`.
    pub fn signal(&self, name: &str) {
        let id = self.0.as_ref().expect("it was not waited for").id();
        let sent = Command::new("kill").args([&format!("-{name}"), &id.to_string()]).status().unwrap();
        assert!(sent.success(), "the command runs");
    }

    /// Waits for its end.
    pub async fn ended(mut self) -> Finished {
        let child = self.0.take().expect("it was not waited for");
        let output = tokio::task::spawn_blocking(|| child.wait_with_output().unwrap()).await.unwrap();
        Finished {
            code: output.status.code().expect("an exit code"),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            child.kill().ok();
            child.wait().ok();
        }
    }
}
