use lapin::ExchangeKind;
use serde::Serialize;
use serde_json::{Map, Value};

use super::names::Topology;
use super::plan::{own_exchanges, planned_queues};
use crate::broker::table_json::table_json;

/// The topology in the form that RabbitMQ imports (`rabbitmqctl import_definitions`, `load_definitions`): what `declare` declares, for
/// those who do not let the worker do it.
#[derive(Debug, Serialize)]
pub struct Definitions {
    /// Only the one of the rest: a node that imports at its first start makes none of its own.
    pub vhosts: [VhostDefinition; 1],
    /// The backend's, then the worker's own.
    pub exchanges: Vec<ExchangeDefinition>,
    /// In the order of declaring.
    pub queues: Vec<QueueDefinition>,
    /// Of each queue.
    pub bindings: Vec<BindingDefinition>,
}

/// A virtual host.
#[derive(Debug, Serialize)]
pub struct VhostDefinition {
    name: String,
}

/// An exchange.
#[derive(Debug, Serialize)]
pub struct ExchangeDefinition {
    /// Its name.
    pub name: String,
    vhost: String,
    /// How it routes.
    #[serde(rename = "type")]
    pub kind: String,
    durable: bool,
    auto_delete: bool,
    internal: bool,
    arguments: Map<String, Value>,
}

/// A queue.
#[derive(Debug, Serialize)]
pub struct QueueDefinition {
    /// Its name.
    pub name: String,
    vhost: String,
    durable: bool,
    auto_delete: bool,
    /// Its type among them.
    pub arguments: Map<String, Value>,
}

/// A binding of a queue to an exchange.
#[derive(Debug, Serialize)]
pub struct BindingDefinition {
    /// The exchange.
    pub source: String,
    vhost: String,
    /// The queue.
    pub destination: String,
    destination_type: &'static str,
    /// By which the exchange routes.
    pub routing_key: &'static str,
    arguments: Map<String, Value>,
}

impl Definitions {
    /// Of this topology in this vhost.
    #[must_use]
    pub fn of(topology: &Topology, vhost: &str) -> Self {
        let backends = (topology.exchange().to_owned(), ExchangeKind::Topic);
        let exchanges = [backends].into_iter().chain(own_exchanges(topology)).map(|(name, kind)| ExchangeDefinition {
            name,
            vhost: vhost.to_owned(),
            kind: name_of(kind),
            durable: true,
            auto_delete: false,
            internal: false,
            arguments: Map::new(),
        });
        let mut definitions = Self {
            vhosts: [VhostDefinition { name: vhost.to_owned() }],
            exchanges: exchanges.collect(),
            queues: Vec::new(),
            bindings: Vec::new(),
        };
        for queue in planned_queues(topology) {
            definitions.bindings.extend(queue.bindings.into_iter().map(|(source, routing_key)| BindingDefinition {
                source,
                vhost: vhost.to_owned(),
                destination: queue.name.clone(),
                destination_type: "queue",
                routing_key,
                arguments: Map::new(),
            }));
            definitions.queues.push(QueueDefinition {
                name: queue.name,
                vhost: vhost.to_owned(),
                durable: true,
                auto_delete: false,
                arguments: table_json(&queue.arguments),
            });
        }
        definitions
    }
}

/// As RabbitMQ writes it.
fn name_of(kind: ExchangeKind) -> String {
    match kind {
        ExchangeKind::Topic => "topic".to_owned(),
        ExchangeKind::Fanout => "fanout".to_owned(),
        ExchangeKind::Direct => "direct".to_owned(),
        ExchangeKind::Headers => "headers".to_owned(),
        ExchangeKind::Custom(name) => name,
    }
}
