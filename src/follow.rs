//! Following a reply that another request asked for: as it is written if that happens in this isolate, else as far as
//! the database has it, and to its end.

use std::time::Duration;

use uuid::Uuid;

use crate::{
    error::Error,
    history::{History, HistoryError, TurnState},
    js::Alarm,
    live::LiveReply,
    llm::ModelError,
    relay::{Relay, Wake},
    settings::Settings,
    turn::Outlet,
};

/// Pause between two looks at a reply that is written in this isolate.
const LIVE_INTERVAL: Duration = Duration::from_millis(40);
/// Pause between two looks into the database.
const STORED_INTERVAL: Duration = Duration::from_millis(400);

/// Shows the reply of `turn` in `outlet`, and leaves it in `text`, until it is over or nobody is there to see it.
pub async fn follow<O: Outlet>(
    history: &History,
    settings: &Settings,
    turn: Uuid,
    outlet: &mut O,
    text: &mut String,
) -> Result<(), Error> {
    let mut relay = Relay::new(settings);
    loop {
        while let Some(live) = LiveReply::find(turn) {
            live.with_text(|reply| take(reply, text));
            outlet.flush(text);
            if pause(LIVE_INTERVAL, &mut relay, outlet, text).await {
                return Err(Error::Interrupted(ModelError::OutOfTime));
            }
        }
        let watched = history.watch_turn(turn).await?.ok_or(HistoryError::Erased)?;
        take(&watched.reply, text);
        match watched.state {
            TurnState::Complete => return Ok(()),
            TurnState::Partial => return Err(Error::Interrupted(ModelError::Truncated)),
            TurnState::Failed => return Err(Error::NoReply(None)),
            TurnState::Running if watched.is_lost => return Err(Error::Interrupted(ModelError::Lost)),
            TurnState::Running => outlet.flush(text),
        }
        if pause(STORED_INTERVAL, &mut relay, outlet, text).await {
            return Err(Error::Interrupted(ModelError::OutOfTime));
        }
    }
}

/// Adds what `reply` has beyond `text`.
fn take(reply: &str, text: &mut String) {
    if let Some(news) = reply.get(text.len()..) {
        text.push_str(news);
    }
}

/// Waits and bridges silences; `true` when the follower has left.
async fn pause<O: Outlet>(interval: Duration, relay: &mut Relay, outlet: &mut O, text: &str) -> bool {
    let mut over = Alarm::default();
    over.set(interval);
    relay.heard(text.len());
    loop {
        match relay.wake(outlet, |cx, _| over.poll(cx)).await {
            Wake::Ready(()) => return false,
            Wake::Left => return true,
            Wake::Due => {}
            Wake::Tick => {
                if relay.bridge(outlet, text).is_err() {
                    return true;
                }
            }
        }
    }
}
