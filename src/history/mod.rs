//! The history service: users, messages and turns in PostgreSQL.

mod close_turn;
mod connection;
mod conversation;
mod open_turn;
mod postgres;
mod running_turn;
mod tidy_up;

use std::time::Duration;

use worker::Env;

pub use close_turn::{ClosedTurn, TurnState};
use connection::Connection;
pub use connection::HistoryError;
pub use conversation::Erased;
pub use open_turn::{Earlier, NewTurn, OpenedTurn};
pub use running_turn::{ReopenedTurn, SIGN_OF_LIFE, WatchedTurn};
pub use tidy_up::Forgotten;

/// The history of all visitors, seen through one connection.
pub struct History(Connection);

impl History {
    /// Finds the database; nothing is sent yet.
    pub fn new(env: &Env, timeout: Duration) -> Result<Self, HistoryError> {
        Connection::new(env, timeout).map(Self)
    }

    /// Whether the database answers and has this service's tables and functions.
    pub async fn check(&self) -> Result<(), HistoryError> {
        self.0.run(include_str!("check.sql"), &[]).await.map(|_| ())
    }
}
