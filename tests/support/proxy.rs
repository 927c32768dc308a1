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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
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
    ways: Arc<Mutex<Vec<watch::Sender<Way>>>>,
    connections: Arc<AtomicUsize>,
    listening: JoinHandle<()>,
}

impl Proxy {
    /// A proxy in front of `host:port`.
    pub async fn before(server: impl Into<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let ways = Arc::new(Mutex::new(vec![watch::Sender::new(Way::Open)]));
        let connections = Arc::new(AtomicUsize::new(0));
        let (senders, server, accepted) = (Arc::clone(&ways), server.into(), Arc::clone(&connections));
        let listening = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                accepted.fetch_add(1, Ordering::SeqCst);
                let way = senders.lock().unwrap().last().expect("one at least").subscribe();
                if *way.borrow() == Way::Cut {
                    continue; // dropped, so closed
                }
                tokio::spawn(join(client, server.clone(), way));
            }
        });
        Self { address, ways, connections, listening }
    }

    /// How many connections were made.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub fn set(&self, way: Way) {
        self.ways.lock().unwrap().last().expect("one at least").send_replace(way);
    }

    /// Stalls the existing connections for ever; new ones are not affected.
    pub fn abandon_connections(&self) {
        self.set(Way::Stalled);
        self.ways.lock().unwrap().push(watch::Sender::new(Way::Open));
    }

    /// The URL with this proxy in place of the server.
    pub fn url(&self, url: &str) -> String {
        by_way_of(url, self.address)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listening.abort();
        for way in &*self.ways.lock().unwrap() {
            way.send_replace(Way::Cut);
        }
    }
}

async fn join(client: TcpStream, server: String, mut way: watch::Receiver<Way>) {
    let Ok(server) = TcpStream::connect(&server).await else { return };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let mut one = tokio::spawn(pass(from_client, to_server, way.clone()));
    let mut other = tokio::spawn(pass(from_server, to_client, way.clone()));
    // Both ends are closed at once, as by a reset.
    tokio::select! {
        _ = way.wait_for(|way| *way == Way::Cut) => {}
        _ = &mut one => {}
        _ = &mut other => {}
    }
    one.abort();
    other.abort();
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut way: watch::Receiver<Way>) {
    let mut bytes = vec![0; 16 * 1024];
    loop {
        if !opens(&mut way).await {
            return;
        }
        let slow = *way.borrow() == Way::Slow;
        let most = if slow { 500 } else { bytes.len() };
        let Ok(count @ 1..) = from.read(&mut bytes[..most]).await else { return };
        if *way.borrow() == Way::Late {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        // Bytes that were read before the stall are held during it, and lost when the proxy is cut.
        if !opens(&mut way).await || to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
        if slow {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Waits while the proxy is stalled; `false` when it is cut.
async fn opens(way: &mut watch::Receiver<Way>) -> bool {
    way.wait_for(|way| *way != Way::Stalled).await.is_ok_and(|way| *way != Way::Cut)
}
