//! One connection to PostgreSQL through Hyperdrive, for the length of a request.
//!
//! Every statement is unnamed, one round trip, safe to repeat, and returns at most one row: Hyperdrive pools by
//! transaction, and answers of several rows are reported to break there (workers-sdk issues 13797 and 13798).

use std::{cell::RefCell, time::Duration};

use thiserror::Error;
use worker::{Env, Hyperdrive};

use super::postgres::{self, Param, Row, Session};
use crate::{js::timeout, settings::HYPERDRIVE};

/// Why a statement had no effect that we know of. The messages are for the log and hold no data.
#[derive(Debug, Error)]
pub enum HistoryError {
    /// The deployment has no Hyperdrive binding, or it cannot be used.
    #[error("the Hyperdrive binding cannot be used: {0}")]
    Binding(#[from] worker::Error),
    /// No connection, or it broke.
    #[error("the connection to the database failed")]
    Connection(#[source] postgres::Error),
    /// The database refused the statement.
    #[error("the database refused the statement: SQLSTATE {0}")]
    Refused(String),
    /// No answer within `DATABASE_TIMEOUT_MS`.
    #[error("the database did not answer in time")]
    Timeout,
    /// Somebody is at work on the turn; a later try will see what became of it.
    #[error("the turn is being worked on")]
    Busy,
    /// The visitor had everything erased after they wrote this.
    #[error("the visitor is erased")]
    Erased,
    /// An answer of another shape than the statement's.
    #[error("the database gave an unexpected answer")]
    Unexpected,
}

impl HistoryError {
    /// Whether the same statement may succeed on a fresh connection.
    fn is_transient(&self) -> bool {
        match self {
            Self::Connection(_) | Self::Timeout => true,
            Self::Refused(state) => {
                // Connection exceptions, a row that somebody else has just deleted or made, serialization failures and
                // deadlocks, too many connections, shutdowns and restarts.
                ["08", "23503", "23505", "40", "53", "57P"].iter().any(|class| state.starts_with(class))
            }
            Self::Binding(_) | Self::Busy | Self::Erased | Self::Unexpected => false,
        }
    }
}

impl From<postgres::Error> for HistoryError {
    fn from(error: postgres::Error) -> Self {
        match error {
            postgres::Error::Refused(state) => Self::Refused(state),
            postgres::Error::Shape => Self::Unexpected,
            error => Self::Connection(error),
        }
    }
}

/// Connects when it is first needed and keeps the connection for the next statement.
pub struct Connection {
    hyperdrive: Hyperdrive,
    timeout: Duration,
    session: RefCell<Option<Session>>,
}

impl Connection {
    /// Finds the binding; nothing is sent yet.
    pub fn new(env: &Env, timeout: Duration) -> Result<Self, HistoryError> {
        let hyperdrive = env.hyperdrive(HYPERDRIVE)?;
        Ok(Self { hyperdrive, timeout, session: RefCell::new(None) })
    }

    /// Runs a statement and returns its row, if it gave one. After a transient error it is repeated once, on a fresh
    /// connection.
    pub async fn run(&self, statement: &str, params: &[Param<'_>]) -> Result<Option<Row>, HistoryError> {
        match self.attempt(statement, params).await {
            Err(error) if error.is_transient() => self.attempt(statement, params).await,
            outcome => outcome,
        }
    }

    async fn attempt(&self, statement: &str, params: &[Param<'_>]) -> Result<Option<Row>, HistoryError> {
        let work = async {
            let mut session = match self.session.take().and_then(Session::if_alive) {
                Some(session) => session,
                None => Session::connect(&self.hyperdrive).await?,
            };
            let row = session.query(statement, params).await?;
            // Only a connection that has just worked is kept.
            self.session.replace(Some(session));
            Ok(row)
        };
        timeout(self.timeout, work).await.unwrap_or(Err(HistoryError::Timeout))
    }
}
