use std::fmt;
use std::str::FromStr;

/// Where a message comes from, in a trace: the W3C trace context, whose two texts are the AMQP headers `traceparent` and `tracestate`.
///
/// <https://www.w3.org/TR/trace-context/>
///
/// ```
/// use snapshot_lifecycle::TraceContext;
///
/// let context: TraceContext = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse()?;
/// assert!(context.is_sampled());
/// assert_eq!(context.trace_id(), 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c);
/// assert_eq!(context.to_string(), "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
/// # Ok::<(), snapshot_lifecycle::InvalidTraceContext>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TraceContext {
    trace_id: u128,
    span_id: u64,
    flags: u8,
    state: Option<String>,
}

/// A `traceparent` of version 00, in bytes.
const LENGTH: usize = 55;
/// What must at least be passed on of a `tracestate`; one that is longer is left out.
const MAX_STATE_BYTES: usize = 512;

impl TraceContext {
    /// Adds a `tracestate`. One that is empty, longer than 512 bytes or no printable ASCII is left out, which the standard allows.
    #[must_use]
    pub fn with_state(mut self, state: &str) -> Self {
        let fits =
            (1..=MAX_STATE_BYTES).contains(&state.len()) && state.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        self.state = fits.then(|| state.to_owned());
        self
    }

    /// 16 bytes, not zero.
    #[must_use]
    pub const fn trace_id(&self) -> u128 {
        self.trace_id
    }

    /// The span that the message was published in: 8 bytes, not zero.
    #[must_use]
    pub const fn span_id(&self) -> u64 {
        self.span_id
    }

    /// The eight flags; the lowest is [`is_sampled`](Self::is_sampled).
    #[must_use]
    pub const fn flags(&self) -> u8 {
        self.flags
    }

    /// Whether the publisher's own span may have been recorded.
    #[must_use]
    pub const fn is_sampled(&self) -> bool {
        self.flags & 1 == 1
    }

    /// The `tracestate`.
    #[must_use]
    pub fn state(&self) -> Option<&str> {
        self.state.as_deref()
    }
}

impl fmt::Display for TraceContext {
    /// The `traceparent`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, self.flags)
    }
}

impl FromStr for TraceContext {
    type Err = InvalidTraceContext;

    /// Reads a `traceparent` of version 00: lower case, and neither id zero.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = text.as_bytes();
        let trace_id = number(bytes, 3, 32);
        let span_id = number(bytes, 36, 16).and_then(|number| u64::try_from(number).ok());
        let flags = number(bytes, 53, 2).and_then(|number| u8::try_from(number).ok());
        let dashes = [2, 35, 52].iter().all(|at| bytes.get(*at) == Some(&b'-'));
        match (trace_id, span_id, flags) {
            (Some(trace_id @ 1..), Some(span_id @ 1..), Some(flags))
                if bytes.len() == LENGTH && bytes.starts_with(b"00") && dashes =>
            {
                Ok(Self { trace_id, span_id, flags, state: None })
            }
            _ => Err(InvalidTraceContext),
        }
    }
}

/// The number that these digits are, hexadecimal and in lower case.
fn number(bytes: &[u8], from: usize, digits: usize) -> Option<u128> {
    let mut number = 0;
    for byte in bytes.get(from..from + digits)? {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => return None,
        };
        number = number << 4 | u128::from(digit);
    }
    Some(number)
}

/// A text that is no `traceparent` of version 00.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no traceparent; allowed: 00-, 32 digits, -, 16 digits, -, 2 digits, all hexadecimal in lower case")]
#[non_exhaustive]
pub struct InvalidTraceContext;

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn traceparent_is_read_and_written() {
        let context: TraceContext = GOOD.parse().unwrap();
        assert_eq!((context.span_id(), context.flags()), (0xb7ad_6b71_6920_3331, 1));
        assert_eq!(context.to_string(), GOOD);
        let other: TraceContext = "00-00000000000000000000000000000001-000000000000000a-fe".parse().unwrap();
        assert_eq!((other.trace_id(), other.span_id(), other.is_sampled()), (1, 10, false));
        assert_eq!(other.to_string(), "00-00000000000000000000000000000001-000000000000000a-fe");
    }

    #[test]
    fn what_is_no_traceparent_is_refused() {
        for text in [
            "",
            "00",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0g",
            "00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331_01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0",
            " 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333é-01",
        ] {
            assert_eq!(text.parse::<TraceContext>(), Err(InvalidTraceContext), "{text}");
        }
    }

    #[test]
    fn state_is_kept_where_it_may_be_passed_on() {
        let with = |state: &str| GOOD.parse::<TraceContext>().unwrap().with_state(state);
        assert_eq!(with("vendor=a,other=b").state(), Some("vendor=a,other=b"));
        assert_eq!(with(&"a".repeat(512)).state(), Some("a".repeat(512).as_str()));
        for state in ["", "line\nbreak", "naïve", &"a".repeat(513)] {
            assert_eq!(with(state).state(), None, "{state}");
        }
    }
}
