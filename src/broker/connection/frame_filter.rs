//! Makes what a publisher chose readable to lapin, in place and without changing any length.
//!
//! RabbitMQ accepts any bytes as a short string, and tables nested as deep as a frame's size allows. lapin's parser ends the connection
//! over a short string that is not UTF-8, and recurses into nested tables until the stack overflows, which ends the process. So before
//! lapin sees a frame:
//!
//! - in a short string that is not UTF-8 each invalid byte becomes `?`;
//! - a table or array nested deeper than [`MAX_DEPTH`](super::field_repair::MAX_DEPTH) becomes a byte array, which has the same encoding
//!   and holds the same bytes;
//! - a malformed value becomes a byte array too, as small a part as possible. RabbitMQ itself never delivers one.
//!
//! What lapin can read stays as it is. The time is linear in the frame's size.
//!
//! Frames that are complete within one read are repaired where they are. Of an incomplete one the part that has come is held, and the
//! rest is read behind it. Bodies pass without a copy.
//!
//! Headers that fill a frame become larger than the largest frame when RabbitMQ adds its own to them, and lapin ends the connection
//! over such a frame. Only these are made shorter: the publisher's largest headers are left out.

use super::content_header::repair_content_header;
use super::header_shrink::shrink_content_header;
use super::method_frame::{frame_max_of_tune, repair_method};

/// Type, channel and size come before a frame's payload (AMQP 0-9-1, 4.2.3).
const FRAME_HEADER: usize = 7;
pub(super) const FRAME_END: usize = 1;
const METHOD: u8 = 1;
const CONTENT_HEADER: u8 = 2;
/// A frame to be repaired is held until it is complete. RabbitMQ's have 128 KiB at most unless it is configured otherwise; a larger frame
/// than this passes as it is.
const MAX_HELD_BYTES: usize = 16 * 1024 * 1024;

/// Repairs the frames of an inbound stream.
pub(super) struct FrameFilter {
    pub(super) place: Place,
    /// The part of a frame that has come.
    pub(super) held: Vec<u8>,
    /// The largest frame that lapin accepts; without a limit until the broker has named it.
    frame_max: usize,
}

/// The place in the stream of frames.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    Beginning,
    /// In bytes that pass as they are: how many are left, up to and including the frame's end.
    Passing {
        left: usize,
    },
    /// In an incomplete frame, of which a part is held.
    Holding,
    /// The held frame is complete: how much of it was read by lapin, and how many bytes follow it up to the frame's end.
    HandingOut {
        from: usize,
        left: usize,
    },
}

/// What to do with a frame of which some bytes have arrived.
pub(super) enum Plan {
    /// Wait until this number of bytes has arrived.
    Hold(usize),
    /// Let this number of bytes pass.
    Pass(usize),
}

pub(super) fn plan(bytes: &[u8]) -> Plan {
    let Some(&[kind, _, _, a, b, c, d]) = bytes.first_chunk::<FRAME_HEADER>() else { return Plan::Hold(FRAME_HEADER) };
    let size = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
    let whole = FRAME_HEADER.saturating_add(size);
    if matches!(kind, METHOD | CONTENT_HEADER) && size <= MAX_HELD_BYTES {
        Plan::Hold(whole)
    } else {
        Plan::Pass(whole.saturating_add(FRAME_END))
    }
}

impl FrameFilter {
    /// `frame_max` is what lapin was configured with, if anything: it then accepts no larger frames, whatever the broker says.
    pub(super) fn new(frame_max: Option<u32>) -> Self {
        Self { place: Place::Beginning, held: Vec::new(), frame_max: limit(frame_max.unwrap_or_default()) }
    }

    /// Repairs what has come; returns how much of it may pass at once. The rest is held, or was left out.
    pub(super) fn repair(&mut self, bytes: &mut [u8]) -> usize {
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
                Place::Holding | Place::HandingOut { .. } => unreachable!("nothing is read while a frame is held"),
            }
        }
        at
    }

    /// Repairs a frame without its end; returns its new length.
    pub(super) fn repair_frame(&mut self, frame: &mut [u8]) -> usize {
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

/// In the protocol 0 means no limit.
fn limit(frame_max: u32) -> usize {
    if frame_max == 0 { usize::MAX } else { usize::try_from(frame_max).unwrap_or(usize::MAX) }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let size = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&[kind, 0, 1], &size[..], payload, &[0xCE]].concat()
    }

    /// A delivery whose routing key, message id and the names of two headers are these bytes.
    pub(in crate::broker::connection) fn delivery(key: &[u8], body: &[u8]) -> Vec<Vec<u8>> {
        let name = [&[u8::try_from(key.len()).unwrap()], key].concat();
        let deliver = [b"\0\x3c\0\x3c\x01c\0\0\0\0\0\0\0\x05\0\x01e", name.as_slice()].concat();
        let headers = [&name, b"V".as_slice(), b"\x01nV"].concat();
        let size = u32::try_from(headers.len()).unwrap().to_be_bytes();
        let header = [&[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0x20, 0x80][..], &size, &headers, &name].concat();
        vec![frame(1, &deliver), frame(2, &header), frame(3, body), frame(8, b"")]
    }

    #[test]
    fn every_frame_can_be_read_and_bodies_are_not_touched() {
        let mut bytes: Vec<u8> = delivery(b"\xff\xfe", b"\xff\xfe").concat();
        let count = bytes.len();
        assert_eq!(FrameFilter::new(None).repair(&mut bytes), count);
        let shown = String::from_utf8_lossy(&bytes).into_owned();
        assert_eq!(shown.matches("??").count(), 3, "{shown:?}");
        assert!(bytes.windows(2).any(|pair| pair == b"\xff\xfe"), "the body");
    }

    #[test]
    fn frame_beyond_what_was_agreed_upon_loses_its_largest_headers() {
        let mut stream = FrameFilter::new(None);
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
        assert_eq!(FrameFilter::new(None).repair(&mut bytes), before.len());
        assert_eq!(bytes, before);
    }
}
