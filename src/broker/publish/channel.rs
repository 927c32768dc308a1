use lapin::options::ConfirmSelectOptions;
use lapin::{Channel, Connection};

use crate::broker::connection::address::BrokerAddress;
use crate::broker::connection::connect::{answer, close, close_channel, connect_as, open_channel};
use crate::broker::error::BrokerError;

/// A connection for publishing, with its one channel in confirm mode.
pub(super) struct ConfirmChannel {
    connection: Connection,
    channel: Channel,
}

impl ConfirmChannel {
    /// Connects under a name that the broker lists.
    pub(super) async fn open(address: &BrokerAddress, name: &str) -> Result<Self, BrokerError> {
        Self::on(connect_as(address, name).await?).await
    }

    async fn on(connection: Connection) -> Result<Self, BrokerError> {
        let channel = open_channel(&connection).await?;
        answer("ask for confirms", channel.confirm_select(ConfirmSelectOptions::default())).await?;
        Ok(Self { connection, channel })
    }

    pub(super) const fn channel(&self) -> &Channel {
        &self.channel
    }

    pub(super) fn is_open(&self) -> bool {
        self.channel.status().connected()
    }

    /// Another channel on the same connection.
    pub(super) async fn reopen(self) -> Result<Self, BrokerError> {
        close_channel(&self.channel).await?;
        Self::on(self.connection).await
    }

    pub(super) async fn close(self) {
        close(&self.connection).await;
    }
}
