//! An acknowledgement that is sent while its connection ends. lapin (4.12.3) may leave it without an answer for ever: the task that would
//! answer has ended, and what is still in its queue is never dropped.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::poll;
use secrecy::SecretString;
use snapshot_lifecycle::broker::{BrokerAddress, Subscription, Topology};
use snapshot_lifecycle::config::TopologyMode;
use tokio::task::{spawn_blocking, yield_now};
use tokio::time::timeout;

use crate::support::{Network, Proxy, World, host_of};

const MESSAGES: usize = 100;

/// Consumes, and acknowledges one message after the other while the connection is cut. Tells when it consumes and when it has all.
///
/// lapin's task runs on the one thread of the runtime, and each time it is woken something else has just begun there, as in a worker on
/// a busy machine. So some acknowledgements are sent after the connection has ended and before lapin's task knows.
fn acknowledge_meanwhile(address: &BrokerAddress, topology: &Topology, step: &Sender<()>, cut: &Receiver<()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let mut subscription = Subscription::open(address, topology, 1_000).await.unwrap();
        step.send(()).unwrap();
        let mut deliveries = Vec::new();
        while deliveries.len() < MESSAGES {
            deliveries.extend(subscription.next_batch(MESSAGES).await.unwrap());
            subscription.raise_prefetch(true).await.unwrap();
        }
        step.send(()).unwrap();
        cut.recv().unwrap();
        let busy = tokio::spawn(async {
            loop {
                thread::sleep(Duration::from_millis(100));
                yield_now().await;
            }
        });
        let mut acknowledgements = Vec::new();
        for delivery in &deliveries {
            let mut acknowledgement = Box::pin(delivery.ack(false));
            match poll!(&mut acknowledgement) {
                std::task::Poll::Ready(_) => {}
                std::task::Poll::Pending => acknowledgements.push(acknowledgement),
            }
            thread::sleep(Duration::from_millis(10));
        }
        busy.abort();
        assert!(!acknowledgements.is_empty(), "the runtime was not busy");
        let answers = timeout(Duration::from_mins(1), join_all(acknowledgements)).await;
        answers.expect("each acknowledgement has an answer, be it an error");
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_acknowledgement_has_an_answer_while_its_connection_ends() {
    let world = World::new().await;
    let proxy = Proxy::before(host_of(&world.servers.amqp_url)).await;
    let address = BrokerAddress::parse(Some(&SecretString::from(proxy.url(&world.servers.amqp_url)))).unwrap();
    let topology = Topology::new(world.exchange.clone(), world.queue.clone(), TopologyMode::Declare);
    let (step, steps) = channel();
    let (tell_cut, cut) = channel();
    let worker = spawn_blocking(move || acknowledge_meanwhile(&address, &topology, &step, &cut));
    let steps = spawn_blocking(move || steps.recv().map(|()| steps).unwrap()).await.unwrap();
    let bodies: Vec<_> = (0..MESSAGES).map(|n| format!("message {n}").into_bytes()).collect();
    world.publish_raw(&bodies).await;
    spawn_blocking(move || steps.recv().unwrap()).await.unwrap();
    tell_cut.send(()).unwrap();
    proxy.set(Network::Cut);
    worker.await.unwrap();
}
