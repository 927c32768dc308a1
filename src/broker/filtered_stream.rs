//! The stream between lapin and the broker: what comes in is repaired on its way (see `frame_repair`), what goes out is not touched.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use async_rs::traits::Reactor;
use async_rs::util::RuntimeParts;
use async_rs::{Runtime, Tokio};
use futures_util::{AsyncRead, AsyncWrite, Stream};
use lapin::AsyncTcpStream;
use tokio::net::TcpStream;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

use super::frame_repair::{repair_content_header, repair_method};

/// Plain or TLS.
pub(super) type BrokerStream = AsyncTcpStream<Compat<TcpStream>>;

/// Type, channel and size come before a frame's payload (AMQP 0-9-1, 4.2.3).
const FRAME_HEADER: usize = 7;
const METHOD: u8 = 1;
const CONTENT_HEADER: u8 = 2;
/// A frame to be repaired is held until it is complete. RabbitMQ's are 128 KiB at most unless it is set otherwise; what is larger than
/// this passes as it is.
const LARGEST: usize = 16 * 1024 * 1024;

/// A stream whose inbound frames are such that lapin can read them.
///
/// Frames that are complete within one read are repaired where they are. Of one that is not, the part that has come is held, and the
/// rest read behind it. Bodies pass without a copy.
pub(super) struct FilteredStream<S> {
    stream: S,
    place: Place,
    held: Vec<u8>,
}

/// Where in the stream of frames we are.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// In the seven bytes before a payload, of which so many have come.
    Header { seen: usize, bytes: [u8; FRAME_HEADER] },
    /// In what passes as it is: so many bytes, up to and including the frame's end.
    Passing { left: usize },
    /// At the beginning of a payload of this size that is to be repaired.
    Payload { kind: u8, size: usize },
    /// In such a payload, whose part that has come is held.
    Holding { kind: u8, size: usize },
    /// The held payload is complete, and so much of it handed out.
    HandingOut { from: usize },
}

const BEGINNING: Place = Place::Header { seen: 0, bytes: [0; FRAME_HEADER] };

impl<S> FilteredStream<S> {
    pub(super) const fn new(stream: S) -> Self {
        Self { stream, place: BEGINNING, held: Vec::new() }
    }

    /// Repairs what has come; returns how much of it may go on at once. The rest is held.
    fn repair(&mut self, bytes: &mut [u8]) -> usize {
        let mut at = 0;
        while at < bytes.len() {
            let there = bytes.len() - at;
            match &mut self.place {
                Place::Header { seen, bytes: header } => {
                    let count = there.min(FRAME_HEADER - *seen);
                    header[*seen..*seen + count].copy_from_slice(&bytes[at..at + count]);
                    *seen += count;
                    at += count;
                    if *seen == FRAME_HEADER {
                        self.place = after_header(*header);
                    }
                }
                Place::Passing { left } => {
                    let count = there.min(*left);
                    *left -= count;
                    at += count;
                    if *left == 0 {
                        self.place = BEGINNING;
                    }
                }
                Place::Payload { kind, size } if *size <= there => {
                    repair_payload(*kind, &mut bytes[at..at + *size]);
                    at += *size;
                    self.place = Place::Passing { left: 1 };
                }
                Place::Payload { kind, size } => {
                    self.held.clear();
                    self.held.extend_from_slice(&bytes[at..]);
                    self.place = Place::Holding { kind: *kind, size: *size };
                    return at;
                }
                Place::Holding { .. } | Place::HandingOut { .. } => unreachable!("nothing is read beside what is held"),
            }
        }
        at
    }
}

fn after_header(header: [u8; FRAME_HEADER]) -> Place {
    let [kind, _, _, size @ ..] = header;
    let size = usize::try_from(u32::from_be_bytes(size)).unwrap_or(usize::MAX);
    if matches!(kind, METHOD | CONTENT_HEADER) && (1..=LARGEST).contains(&size) {
        Place::Payload { kind, size }
    } else {
        Place::Passing { left: size.saturating_add(1) }
    }
}

