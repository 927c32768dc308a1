/// What the AMQP properties say beside the body. Where both have a value, the body's is used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Envelope {
    /// The property `timestamp`: whole seconds since 1970.
    pub timestamp: Option<u64>,
    /// The property `message_id`. Other frameworks put any text there, so what is not a UUID is ignored.
    pub message_id: Option<String>,
    /// The property `content_type`; only used in the error where the body is not JSON.
    pub content_type: Option<String>,
    /// The property `content_encoding`; likewise.
    pub content_encoding: Option<String>,
}
