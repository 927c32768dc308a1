use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::url::by_way_of;

/// What the proxy does with the bytes between worker and server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Network {
    /// Everything passes.
    Open,
    /// Nothing passes, without an error: connections stay open, new ones are accepted.
    Stalled,
    /// Connections are closed, new ones at once.
    Cut,
    /// A few hundred bytes every few milliseconds.
    Slow,
    /// What has come, 50 ms later: a round trip takes 100 ms.
    Late,
}

/// A proxy between a worker and a server that a test can break. It ends when dropped.
pub struct Proxy {
    pub address: SocketAddr,
    /// The last one is for new connections; those before are for connections that were abandoned.
    networks: Arc<Mutex<Vec<watch::Sender<Network>>>>,
    connections: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
    listening: JoinHandle<()>,
}

impl Proxy {
    /// A proxy in front of `host:port`.
    pub async fn before(server: impl Into<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let networks = Arc::new(Mutex::new(vec![watch::Sender::new(Network::Open)]));
        let (connections, requests) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let sent = Arc::clone(&requests);
        let (senders, server, accepted) = (Arc::clone(&networks), server.into(), Arc::clone(&connections));
        let listening = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                accepted.fetch_add(1, Ordering::SeqCst);
                let network = senders.lock().unwrap().last().expect("one at least").subscribe();
                if *network.borrow() == Network::Cut {
                    continue; // dropped, so closed
                }
                tokio::spawn(join(client, server.clone(), network, Arc::clone(&sent)));
            }
        });
        Self { address, networks, connections, requests, listening }
    }

    /// How many times a client has written: round trips, where it waits for each answer.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    /// How many connections were made.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub fn set(&self, network: Network) {
        self.networks.lock().unwrap().last().expect("one at least").send_replace(network);
    }

    /// Stalls the existing connections for ever; new ones are not affected.
    pub fn abandon_connections(&self) {
        self.set(Network::Stalled);
        self.networks.lock().unwrap().push(watch::Sender::new(Network::Open));
    }

    /// The URL with this proxy in place of the server.
    pub fn url(&self, url: &str) -> String {
        by_way_of(url, self.address)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listening.abort();
        for network in &*self.networks.lock().unwrap() {
            network.send_replace(Network::Cut);
        }
    }
}

async fn join(client: TcpStream, server: String, mut network: watch::Receiver<Network>, requests: Arc<AtomicUsize>) {
    let Ok(server) = TcpStream::connect(&server).await else { return };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let mut one = tokio::spawn(pass(from_client, to_server, network.clone(), requests));
    let mut other = tokio::spawn(pass(from_server, to_client, network.clone(), Arc::default()));
    // Both ends are closed at once, as by a reset.
    tokio::select! {
        _ = network.wait_for(|network| *network == Network::Cut) => {}
        _ = &mut one => {}
        _ = &mut other => {}
    }
    one.abort();
    other.abort();
}

async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut network: watch::Receiver<Network>,
    reads: Arc<AtomicUsize>,
) {
    let mut bytes = vec![0; 16 * 1024];
    loop {
        if !opens(&mut network).await {
            return;
        }
        let slow = *network.borrow() == Network::Slow;
        let most = if slow { 500 } else { bytes.len() };
        let Ok(count @ 1..) = from.read(&mut bytes[..most]).await else { return };
        reads.fetch_add(1, Ordering::SeqCst);
        if *network.borrow() == Network::Late {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        // Bytes that were read before the stall are held during it, and lost when the proxy is cut.
        if !opens(&mut network).await || to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
        if slow {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Waits while the proxy is stalled; `false` when it is cut.
async fn opens(network: &mut watch::Receiver<Network>) -> bool {
    network.wait_for(|network| *network != Network::Stalled).await.is_ok_and(|network| *network != Network::Cut)
}
