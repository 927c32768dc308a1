use url::Url;

/// The URL for another user, whether or not it names one.
pub fn as_user(url: &str, name: &str, password: &str) -> String {
    let mut url = parse(url);
    url.set_username(name).expect("a URL with a host");
    url.set_password(Some(password)).expect("a URL with a host");
    url.into()
}

/// The URL of another database.
pub fn with_database(url: &str, name: &str) -> String {
    let mut url = parse(url);
    url.set_path(name);
    url.into()
}

/// The URL with another server in place of its own.
pub fn by_way_of(url: &str, server: std::net::SocketAddr) -> String {
    let mut url = parse(url);
    url.set_ip_host(server.ip()).expect("a URL with a host");
    url.set_port(Some(server.port())).expect("a URL with a host");
    url.into()
}

/// `host:port` of a URL.
pub fn host_of(url: &str) -> String {
    let url = parse(url);
    let usual = if url.scheme().starts_with("postgres") { 5432 } else { 5672 };
    format!("{}:{}", url.host_str().expect("a URL with a host"), url.port().unwrap_or(usual))
}

fn parse(url: &str) -> Url {
    Url::parse(url).expect("a URL")
}
