//! What holds of the test suite itself.

mod killed_run;
