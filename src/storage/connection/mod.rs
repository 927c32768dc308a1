//! From a URL to a server that answers, and what is known of connections that got no answer.

pub(super) mod connect;
pub(super) mod database_url;
pub(super) mod outstanding;
pub(super) mod pool;
