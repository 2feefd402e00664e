use diesel_async::AsyncPgConnection;

use super::Connection;

/// What a read and a write have in common: the queries. Each noun's file adds its own; those that
/// change something are on [`super::Write`] alone.
pub struct Transaction {
    connection: Connection,
}

impl Transaction {
    pub(super) fn new(connection: Connection) -> Self {
        Self { connection }
    }

    pub(super) fn connection(&mut self) -> &mut AsyncPgConnection {
        &mut self.connection
    }
}
