use crate::publication::{FileReport, MessageReport};
use crate::terminal::{Table, counted, if_it_fits};

/// Of one message.
pub(super) fn of_message(report: &MessageReport) -> Table {
    let id = report.message_id.map(|id| id.to_string()).unwrap_or_default();
    Table::new(["message".into(), if_it_fits("routing key"), if_it_fits("exchange")])
        .row([id, report.routing_key.clone(), report.exchange.clone()])
        .footer("1 message published and confirmed")
}

/// Of a file of messages.
pub(super) fn of_file(report: &FileReport) -> Table {
    Table::new(["exchange", "confirmed"])
        .row([report.exchange.clone(), report.confirmed.to_string()])
        .footer(format!("{} published and confirmed", counted(report.confirmed, "message")))
}
