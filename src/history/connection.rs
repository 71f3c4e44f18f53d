//! One connection to PostgreSQL through Hyperdrive, for the length of a request.
//!
//! Every statement is unnamed, one round trip, safe to repeat, and returns at most one row: Hyperdrive pools by
//! transaction, and answers of several rows are reported to break there (workers-sdk issues 13797 and 13798).

use std::{cell::RefCell, rc::Rc, time::Duration};

use futures::future::{AbortHandle, LocalBoxFuture, abortable};
use thiserror::Error;
use tokio_postgres::{
    Client, Config, NoTls, Row,
    error::SqlState,
    types::{ToSql, Type},
};
use worker::{Context, Env, Hyperdrive, ScheduleContext};

use crate::{js::timeout, settings::HYPERDRIVE};

/// Why a statement had no effect that we know of. The messages are for the log and hold no data.
#[derive(Debug, Error)]
pub enum HistoryError {
    /// The deployment has no Hyperdrive binding, or it cannot be used.
    #[error("the Hyperdrive binding cannot be used: {0}")]
    Binding(#[from] worker::Error),
    /// No connection, or it broke.
    #[error("the connection to the database failed")]
    Connection(#[source] tokio_postgres::Error),
    /// The database refused the statement.
    #[error("the database refused the statement: SQLSTATE {}", .0.code())]
    Refused(SqlState),
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
                ["08", "23503", "23505", "40", "53", "57P"].iter().any(|class| state.code().starts_with(class))
            }
            Self::Binding(_) | Self::Busy | Self::Erased | Self::Unexpected => false,
        }
    }
}

impl From<tokio_postgres::Error> for HistoryError {
    fn from(error: tokio_postgres::Error) -> Self {
        match error.code() {
            Some(state) => Self::Refused(state.clone()),
            None => Self::Connection(error),
        }
    }
}

/// A statement's parameter and its type.
pub type Param<'a> = (&'a (dyn ToSql + Sync), Type);

/// What a connection's task is kept alive by.
pub enum Lifetime {
    /// A request, or a batch of the queue.
    Request(Rc<Context>),
    /// A cron trigger.
    Schedule(ScheduleContext),
}

impl From<&Rc<Context>> for Lifetime {
    fn from(context: &Rc<Context>) -> Self {
        Self::Request(Rc::clone(context))
    }
}

impl Lifetime {
    fn wait_until(&self, task: LocalBoxFuture<'static, ()>) {
        match self {
            Self::Request(context) => context.wait_until(task),
            Self::Schedule(context) => context.wait_until(task),
        }
    }
}

/// Connects when it is first needed and keeps the connection for the next statement.
pub struct Connection {
    hyperdrive: Hyperdrive,
    lifetime: Lifetime,
    timeout: Duration,
    session: RefCell<Option<Session>>,
}

/// An open connection. It ends in peace with its client; one that broke, or does not answer, is given up instead: waiting
/// for its last answer would keep the whole event alive.
struct Session {
    client: Client,
    task: AbortHandle,
}

/// Gives a session up unless it is told that all went well.
struct GiveUp(Option<AbortHandle>);

impl Drop for GiveUp {
    fn drop(&mut self) {
        if let Some(task) = self.0.take() {
            task.abort();
        }
    }
}

impl Connection {
    /// Finds the binding; nothing is sent yet.
    pub fn new(env: &Env, lifetime: Lifetime, timeout: Duration) -> Result<Self, HistoryError> {
        let hyperdrive = env.hyperdrive(HYPERDRIVE)?;
        Ok(Self { hyperdrive, lifetime, timeout, session: RefCell::new(None) })
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
        let kept = self.session.take();
        let work = async {
            let session = match kept.filter(|session| !session.client.is_closed()) {
                Some(session) => session,
                None => self.connect().await?,
            };
            let mut give_up = GiveUp(Some(session.task.clone()));
            let row = session.client.query_typed(statement, params).await?.into_iter().next();
            give_up.0 = None;
            // Only a connection that has just worked is kept.
            self.session.replace(Some(session));
            Ok(row)
        };
        timeout(self.timeout, work).await.unwrap_or(Err(HistoryError::Timeout))
    }

    async fn connect(&self) -> Result<Session, HistoryError> {
        let socket = self.hyperdrive.connect()?;
        let (client, connection) = Config::new()
            .user(self.hyperdrive.user())
            .password(self.hyperdrive.password())
            .dbname(self.hyperdrive.database())
            .connect_raw(socket, NoTls)
            .await?;
        let (connection, task) = abortable(connection);
        self.lifetime.wait_until(Box::pin(async move {
            // A failure shows in the statement that waits for this connection.
            let _ = connection.await;
        }));
        Ok(Session { client, task })
    }
}
