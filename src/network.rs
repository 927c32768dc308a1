//! What both servers have in common as peers on a network: several addresses behind one name, some of them dead, and TLS.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use uuid::Uuid;

/// An address that neither answers nor refuses is given up after this, as long as there is another one.
const EACH: Duration = Duration::from_secs(2);

/// Connects to the first address that answers. The caller sets the limit for the whole.
///
/// The name is resolved each time, and a random address comes first: a caller whose time ends before the dead ones are through
/// does better at its next call, and the connections spread over the servers behind one name.
pub async fn connect_first(host: &str, port: u16) -> io::Result<TcpStream> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let mut addresses: Vec<_> = lookup_host((host, port)).await?.collect();
    if !addresses.is_empty() {
        let first = Uuid::new_v4().as_u128() % addresses.len() as u128;
        addresses.rotate_left(usize::try_from(first).unwrap_or_default());
    }
    connect_in_turn(&addresses).await
}

/// Tries each address for two seconds, the last one for as long as the caller waits.
async fn connect_in_turn(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut failures = Vec::new();
    let mut kind = io::ErrorKind::NotFound;
    for (index, address) in addresses.iter().enumerate() {
        let connecting = TcpStream::connect(address);
        let connected = if index + 1 < addresses.len() {
            timeout(EACH, connecting).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        } else {
            connecting.await
        };
        match connected {
            Ok(stream) => {
                // Small frames and queries are sent at once, not collected.
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => {
                kind = error.kind();
                failures.push(format!("{address}: {error}"));
            }
        }
    }
    if failures.is_empty() {
        failures.push("the name has no address".to_owned());
    }
    Err(io::Error::new(kind, failures.join("; ")))
}

/// Whether a host is this machine, so that nobody can listen in on the way.
#[must_use]
pub fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Whether one side does not accept the other's certificate: rustls reports that through the socket's errors, in these words only.
#[must_use]
pub fn is_certificate_error(error: &io::Error) -> bool {
    let text = error.to_string();
    ["invalid peer certificate", "received fatal alert"].iter().any(|sign| text.contains(sign))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use tokio::net::{TcpListener, TcpSocket};

    /// A listener that never accepts and whose backlog is full, so that the system answers nobody any more.
    pub(crate) async fn black_hole() -> (SocketAddr, TcpListener, Vec<TcpStream>) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let mut waiting = Vec::new();
        while let Ok(stream) = timeout(Duration::from_millis(500), TcpStream::connect(address)).await {
            waiting.push(stream.unwrap());
        }
        (address, listener, waiting)
    }

    fn refusing() -> SocketAddr {
        std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
    }

    #[tokio::test]
    async fn dead_addresses_are_passed_over_whether_they_refuse_or_stay_silent() {
        let (silent, _listener, _waiting) = black_hole().await;
        let living = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let there = living.local_addr().unwrap();
        let stream = connect_in_turn(&[silent, refusing(), there]).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), there);
    }

    #[tokio::test]
    async fn failure_names_each_address_and_its_cause() {
        let (first, last) = (refusing(), refusing());
        let error = connect_in_turn(&[first, last]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        let words = error.to_string();
        assert!(words.contains(&first.to_string()) && words.contains(&last.to_string()), "{words}");
        assert!(connect_in_turn(&[]).await.unwrap_err().to_string().contains("no address"));
    }

    #[tokio::test]
    async fn ipv6_literal_is_reached_with_and_without_brackets() {
        let listener = TcpListener::bind("[::1]:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        for host in ["::1", "[::1]"] {
            assert!(connect_first(host, port).await.is_ok(), "{host}");
        }
    }
}
