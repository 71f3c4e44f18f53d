//! The history service: users, messages and turns in PostgreSQL.

mod close_turn;
mod connection;
mod open_turn;
mod running_turn;

use std::{rc::Rc, time::Duration};

use worker::{Context, Env};

pub use close_turn::{ClosedTurn, TurnState};
use connection::Connection;
pub use connection::HistoryError;
pub use open_turn::{NewTurn, OpenedTurn};
pub use running_turn::{RepeatedTurn, SIGN_OF_LIFE, WatchedTurn};

/// The history of all visitors, seen through one connection.
pub struct History(Connection);

impl History {
    /// Finds the database; nothing is sent yet.
    pub fn new(env: &Env, context: &Rc<Context>, timeout: Duration) -> Result<Self, HistoryError> {
        Connection::new(env, context, timeout).map(Self)
    }

    /// Whether the database answers and has this service's tables.
    pub async fn check(&self) -> Result<(), HistoryError> {
        self.0.run("SELECT EXISTS (SELECT FROM chat_turns)", &[]).await.map(|_| ())
    }
}
