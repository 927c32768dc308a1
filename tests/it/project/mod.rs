//! What holds of the test suite itself, and of what the documents show.

mod killed_run;
mod local_servers;
mod without_a_worker;
