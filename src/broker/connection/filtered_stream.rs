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

use super::frame_repair::{frame_max_of_tune, repair_content_header, repair_method, shrink_content_header};

/// Plain or TLS.
pub(in crate::broker) type BrokerStream = AsyncTcpStream<Compat<TcpStream>>;

/// Type, channel and size come before a frame's payload (AMQP 0-9-1, 4.2.3).
const FRAME_HEADER: usize = 7;
const FRAME_END: usize = 1;
const METHOD: u8 = 1;
const CONTENT_HEADER: u8 = 2;
/// A frame to be repaired is held until it is complete. RabbitMQ's are 128 KiB at most unless it is set otherwise; what is larger than
/// this passes as it is.
const LARGEST: usize = 16 * 1024 * 1024;

/// A stream whose inbound frames are such that lapin can read them.
///
/// Frames that are complete within one read are repaired where they are. Of one that is not, the part that has come is held, and the
/// rest read behind it. Bodies pass without a copy.
///
/// Headers that fill a frame become larger than the largest frame when RabbitMQ adds its own to them, and lapin ends the connection
/// over such a frame. Only these are made shorter: the largest headers of the publisher are left out.
pub(in crate::broker) struct FilteredStream<S> {
    stream: S,
    place: Place,
    held: Vec<u8>,
    /// The largest frame that lapin takes; without a limit until the broker has named it.
    frame_max: usize,
}

/// Where in the stream of frames we are.
#[derive(Debug, Clone, Copy)]
enum Place {
    Beginning,
    /// In what passes as it is: how many bytes are left, up to and including the frame's end.
    Passing {
        left: usize,
    },
    /// In a frame whose part that has come is held.
    Holding,
    /// What is held is complete, how much of it is handed out, and how many bytes follow it up to the frame's end.
    HandingOut {
        from: usize,
        left: usize,
    },
}

/// What to do about a frame of which some bytes have arrived.
enum Plan {
    /// Nothing before this number of bytes has arrived.
    Hold(usize),
    /// This number of bytes passes as it is.
    Pass(usize),
}

fn plan(bytes: &[u8]) -> Plan {
    let Some(&[kind, _, _, a, b, c, d]) = bytes.first_chunk::<FRAME_HEADER>() else { return Plan::Hold(FRAME_HEADER) };
    let size = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
    let whole = FRAME_HEADER.saturating_add(size);
    if matches!(kind, METHOD | CONTENT_HEADER) && size <= LARGEST {
        Plan::Hold(whole)
    } else {
        Plan::Pass(whole.saturating_add(FRAME_END))
    }
}

impl<S> FilteredStream<S> {
    /// `frame_max` is what lapin was told, if anything: it then takes no larger frames, whatever the broker says.
    pub(in crate::broker) fn new(stream: S, frame_max: Option<u32>) -> Self {
        Self { stream, place: Place::Beginning, held: Vec::new(), frame_max: limit(frame_max.unwrap_or_default()) }
    }

    /// Repairs what has come; returns how much of it may go on at once. The rest is held, or was left out.
    fn repair(&mut self, bytes: &mut [u8]) -> usize {
        let (mut at, mut end) = (0, bytes.len());
        while at < end {
            match self.place {
                Place::Passing { left } => {
                    let count = left.min(end - at);
                    at += count;
                    self.place = if count == left { Place::Beginning } else { Place::Passing { left: left - count } };
                }
                Place::Beginning => match plan(&bytes[at..end]) {
                    Plan::Pass(left) => self.place = Place::Passing { left },
                    Plan::Hold(whole) if whole > FRAME_HEADER && whole <= end - at => {
                        let now = self.repair_frame(&mut bytes[at..at + whole]);
                        if now < whole {
                            bytes.copy_within(at + whole..end, at + now);
                            end -= whole - now;
                        }
                        at += now;
                        self.place = Place::Passing { left: FRAME_END };
                    }
                    Plan::Hold(_) => {
                        self.held.clear();
                        self.held.extend_from_slice(&bytes[at..end]);
                        self.place = Place::Holding;
                        return at;
                    }
                },
                Place::Holding | Place::HandingOut { .. } => unreachable!("nothing is read beside what is held"),
            }
        }
        at
    }

    /// Repairs a frame without its end; returns its new length.
    fn repair_frame(&mut self, frame: &mut [u8]) -> usize {
        let (header, payload) = frame.split_at_mut(FRAME_HEADER);
        if header[0] == METHOD {
            if let Some(frame_max) = frame_max_of_tune(payload) {
                self.frame_max = self.frame_max.min(limit(frame_max));
            }
            repair_method(payload);
            return frame.len();
        }
        repair_content_header(payload);
        let most = self.frame_max.saturating_sub(FRAME_HEADER + FRAME_END);
        if payload.len() <= most {
            return frame.len();
        }
        let size = shrink_content_header(payload, most);
        header[3..].copy_from_slice(&u32::try_from(size).unwrap_or(u32::MAX).to_be_bytes());
        FRAME_HEADER + size
    }
}

/// In the protocol 0 is no limit.
fn limit(frame_max: u32) -> usize {
    if frame_max == 0 { usize::MAX } else { usize::try_from(frame_max).unwrap_or(usize::MAX) }
}

