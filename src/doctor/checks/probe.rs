use crate::broker::{BrokerAddress, Outgoing, PublishError, Publisher, Topology};
use crate::doctor::Finding;

/// Sends what ends no event, and what the dead-letter queue forgets.
pub(in crate::doctor) async fn probe(address: &BrokerAddress, topology: &Topology) -> Vec<Finding> {
    let publisher = Publisher::new(address.clone());
    let status = Outgoing::status_probe(topology.exchange());
    let letter = Outgoing::dead_letter_probe(&topology.dead_letter_exchange());
    let mut answers = publisher.publish(&[&status]).await;
    answers.extend(publisher.publish(&[&letter]).await);
    publisher.close().await;
    let checks = [
        (
            "rabbitmq.probe.exchange",
            "a queue takes what is published to the exchange",
            "bind the worker's queue with event.status.# (`run` does, with LIFECYCLE_TOPOLOGY=declare)",
        ),
        (
            "rabbitmq.probe.dead_letters",
            "the dead-letter queue has room",
            "bind the dead-letter queue to its exchange, and lift what limits it (a policy's max-length)",
        ),
    ];
    let findings = checks.into_iter().zip(answers).map(|((check, well, mend), answer)| match answer {
        Ok(()) => Finding::ok(check, well),
        Err(error @ PublishError::Rejected(_)) => Finding::failed(
            check,
            error.to_string(),
            "make the exchange where it is missing, and let the user write to it, or run the probe as a user who may",
        ),
        Err(error @ PublishError::Unconfirmed(_)) => Finding::failed(
            check,
            error.to_string(),
            "see whether RabbitMQ is short of memory or disk (rabbitmqctl status: alarms)",
        ),
        Err(error) => Finding::failed(check, error.to_string(), mend),
    });
    findings.collect()
}
