use diesel_async::AsyncPgConnection;

use super::Connection;

/// What a read and a write have in common: the queries. Each noun's file adds its own; those that
/// change something are on [`super::Write`] alone.
pub struct Transaction {
    connection: Connection,
    as_administrator: bool,
}

impl Transaction {
    pub(super) fn new(connection: Connection) -> Self {
        Self { connection, as_administrator: false }
    }

    /// Notes that the actor may do this only as an administrator of the organization: what is
    /// written is audited as such (DIR-7).
    pub fn note_administrator(&mut self) {
        self.as_administrator = true;
    }

    pub(super) fn as_administrator(&self) -> bool {
        self.as_administrator
    }

    pub(super) fn connection(&mut self) -> &mut AsyncPgConnection {
        &mut self.connection
    }
}
