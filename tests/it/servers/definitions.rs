//! Exchanges and queues that somebody else imports, as deploy/rabbitmq/definitions.json: the worker uses them as its own.

use crate::support::{finish, on_a_terminal, program};

const SHIPPED: &str = include_str!("../../../deploy/rabbitmq/definitions.json");

#[test]
fn shipped_definitions_are_what_the_command_prints() {
    let printed = finish(program(&["topology", "--output", "json"]));
    assert_eq!((printed.code, printed.stdout.as_str()), (0, SHIPPED), "write the file again by this command");
}

#[test]
fn table_names_each_exchange_and_queue_and_fits_a_terminal() {
    let (code, shown) = on_a_terminal(80, &program(&["topology", "--exchange", "bookings", "--queue", "tidy"]));
    assert_eq!(code, 0, "{shown}");
    for name in ["bookings", "tidy", "tidy.dlx", "tidy.retry", "tidy.dead-letter", "tidy.wait.10m"] {
        assert!(shown.lines().any(|line| line.split_whitespace().nth(1) == Some(name)), "{name}: {shown}");
    }
    assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
}
