//! What PostgreSQL could not take, on its way there by a Cloudflare Queue. Each message holds a whole turn, so that it
//! does not matter in which order messages arrive, or how often.

use serde::{Deserialize, Serialize};
use worker::{Env, MessageBatch, MessageExt, Queue, QueueContentType, QueueRetryOptionsBuilder, RawMessageBuilder};

use crate::{
    clock::Timestamp,
    history::{ClosedTurn, Earlier, History, HistoryError, NewTurn, OpenedTurn, ReopenedTurn, TurnState},
    log, router,
    settings::OUTBOX,
};

/// A turn as far as it is known.
#[derive(Debug, Serialize, Deserialize)]
pub struct Entry {
    /// Its beginning.
    pub opened: NewTurn,
    /// Its end, if it has one.
    pub closed: Option<ClosedTurn>,
}

/// The queue, if the deployment has one.
pub struct Outbox(Option<Queue>);

impl Outbox {
    /// Finds the binding.
    pub fn new(env: &Env) -> Self {
        Self(env.queue(OUTBOX).ok())
    }

    /// Hands a turn to the queue; `false` when there is none, or it does not take it.
    pub async fn send(&self, entry: &Entry) -> bool {
        let (Some(queue), Ok(text)) = (&self.0, serde_json::to_string(entry)) else { return false };
        let message = RawMessageBuilder::new(text.into()).build_with_content_type(QueueContentType::Text);
        queue.send_raw(message).await.is_ok()
    }
}

/// Brings a batch of turns to PostgreSQL. What it does not take now comes again later.
pub async fn deliver(batch: MessageBatch<String>, env: Env) {
    let history = router::settings(&env).ok().and_then(|settings| History::new(&env, settings.database_timeout).ok());
    for message in batch.raw_iter() {
        let entry = message.body().as_string().and_then(|text| serde_json::from_slice::<Entry>(text.as_bytes()).ok());
        let outcome = match (&history, &entry) {
            (Some(history), Some(entry)) => store(history, entry).await,
            _ => Err(HistoryError::Unexpected),
        };
        let turn = entry.map(|entry| entry.opened.id).unwrap_or_default();
        match outcome {
            // What was erased meanwhile is gone.
            Ok(()) | Err(HistoryError::Erased) => {
                log::delivered(turn);
                message.ack();
            }
            Err(error) => {
                log::not_delivered(turn, &error);
                // An outage is waited out.
                let sent = Timestamp::from_millis(message.timestamp().as_millis());
                let delay = retry_delay(Timestamp::now().millis_since(sent));
                message.retry_with_options(&QueueRetryOptionsBuilder::new().with_delay_seconds(delay).build());
            }
        }
    }
}

/// Pause before the next try, in seconds, for a message that has waited this long: as long again, from 2 seconds to 5
/// minutes. The queue's `max_retries` of 100 are then an outage of more than seven hours.
fn retry_delay(waited_millis: u64) -> u32 {
    u32::try_from(waited_millis / 1000).unwrap_or(u32::MAX).clamp(2, 300)
}

async fn store(history: &History, entry: &Entry) -> Result<(), HistoryError> {
    match (history.open_turn(&entry.opened, Earlier::default(), None).await?, &entry.closed) {
        (OpenedTurn::New { .. }, Some(closed)) => history.close_turn(closed).await,
        (OpenedTurn::New { .. }, None) => Ok(()),
        (OpenedTurn::Repeated, Some(closed)) if !closed.reply.is_empty() => {
            give_to_twin(history, &entry.opened, closed).await
        }
        (OpenedTurn::Repeated, _) => Ok(()),
    }
}

/// In an outage, nobody could see that a request was a repetition; now another turn has its key. If that one has no
/// reply, it gets this one's, which a visitor was shown.
async fn give_to_twin(history: &History, opened: &NewTurn, closed: &ClosedTurn) -> Result<(), HistoryError> {
    let Some(twin) = history.repeated_turn(opened).await? else { return Ok(()) };
    if let Some(ReopenedTurn { attempt, .. }) = history.reopen_turn(twin, None).await? {
        return history.close_turn(&ClosedTurn { id: twin, attempt, ..closed.clone() }).await;
    }
    match history.watch_turn(twin).await? {
        Some(watched) if watched.state == TurnState::Running => Err(HistoryError::Busy),
        _ => Ok(()),
    }
}