impl<S: AsyncRead + Unpin> AsyncRead for FilteredStream<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if into.is_empty() {
            return Poll::Ready(Ok(0));
        }
        loop {
            match this.place {
                Place::Holding => match plan(&this.held) {
                    Plan::Hold(whole) if this.held.len() < whole => {
                        let had = this.held.len();
                        // As far as the frame goes, and no more at a time than lapin has room for: memory grows with what has come.
                        this.held.resize(whole.min(had + into.len()), 0);
                        let read = Pin::new(&mut this.stream).poll_read(cx, &mut this.held[had..]);
                        let count = if let Poll::Ready(Ok(count)) = &read { *count } else { 0 };
                        this.held.truncate(had + count);
                        if ready!(read)? == 0 {
                            return Poll::Ready(Ok(0));
                        }
                    }
                    Plan::Hold(_) => {
                        let mut frame = std::mem::take(&mut this.held);
                        let now = this.repair_frame(&mut frame);
                        frame.truncate(now);
                        this.held = frame;
                        this.place = Place::HandingOut { from: 0, left: FRAME_END };
                    }
                    Plan::Pass(whole) => {
                        this.place = Place::HandingOut { from: 0, left: whole - this.held.len() };
                    }
                },
                Place::HandingOut { from, left } => {
                    let count = into.len().min(this.held.len() - from);
                    into[..count].copy_from_slice(&this.held[from..from + count]);
                    let from = from + count;
                    this.place = if from == this.held.len() {
                        Place::Passing { left }
                    } else {
                        Place::HandingOut { from, left }
                    };
                    return Poll::Ready(Ok(count));
                }
                Place::Beginning | Place::Passing { .. } => {
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
pub(in crate::broker) struct FilteringReactor(Tokio);

/// The runtime that lapin is given.
pub(in crate::broker) fn filtering_runtime() -> Runtime<RuntimeParts<Tokio, FilteringReactor>> {
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

    /// A delivery whose routing key, message id and the names of two headers are these bytes.
    fn delivery(key: &[u8], body: &[u8]) -> Vec<Vec<u8>> {
        let name = [&[u8::try_from(key.len()).unwrap()], key].concat();
        let deliver = [b"\0\x3c\0\x3c\x01c\0\0\0\0\0\0\0\x05\0\x01e", name.as_slice()].concat();
        let headers = [&name, b"V".as_slice(), b"\x01nV"].concat();
        let size = u32::try_from(headers.len()).unwrap().to_be_bytes();
        let header = [&[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0x20, 0x80][..], &size, &headers, &name].concat();
        vec![frame(1, &deliver), frame(2, &header), frame(3, body), frame(8, b"")]
    }

    proptest! {
        #[test]
        fn any_split_of_the_bytes_gives_the_same(
            keys in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..6),
            mut sizes in prop::collection::vec(0_usize..90, 1..8),
            room in 1_usize..100,
            limit in prop_oneof![Just(0_u32), 30_u32..90],
        ) {
            sizes.push(1); // not only pauses
            let frames: Vec<u8> = keys.iter().flat_map(|key| delivery(key, key)).flatten().collect();
            let mut whole = frames.clone();
            let now = FilteredStream::new((), Some(limit)).repair(&mut whole);
            whole.truncate(now);
            let pieces = Pieces { bytes: frames.into(), sizes: sizes.into() };
            let mut stream = FilteredStream::new(pieces, Some(limit));
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
        assert_eq!(FilteredStream::new((), None).repair(&mut bytes), count);
        let shown = String::from_utf8_lossy(&bytes).into_owned();
        assert_eq!(shown.matches("??").count(), 3, "{shown:?}");
        assert!(bytes.windows(2).any(|pair| pair == b"\xff\xfe"), "the body");
    }

    #[test]
    fn frame_beyond_what_was_agreed_upon_loses_its_largest_headers() {
        let mut stream = FilteredStream::new((), None);
        let mut tune = frame(1, b"\0\x0a\0\x1e\x07\xff\0\0\0\x60\0\x3c");
        let before = tune.clone();
        assert_eq!((stream.repair(&mut tune), tune), (before.len(), before));
        let behind = delivery(b"k", b"body").concat();
        let mut bytes = [delivery(&[b'x'; 60], b"body").concat(), behind.clone()].concat();
        let count = stream.repair(&mut bytes);
        bytes.truncate(count);
        assert!(bytes.ends_with(&behind), "what comes behind it stays");
        // deliver, header, body, heartbeat
        let size = |at: usize| usize::try_from(u32::from_be_bytes(bytes[at + 3..at + 7].try_into().unwrap())).unwrap();
        let header = size(0) + 8;
        assert_eq!((bytes[header], size(header) + 8 <= 0x60), (2, true));
        assert_eq!(bytes[header + size(header) + 8], 3, "a body follows");
    }

    #[test]
    fn frame_that_is_larger_than_any_passes_as_it_is() {
        let header = [1, 0, 1, 0xff, 0xff, 0xff, 0xff];
        let mut bytes = [&header[..], b"\0\x3c\0\x3c\x01\xff"].concat();
        let before = bytes.clone();
        assert_eq!(FilteredStream::new((), None).repair(&mut bytes), before.len());
        assert_eq!(bytes, before);
    }
}
