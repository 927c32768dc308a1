use std::time::Duration;

use secrecy::SecretString;
use tokio::sync::OnceCell;
use tokio::time::timeout;

use super::check_id::{CheckId, RabbitmqCheck};
use super::checks::connection::{rabbitmq_not_connected, unusable_url};
use super::checks::delivery_limit::delivery_limit;
use super::checks::encryption::rabbitmq_encryption;
use super::checks::permissions::permissions;
use super::checks::probe::{probe_dead_letters, probe_exchange};
use super::checks::queues::{consumers, dead_letters};
use super::checks::topology::{drift, exchange};
use super::checks::version::{NEWEST, parsed, rabbitmq_version};
use super::expectations::BrokerExpectations;
use super::finding::Finding;
use crate::broker::{BrokerAddress, BrokerError, Comparison, Greeting, Inspection, QueueState, greeting};
use crate::config::TopologyMode;

/// For all checks together; each request has ten seconds.
const TIMEOUT: Duration = Duration::from_mins(1);

/// Checks the broker.
pub async fn examine_rabbitmq(url: Option<&SecretString>, expected: BrokerExpectations) -> Vec<Finding> {
    let address = match BrokerAddress::parse(url) {
        Ok(address) => address,
        Err(error) => return vec![unusable_url(RabbitmqCheck::Url, &error)],
    };
    let examination = RabbitmqExamination {
        address,
        expected,
        greeting: OnceCell::new(),
        inspection: OnceCell::new(),
        work_queue: OnceCell::new(),
        topology: OnceCell::new(),
    };
    let findings = examination.run().await;
    if let Some(inspection) = examination.inspection.into_inner() {
        inspection.close().await;
    }
    findings
}

/// The checks and the facts that several of them need, each read once.
struct RabbitmqExamination {
    address: BrokerAddress,
    expected: BrokerExpectations,
    greeting: OnceCell<Result<Greeting, BrokerError>>,
    inspection: OnceCell<Inspection>,
    /// `None` where the queue does not exist or may not be read.
    work_queue: OnceCell<Option<QueueState>>,
    /// The worker's own exchanges and queues, by name.
    topology: OnceCell<Vec<(String, Comparison)>>,
}

impl RabbitmqExamination {
    async fn run(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let checks = async {
            for check in RabbitmqCheck::ALL {
                match self.check(check).await {
                    Ok(found) => findings.extend(found),
                    Err(error) => {
                        let fix = "see what RabbitMQ says, and try again";
                        findings.push(Finding::failed(check, error.one_line(), fix));
                        break;
                    }
                }
                if findings.last().is_some_and(|finding| finding.check.is_whole_server()) {
                    break;
                }
            }
        };
        // What was found is kept when time runs out.
        if timeout(TIMEOUT, checks).await.is_err() {
            findings.push(Finding::failed(
                CheckId::WholeRabbitmq,
                format!("the checks did not end within {TIMEOUT:?}"),
                "the broker is very slow or does not answer; try again",
            ));
        }
        findings
    }

