use lapin::options::BasicAckOptions;
use lapin::{Acker, BasicProperties};

use crate::broker::connection::connect::answer;
use crate::broker::headers;
use crate::broker::topology::names::Topology;
use crate::message::{Envelope, TraceContext};

/// One unacknowledged message.
///
/// Dropped without an acknowledgement it returns to the queue when its channel ends.
pub struct Delivery {
    pub(in crate::broker) exchange: String,
    pub(in crate::broker) routing_key: String,
    pub(in crate::broker) properties: BasicProperties,
    /// The broker's flag: it has delivered the message before.
    redelivered: bool,
    body: Vec<u8>,
    tag: u64,
    acker: Acker,
}

impl Delivery {
    pub(in crate::broker) fn from_lapin(delivery: lapin::message::Delivery) -> Self {
        Self {
            exchange: delivery.exchange.to_string(),
            routing_key: delivery.routing_key.to_string(),
            properties: delivery.properties,
            redelivered: delivery.redelivered,
            body: delivery.data,
            tag: delivery.delivery_tag,
            acker: delivery.acker,
        }
    }

    /// The bytes as they came.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Its number on its channel: 1, 2, 3, …
    #[must_use]
    pub const fn tag(&self) -> u64 {
        self.tag
    }

    /// The properties that describe the body.
    #[must_use]
    pub fn envelope(&self) -> Envelope {
        Envelope {
            timestamp: *self.properties.timestamp(),
            message_id: self.properties.message_id().as_ref().map(ToString::to_string),
            content_type: self.properties.content_type().as_ref().map(ToString::to_string),
            content_encoding: self.properties.content_encoding().as_ref().map(ToString::to_string),
        }
    }

    /// Where it comes from, in a trace: what the publisher wrote, kept by retry copies, dead letters and replays.
    #[must_use]
    pub fn trace_context(&self) -> Option<TraceContext> {
        headers::trace_context(self.properties.headers().as_ref())
    }

    /// Which attempt this is; the first is 1. The header counts only on what comes out of our own wait queues: a dead letter that somebody
    /// moved back by hand starts over.
    #[must_use]
    pub fn attempt(&self, topology: &Topology) -> u32 {
        if self.exchange != topology.retry_exchange() {
            return 1;
        }
        headers::count(self.properties.headers().as_ref(), headers::ATTEMPT)
            .map_or(1, |failed| failed.saturating_add(1))
    }

    /// How often it was delivered before and returned, as the broker counts for the delivery limit. Some versions write no count at the
    /// first delivery, where a publisher's own header then stays: so it is read only of a redelivered message, where every version has
    /// overwritten it.
    pub(in crate::broker) fn deliveries(&self) -> u32 {
        if !self.redelivered {
            return 0;
        }
        headers::count(self.properties.headers().as_ref(), "x-delivery-count").unwrap_or_default()
    }

    /// Acknowledges this message and, with `multiple`, every earlier one on its channel that is not settled yet.
    ///
    /// # Errors
    /// When the channel has ended.
    pub async fn ack(&self, multiple: bool) -> Result<(), ChannelGone> {
        let options = BasicAckOptions { multiple };
        // Bounded, because lapin (4.12.3) may never answer where the connection ends meanwhile: its task ends without reading what was
        // sent to it last.
        match answer("acknowledge", self.acker.ack(options)).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(ChannelGone("the channel has ended".to_owned())),
            Err(error) => Err(ChannelGone(error.one_line())),
        }
    }
}

/// An acknowledgement that cannot reach the broker, which will deliver again what was unacknowledged on the channel.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ChannelGone(String);

#[cfg(test)]
mod tests {
    use super::*;
    use lapin::types::{AMQPValue, FieldTable};

    #[test]
    fn count_of_deliveries_is_the_publishers_where_the_broker_has_not_redelivered() {
        for (redelivered, counted) in [(false, 0), (true, 7)] {
            let mut headers = FieldTable::default();
            headers.insert("x-delivery-count".into(), AMQPValue::LongLongInt(7));
            let properties = BasicProperties::default().with_headers(headers);
            let came = lapin::message::Delivery::mock(1, "e".into(), "k".into(), redelivered, Vec::new());
            let delivery = Delivery::from_lapin(lapin::message::Delivery { properties, ..came });
            assert_eq!(delivery.deliveries(), counted);
        }
    }
}
