use std::fs::File;
use std::io::{BufRead, BufReader, PipeReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use super::test_run::{keep_log, logs, tool};
use super::{World, eventually, pause};

impl World {
    /// Starts a worker that sweeps and evicts only once, some seconds after its start, and waits until it is ready.
    pub async fn worker(&self) -> Worker {
        self.worker_with(&[]).await
    }

    /// The same with more variables.
    pub async fn worker_with(&self, variables: &[(&str, &str)]) -> Worker {
        let worker = self.start_worker(variables).await;
        worker.becomes_ready(true).await;
        worker
    }

    /// Starts a worker and waits for nothing but its HTTP server.
    pub async fn start_worker(&self, variables: &[(&str, &str)]) -> Worker {
        self.start_command(self.worker_command(variables)).await
    }

    /// Starts a worker by these words with its command line after them, as a shell or a wrapper would.
    pub async fn worker_under(&self, words: &[&str]) -> Worker {
        let worker = self.worker_command(&[]);
        let mut command = Command::new(tool(words[0]));
        command.args(&words[1..]).arg(worker.get_program()).args(worker.get_args());
        command.env_clear().envs(worker.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let worker = self.start_command(command).await;
        worker.becomes_ready(true).await;
        worker
    }

    async fn start_command(&self, mut command: Command) -> Worker {
        let log = logs().join(format!("{}-{}.log", self.queue, uuid::Uuid::new_v4().simple()));
        let child = command.stderr(File::create(&log).unwrap()).spawn().expect("the program can be run");
        let mut worker = Worker { child, log, http: SocketAddr::from(([127, 0, 0, 1], 0)) };
        eventually("the worker's HTTP address in its log", async || {
            if let Some(line) = worker.logged("starting").first() {
                worker.http = line["http_addr"].as_str().unwrap().parse().unwrap();
                true
            } else {
                let ended = worker.child.try_wait().unwrap();
                assert!(ended.is_none(), "the worker ended: {ended:?}\n{}", worker.log_text());
                false
            }
        })
        .await;
        worker
    }

    /// Starts a worker whose log goes to a pipe. Its first line is read for the HTTP address; the rest is up to the test.
    pub async fn worker_with_piped_log(&self, variables: &[(&str, &str)]) -> (Worker, BufReader<PipeReader>) {
        let (reader, writer) = std::io::pipe().unwrap();
        let child = self.worker_command(variables).stderr(writer).spawn().expect("the program can be run");
        let mut lines = BufReader::new(reader);
        let mut first = String::new();
        lines.read_line(&mut first).unwrap();
        let first: serde_json::Value = serde_json::from_str(&first).unwrap();
        let http = first["http_addr"].as_str().expect("the line that says what is started").parse().unwrap();
        let worker = Worker { child, log: logs().join("none"), http };
        worker.becomes_ready(true).await;
        (worker, lines)
    }

    fn worker_command(&self, variables: &[(&str, &str)]) -> Command {
        let mut command = self.program(&["run"]);
        command
            .env("LIFECYCLE_HTTP_ADDR", "127.0.0.1:0")
            .env("LIFECYCLE_SWEEP_INTERVAL", "1000d")
            .env("LIFECYCLE_EVICT_INTERVAL", "1000d")
            .env("LIFECYCLE_LOG_FORMAT", "json")
            .envs(variables.iter().copied())
            .stdout(Stdio::null());
        command
    }
}

/// A running worker; killed when dropped.
pub struct Worker {
    child: Child,
    log: PathBuf,
    http: SocketAddr,
}

impl Worker {
    pub async fn becomes_ready(&self, ready: bool) {
        let code = if ready { 200 } else { 503 };
        eventually(&format!("readiness {code}\n{}", self.log_text()), async || self.get("/readyz").0 == code).await;
    }

    /// Status and body of a GET.
    pub fn get(&self, path: &str) -> (u16, String) {
        let Ok(mut stream) = TcpStream::connect(self.http) else { return (0, String::new()) };
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        write!(stream, "GET {path} HTTP/1.0\r\nHost: worker\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
        let code = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_default();
        (code, body.to_owned())
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn log_file(&self) -> &Path {
        &self.log
    }

    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// The value of a series, as in `metric("messages_total{outcome=\"applied\"}")`.
    pub fn metric(&self, series: &str) -> f64 {
        let (_, text) = self.get("/metrics");
        let name = format!("snapshot_lifecycle_{series} ");
        let line =
            text.lines().find(|line| line.starts_with(&name)).unwrap_or_else(|| panic!("no series {name}in\n{text}"));
        line[name.len()..].parse().unwrap()
    }

    /// Waits until a counter has reached a value.
    pub async fn reaches(&self, series: &str, value: f64) {
        eventually(&format!("{series} to reach {value}\n{}", self.log_text()), async || self.metric(series) >= value)
            .await;
    }

    /// The most memory it had so far, in bytes.
    pub fn peak_memory(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the kernel tells");
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
    }

    /// Sockets that it has open.
    pub fn sockets(&self) -> usize {
        let files = std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().flatten();
        files
            .filter(|file| std::fs::read_link(file.path()).is_ok_and(|to| to.to_string_lossy().starts_with("socket:")))
            .count()
    }

    /// Log lines with this message.
    pub fn logged(&self, message: &str) -> Vec<serde_json::Value> {
        let lines = BufReader::new(File::open(&self.log).unwrap()).lines();
        lines
            .map_while(Result::ok)
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(&line).ok())
            .filter(|line| line["message"] == message)
            .collect()
    }

    pub fn log_text(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Sends a signal by name, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success(), "the worker runs");
    }

    /// Waits for the process to end.
    pub async fn ended(&mut self) -> ExitStatus {
        let began = std::time::Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(began.elapsed() < super::TIMEOUT, "the worker does not end:\n{}", self.log_text());
            pause().await;
        }
    }

    /// Stops it as an operator does and expects the exit code 0.
    pub async fn stop(mut self) {
        self.signal("TERM");
        let status = self.ended().await;
        assert_eq!(status.code(), Some(0), "{}", self.log_text());
    }

    /// SIGKILL.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Worker {
    #[expect(clippy::print_stderr, reason = "a failed test says where its log is")]
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        if std::thread::panicking() {
            eprintln!("the log of a worker of this test: {}", keep_log(&self.log).display());
        }
        std::fs::remove_file(&self.log).ok();
    }
}
