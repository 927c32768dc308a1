//! What holds of the test suite itself.

mod killed_run;
mod local_servers;