fn repair_payload(kind: u8, payload: &mut [u8]) {
    if kind == METHOD {
        repair_method(payload);
    } else {
        repair_content_header(payload);
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for FilteredStream<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if into.is_empty() {
            return Poll::Ready(Ok(0));
        }
        loop {
            match this.place {
                Place::Holding { kind, size } => {
                    let had = this.held.len();
                    // As far as the payload goes, and no more at a time than the other side has room for: memory grows with what came.
                    this.held.resize(size.min(had + into.len()), 0);
                    let read = Pin::new(&mut this.stream).poll_read(cx, &mut this.held[had..]);
                    let count = if let Poll::Ready(Ok(count)) = &read { *count } else { 0 };
                    this.held.truncate(had + count);
                    if ready!(read)? == 0 {
                        return Poll::Ready(Ok(0));
                    }
                    if this.held.len() == size {
                        repair_payload(kind, &mut this.held);
                        this.place = Place::HandingOut { from: 0 };
                    }
                }
                Place::HandingOut { from } => {
                    let count = into.len().min(this.held.len() - from);
                    into[..count].copy_from_slice(&this.held[from..from + count]);
                    let from = from + count;
                    this.place = if from == this.held.len() {
                        Place::Passing { left: 1 }
                    } else {
                        Place::HandingOut { from }
                    };
                    return Poll::Ready(Ok(count));
                }
                Place::Header { .. } | Place::Passing { .. } | Place::Payload { .. } => {
                    let count = ready!(Pin::new(&mut this.stream).poll_read(cx, into))?;
                    let pass = this.repair(&mut into[..count]);
                    // Nothing would mean the end of the stream.
                    if pass > 0 || count == 0 {
                        return Poll::Ready(Ok(pass));
                    }
                }
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for FilteredStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}

/// tokio, except that lapin's TCP streams are filtered ones: the only way to hand it a stream of our own.
#[derive(Debug, Clone)]
pub(super) struct FilteringReactor(Tokio);

/// The runtime that lapin is given.
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

    fn tcp_connect_addr(
        &self,
        address: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::TcpStream>> + Send + 'static {
        async move { Ok(FilteredStream::new(AsyncTcpStream::Plain(TcpStream::connect(address).await?.compat()))) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::AsyncReadExt;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    /// Hands out its bytes in pieces of these sizes, and now and then says that nothing has come yet.
    struct Pieces {
        bytes: VecDeque<u8>,
        sizes: VecDeque<usize>,
    }

    impl AsyncRead for Pieces {
        fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
            let size = self.sizes.pop_front().unwrap_or(1);
            self.sizes.push_back(size);
            if size == 0 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let count = size.min(into.len()).min(self.bytes.len());
            for byte in &mut into[..count] {
                *byte = self.bytes.pop_front().unwrap_or_default();
            }
            Poll::Ready(Ok(count))
        }
    }

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let size = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&[kind, 0, 1], &size[..], payload, &[0xCE]].concat()
    }

    /// A delivery whose routing key and message id are not UTF-8.
    fn delivery(key: &[u8], body: &[u8]) -> Vec<Vec<u8>> {
        let length = |bytes: &[u8]| vec![u8::try_from(bytes.len()).unwrap()];
        let deliver = [b"\0\x3c\0\x3c\x01c\0\0\0\0\0\0\0\x05\0\x01e", &length(key)[..], key].concat();
        let header = [&[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0x80][..], &length(key), key].concat();
        vec![frame(1, &deliver), frame(2, &header), frame(3, body), frame(8, b"")]
    }

    proptest! {
        #[test]
        fn any_split_of_the_bytes_gives_the_same(
            keys in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..6),
            mut sizes in prop::collection::vec(0_usize..90, 1..8),
            room in 1_usize..100,
        ) {
            sizes.push(1); // not only pauses
            let frames: Vec<u8> = keys.iter().flat_map(|key| delivery(key, key)).flatten().collect();
            let mut whole = frames.clone();
            let mut filter = FilteredStream::new(());
            prop_assert_eq!(filter.repair(&mut whole), frames.len());
            let pieces = Pieces { bytes: frames.into(), sizes: sizes.into() };
            let mut stream = FilteredStream::new(pieces);
            let mut read = Vec::new();
            tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
                let mut buffer = vec![0; room];
                loop {
                    let count = stream.read(&mut buffer).await.unwrap();
                    if count == 0 {
                        break;
                    }
                    read.extend_from_slice(&buffer[..count]);
                }
            });
            prop_assert_eq!(read, whole);
        }
    }

    #[test]
    fn every_frame_can_be_read_and_bodies_are_not_touched() {
        let mut bytes: Vec<u8> = delivery(b"\xff\xfe", b"\xff\xfe").concat();
        let count = bytes.len();
        assert_eq!(FilteredStream::new(()).repair(&mut bytes), count);
        let shown = String::from_utf8_lossy(&bytes).into_owned();
        assert_eq!(shown.matches("??").count(), 2, "{shown:?}");
        assert!(bytes.windows(2).any(|pair| pair == b"\xff\xfe"), "the body");
    }

    #[test]
    fn frame_that_is_larger_than_any_passes_as_it_is() {
        let header = [1, 0, 1, 0xff, 0xff, 0xff, 0xff];
        let mut bytes = [&header[..], b"\0\x3c\0\x3c\x01\xff"].concat();
        let before = bytes.clone();
        assert_eq!(FilteredStream::new(()).repair(&mut bytes), before.len());
        assert_eq!(bytes, before);
    }
}
