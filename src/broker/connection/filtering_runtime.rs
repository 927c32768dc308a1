use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use async_rs::traits::Reactor;
use async_rs::util::RuntimeParts;
use async_rs::{Runtime, Tokio};
use futures_util::{AsyncRead, AsyncWrite, Stream};
use lapin::AsyncTcpStream;
use tokio::net::TcpStream;
use tokio_util::compat::TokioAsyncReadCompatExt;

use super::filtered_stream::{BrokerStream, FilteredStream};

/// tokio, except that lapin's TCP streams are filtered ones: the only way to give lapin a stream of our own.
#[derive(Debug, Clone)]
pub(super) struct FilteringReactor(Tokio);

/// The runtime for lapin.
pub(super) fn filtering_runtime() -> Runtime<RuntimeParts<Tokio, FilteringReactor>> {
    let tokio = Tokio::current();
    Runtime::new(RuntimeParts::new(tokio.clone(), FilteringReactor(tokio)))
}

impl Reactor for FilteringReactor {
    type TcpStream = FilteredStream<BrokerStream>;
    type Sleep = <Tokio as Reactor>::Sleep;

    fn register<H: io::Read + io::Write + AsFd + AsRawFd + Send + 'static>(
        &self,
        socket: H,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
        self.0.register(socket)
    }

    fn sleep(&self, duration: Duration) -> Self::Sleep {
        self.0.sleep(duration)
    }

    fn interval(&self, duration: Duration) -> impl Stream<Item = Instant> + Send + 'static {
        self.0.interval(duration)
    }

    #[expect(clippy::manual_async_fn, reason = "it outlives the reactor, which an async fn would borrow")]
    fn tcp_connect_addr(
        &self,
        address: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::TcpStream>> + Send + 'static {
        async move { Ok(FilteredStream::new(AsyncTcpStream::Plain(TcpStream::connect(address).await?.compat()), None)) }
    }
}
