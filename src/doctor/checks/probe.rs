use crate::broker::{BrokerAddress, Outgoing, PublishError, Publisher, Topology};
use crate::doctor::check_id::RabbitmqCheck;
use crate::doctor::finding::Finding;

/// Sends a status that ends no event.
pub(in crate::doctor) async fn probe_exchange(address: &BrokerAddress, topology: &Topology) -> Finding {
    match publish(address, Outgoing::status_probe(topology.exchange())).await {
        Ok(()) => Finding::ok(RabbitmqCheck::ProbeExchange, "a queue takes what is published to the exchange"),
        Err(error) => failed(
            RabbitmqCheck::ProbeExchange,
            &error,
            "bind the worker's queue with event.status.# (`run` does, with LIFECYCLE_TOPOLOGY=declare)",
        ),
    }
}

/// Sends a message that expires at once in the dead-letter queue.
pub(in crate::doctor) async fn probe_dead_letters(address: &BrokerAddress, topology: &Topology) -> Finding {
    match publish(address, Outgoing::dead_letter_probe(&topology.dead_letter_exchange())).await {
        Ok(()) => Finding::ok(RabbitmqCheck::ProbeDeadLetters, "the dead-letter queue takes messages"),
        Err(error) => failed(
            RabbitmqCheck::ProbeDeadLetters,
            &error,
            "bind the dead-letter queue to its exchange, and remove its limit (a policy's max-length)",
        ),
    }
}

async fn publish(address: &BrokerAddress, message: Outgoing) -> Result<(), PublishError> {
    let publisher = Publisher::new(address.clone());
    let answers = publisher.publish(&[&message]).await;
    publisher.close().await;
    answers.into_iter().collect()
}

/// `otherwise` is the fix where the exchange takes messages and no queue does.
fn failed(check: RabbitmqCheck, error: &PublishError, otherwise: &str) -> Finding {
    let fix = match error {
        PublishError::Rejected(_) => {
            "declare the exchange if it is missing, and let the user write to it, or run the probe as a user who may"
        }
        PublishError::Unconfirmed(_) => {
            "check whether RabbitMQ is short of memory or disk (rabbitmqctl status: alarms)"
        }
        _ => otherwise,
    };
    Finding::failed(check, error.to_string(), fix)
}