    /// Makes one check. A finding of [`CheckId::WholeRabbitmq`] is the last one: the checks after it need what is missing.
    async fn check(&self, check: RabbitmqCheck) -> Result<Vec<Finding>, BrokerError> {
        let BrokerExpectations { topology, mode, publishes, probe } = &self.expected;
        Ok(match check {
            // An unusable one has ended the checks before.
            RabbitmqCheck::Url => vec![],
            RabbitmqCheck::Tls => self.encryption().await,
            RabbitmqCheck::Version => self.version().await,
            RabbitmqCheck::Connection => self.connection().await,
            RabbitmqCheck::Exchange => {
                let consumed = self.is_consumed().await?;
                vec![exchange(topology, &self.inspection().await?.exchange().await?, *mode, consumed)]
            }
            RabbitmqCheck::Topology => drift(self.topology().await?, *mode, self.is_consumed().await?),
            RabbitmqCheck::DeliveryLimit => {
                let version = self.greeting().await.map_or(NEWEST, |greeting| parsed(&greeting.version));
                vec![delivery_limit(topology, self.topology().await?, version)]
            }
            RabbitmqCheck::Permissions => {
                let inspection = self.inspection().await?;
                let mut forbidden = inspection.missing_permissions(*mode == TopologyMode::Declare).await?;
                if *publishes && !inspection.may_publish(topology.exchange()).await? {
                    forbidden.push(format!("write to exchange {}, where the outbox is published", topology.exchange()));
                }
                vec![permissions(&forbidden, &self.address, &self.expected)]
            }
            RabbitmqCheck::Consumers => vec![consumers(topology, self.work_queue().await?)],
            RabbitmqCheck::DeadLetters => {
                let inspection = self.inspection().await?;
                let queue = inspection.state(&topology.dead_letter_queue()).await?;
                vec![dead_letters(topology, queue, inspection.dead_letters_are_locked().await?)]
            }
            RabbitmqCheck::ProbeExchange => {
                if *probe {
                    vec![probe_exchange(&self.address, topology).await]
                } else {
                    vec![]
                }
            }
            RabbitmqCheck::ProbeDeadLetters => {
                if *probe {
                    vec![probe_dead_letters(&self.address, topology).await]
                } else {
                    vec![]
                }
            }
        })
    }

    async fn encryption(&self) -> Vec<Finding> {
        // An encrypted connection shows only when it is made that the certificate is the server's.
        vec![if self.address.is_encrypted() && self.greeting().await.is_err() {
            Finding::skipped(RabbitmqCheck::Tls, "not known without a connection")
        } else {
            rabbitmq_encryption(&self.address)
        }]
    }

    async fn version(&self) -> Vec<Finding> {
        match self.greeting().await {
            Ok(greeting) => vec![rabbitmq_version(greeting)],
            Err(error) => vec![
                rabbitmq_not_connected(error),
                Finding::skipped(CheckId::WholeRabbitmq, "everything else needs a connection"),
            ],
        }
    }

    async fn connection(&self) -> Vec<Finding> {
        match self.inspection().await {
            Ok(_) => vec![Finding::ok(
                RabbitmqCheck::Connection,
                format!("RabbitMQ at {} accepts the login", self.address.host()),
            )],
            Err(error) => vec![
                rabbitmq_not_connected(&error),
                Finding::skipped(CheckId::WholeRabbitmq, "everything else needs a login"),
            ],
        }
    }

    async fn greeting(&self) -> Result<&Greeting, &BrokerError> {
        self.greeting.get_or_init(|| greeting(&self.address)).await.as_ref()
    }

    async fn inspection(&self) -> Result<&Inspection, BrokerError> {
        self.inspection.get_or_try_init(|| Inspection::open(&self.address, self.expected.topology.clone())).await
    }

    async fn work_queue(&self) -> Result<Option<QueueState>, BrokerError> {
        let state = async || self.inspection().await?.state(self.expected.topology.queue()).await;
        self.work_queue.get_or_try_init(state).await.copied()
    }

    /// Whether a worker runs, so that everything should exist.
    async fn is_consumed(&self) -> Result<bool, BrokerError> {
        Ok(self.work_queue().await?.is_some_and(|queue| queue.consumers > 0))
    }

    async fn topology(&self) -> Result<&Vec<(String, Comparison)>, BrokerError> {
        let compare = async || {
            let inspection = self.inspection().await?;
            let mut compared = Vec::new();
            for (name, how) in inspection.own_exchanges().await? {
                compared.push((format!("exchange {name}"), how));
            }
            for (name, how) in inspection.queues().await? {
                compared.push((format!("queue {name}"), how));
            }
            Ok(compared)
        };
        self.topology.get_or_try_init(compare).await
    }
}
