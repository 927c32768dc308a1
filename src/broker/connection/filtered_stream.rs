use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::{AsyncRead, AsyncWrite};
use lapin::AsyncTcpStream;
use tokio::net::TcpStream;
use tokio_util::compat::Compat;

use super::frame_filter::{FRAME_END, FrameFilter, Place, Plan, plan};

/// Plain or TLS.
pub(super) type BrokerStream = AsyncTcpStream<Compat<TcpStream>>;

/// The stream between lapin and the broker. Inbound frames are repaired on their way, so that lapin can read them; what goes out is not
/// touched.
pub(super) struct FilteredStream<S> {
    stream: S,
    filter: FrameFilter,
}

impl<S> FilteredStream<S> {
    /// `frame_max` is what lapin was configured with, if anything.
    pub(super) fn new(stream: S, frame_max: Option<u32>) -> Self {
        Self { stream, filter: FrameFilter::new(frame_max) }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for FilteredStream<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let Self { stream, filter } = self.get_mut();
        if into.is_empty() {
            return Poll::Ready(Ok(0));
        }
        loop {
            match filter.place {
                Place::Holding => match plan(&filter.held) {
                    Plan::Hold(whole) if filter.held.len() < whole => {
                        let had = filter.held.len();
                        // Up to the end of the frame, and no more at a time than lapin has room for: memory grows with what has come.
                        filter.held.resize(whole.min(had + into.len()), 0);
                        let read = Pin::new(&mut *stream).poll_read(cx, &mut filter.held[had..]);
                        let count = if let Poll::Ready(Ok(count)) = &read { *count } else { 0 };
                        filter.held.truncate(had + count);
                        if ready!(read)? == 0 {
                            return Poll::Ready(Ok(0));
                        }
                    }
                    Plan::Hold(_) => {
                        let mut frame = std::mem::take(&mut filter.held);
                        let now = filter.repair_frame(&mut frame);
                        frame.truncate(now);
                        filter.held = frame;
                        filter.place = Place::HandingOut { from: 0, left: FRAME_END };
                    }
                    Plan::Pass(whole) => {
                        filter.place = Place::HandingOut { from: 0, left: whole - filter.held.len() };
                    }
                },
                Place::HandingOut { from, left } => {
                    let count = into.len().min(filter.held.len() - from);
                    into[..count].copy_from_slice(&filter.held[from..from + count]);
                    let from = from + count;
                    filter.place = if from == filter.held.len() {
                        Place::Passing { left }
                    } else {
                        Place::HandingOut { from, left }
                    };
                    return Poll::Ready(Ok(count));
                }
                Place::Beginning | Place::Passing { .. } => {
                    let count = ready!(Pin::new(&mut *stream).poll_read(cx, into))?;
                    let pass = filter.repair(&mut into[..count]);
                    // 0 bytes would mean the end of the stream.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::connection::frame_filter::tests::delivery;
    use futures_util::AsyncReadExt;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    /// Returns its bytes in pieces of these sizes, and now and then says that nothing has come yet.
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

    proptest! {
        #[test]
        fn any_split_of_the_bytes_gives_the_same(
            keys in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..6),
            mut sizes in prop::collection::vec(0_usize..90, 1..8),
            room in 1_usize..100,
            limit in prop_oneof![Just(0_u32), 30_u32..90],
        ) {
            sizes.push(1); // not only empty reads
            let frames: Vec<u8> = keys.iter().flat_map(|key| delivery(key, key)).flatten().collect();
            let mut whole = frames.clone();
            let now = FrameFilter::new(Some(limit)).repair(&mut whole);
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
}
