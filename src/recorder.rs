//! Where a turn is recorded: in PostgreSQL, or else in the outbox, which brings it there later.

use crate::{
    agent::HistoryMessage,
    clock::Timestamp,
    error::Error,
    history::{ClosedTurn, Earlier, History, HistoryError, OpenedTurn, TurnState},
    llm::{Attempt, ModelError, Reply},
    log::{self, Detail, Record},
    outbox::{Entry, Outbox},
    router::Call,
    turn::Turn,
};

/// Records the turns of one request.
pub struct Recorder {
    /// Users and messages.
    pub history: History,
    outbox: Outbox,
    debug: bool,
}

/// What became of a message that was to be recorded.
pub enum Recorded {
    /// It stands in PostgreSQL.
    Stored {
        /// Whether the visitor was created with it.
        is_new_user: bool,
        /// Which budget refuses a reply, if one does.
        refused_by: Option<String>,
        /// Earlier messages, oldest first.
        history: Vec<HistoryMessage>,
    },
    /// It is on its way there.
    Queued,
    /// It had been recorded before, with the same key.
    Repeated,
}

impl Recorder {
    /// With the deployment's database and queue.
    pub fn new(call: &Call) -> Result<Self, HistoryError> {
        Ok(Self {
            history: History::new(&call.env, call.settings.database_timeout)?,
            outbox: Outbox::new(&call.env),
            debug: call.settings.debug,
        })
    }

    /// Records the message in PostgreSQL, or else in the outbox.
    pub async fn open(&self, turn: &Turn, earlier: Earlier) -> Result<Recorded, HistoryError> {
        let new = &turn.new;
        match self.history.open_turn(new, earlier, turn.reservation.as_ref()).await {
            Ok(OpenedTurn::New { is_new_user, refused_by, history }) => {
                Ok(Recorded::Stored { is_new_user, refused_by, history })
            }
            Ok(OpenedTurn::Repeated) => Ok(Recorded::Repeated),
            Err(HistoryError::Erased) => Err(HistoryError::Erased),
            Err(error) if self.outbox.send(&Entry { opened: new.clone(), closed: None }).await => {
                log::queued(new.id, &error);
                Ok(Recorded::Queued)
            }
            Err(error) => Err(error),
        }
    }

    /// Records the end of the turn in PostgreSQL, or else in the outbox.
    pub async fn close(
        &self,
        turn: &Turn,
        text: &str,
        reply: Option<&Reply>,
        fault: Option<&ModelError>,
        attempts: &[Attempt],
        record: &mut Record,
    ) -> Result<(), Error> {
        let state = match (reply, fault) {
            (Some(_), None) => TurnState::Complete,
            (Some(_), Some(_)) => TurnState::Partial,
            (None, _) => TurnState::Failed,
        };
        record.state = state.name();
        let summary = reply.and_then(Reply::summary);
        let finished = Timestamp::now();
        let closed = ClosedTurn {
            id: turn.new.id,
            attempt: turn.attempt,
            reply_id: finished.message_id(),
            reply: text.to_owned(),
            finished,
            state,
            provider: reply.map(|reply| reply.kind.name().to_owned()),
            model: reply.map(|reply| reply.model.clone()),
            finish_reason: summary.as_ref().and_then(|summary| summary.finish_reason.clone()),
            usage: summary.as_ref().and_then(|summary| summary.usage),
            error: fault.map(|fault| fault.code().to_owned()),
            cost: turn
                .reservation
                .as_ref()
                .map_or(0, |reservation| reservation.settle(attempts, reply.map(|_| (text, summary.as_ref())))),
        };
        // A message that went to the outbox would not be found in PostgreSQL.
        let stored = if record.queued { Err(HistoryError::Unexpected) } else { self.history.close_turn(&closed).await };
        if self.debug {
            let detail = Detail {
                turn: closed.id,
                media_urls: turn.new.message.media_urls.len(),
                audio_urls: turn.new.message.audio_urls.len(),
                model: closed.model.as_deref(),
                finish_reason: closed.finish_reason.as_deref(),
                usage: closed.usage,
                close_ms: Timestamp::now().millis_since(finished),
            };
            log::info("🔎 Turn detail", turn.request_id, detail);
        }
        let error = match stored {
            Ok(()) => return Ok(()),
            Err(HistoryError::Erased) => return Err(HistoryError::Erased.into()),
            Err(error) => error,
        };
        let was_queued = std::mem::replace(&mut record.queued, true);
        if self.outbox.send(&Entry { opened: turn.new.clone(), closed: Some(closed) }).await {
            if !was_queued {
                log::queued(turn.new.id, &error);
            }
            return Ok(());
        }
        record.state = "reply not recorded";
        Err(error.into())
    }
}
