//! The message service: one chat turn, the same for JSON and server-sent events.
//!
//! Record the message and ask the model, at the same time; show the reply as it comes, but nothing of it before the
//! message is recorded; record the reply; only then say that it is complete. The turn is a task of its own that a
//! visitor who leaves does not stop.

use std::{
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll},
};

use futures::future::{Either, select};
use serde::Serialize;
use uuid::Uuid;
use worker::Delay;

use crate::{
    agent::{Prompt, given_name},
    chat_request::ChatRequest,
    clock::Timestamp,
    error::Error,
    history::{ClosedTurn, History, NewTurn, OpenedTurn, TurnState},
    llm::{Attempt, ModelError, Models, Reply, Usage},
    log,
    router::Call,
    settings::Settings,
    visitor::Visitor,
};

/// A message that came in, and who sent it.
pub struct Turn {
    /// Id of the message, and of the turn.
    pub id: Uuid,
    /// Id of the request that brought it.
    pub request_id: Uuid,
    received: Timestamp,
    visitor: Visitor,
    message: ChatRequest,
}

impl Turn {
    /// A turn that begins with this message.
    pub fn new(request_id: Uuid, received: Timestamp, visitor: Visitor, message: ChatRequest) -> Self {
        Self { id: received.message_id(), request_id, received, visitor, message }
    }
}

/// Where a reply goes.
pub trait Outlet {
    /// What the log calls a turn with this outlet.
    const LOG_MESSAGE: &'static str;
    /// Whether somebody watches the reply being written.
    const IS_STREAM: bool;

    /// Shows the reply so far.
    fn show(&mut self, _reply: &str) {}

    /// Keeps the connection open in a silence.
    fn bridge(&mut self) {}

    /// Ready once nobody is there to see the reply.
    fn poll_gone(&mut self, _cx: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }

    /// Shows what is left of the reply and ends it, with what went wrong if anything did.
    fn end(self, reply: &str, error: Option<Error>);
}

/// Takes turns for one request.
pub struct MessageService {
    settings: Rc<Settings>,
    models: Models,
    history: History,
}

/// What the log says about a turn.
#[derive(Default, Serialize)]
struct Record {
    turn: Uuid,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    provider: Option<&'static str>,
    bytes_in: usize,
    bytes_out: usize,
    /// Milliseconds from the request to the recorded message, the first text, and the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    recorded_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_text_ms: Option<u64>,
    total_ms: u64,
    /// How many pieces the reply came in, and whether the visitor stayed to the end.
    pieces: usize,
    left: bool,
}

#[derive(Serialize)]
struct Created {
    turn: Uuid,
}

/// What `DEBUG` adds to it.
#[derive(Serialize)]
struct Detail<'a> {
    turn: Uuid,
    media_urls: usize,
    audio_urls: usize,
    model: Option<&'a str>,
    finish_reason: Option<&'a str>,
    usage: Option<Usage>,
    /// Milliseconds that the closing statement took.
    close_ms: u64,
}

/// What is known when the model has begun to speak.
struct Begun {
    opened: OpenedTurn,
    reply: Option<Reply>,
}

impl MessageService {
    /// With the deployment's models and history.
    pub fn new(call: &Call) -> Result<Self, Error> {
        Ok(Self {
            settings: Rc::clone(&call.settings),
            models: Models::new(&call.settings, &call.env),
            history: History::new(&call.env, &call.context, call.settings.database_timeout)?,
        })
    }

    /// Takes a turn from its first to its last word and tells the log about it.
    pub async fn handle_incoming_chat_message<O: Outlet>(self, turn: Turn, mut outlet: O) {
        let mut text = String::new();
        let mut record = Record { turn: turn.id, bytes_in: turn.message.content.len(), ..Record::default() };
        let error = self.take_turn(&turn, &mut outlet, &mut text, &mut record).await.err();
        if let Some(error) = &error {
            log::error(turn.request_id, error);
        }
        record.bytes_out = text.len();
        record.total_ms = Timestamp::now().millis_since(turn.received);
        outlet.end(&text, error);
        log::info(O::LOG_MESSAGE, turn.request_id, record);
    }

    async fn take_turn<O: Outlet>(
        &self,
        turn: &Turn,
        outlet: &mut O,
        text: &mut String,
        record: &mut Record,
    ) -> Result<(), Error> {
        let mut attempts = Vec::new();
        record.state = "not recorded";
        let Begun { opened, reply } = self.begin(turn, outlet, text, &mut attempts, record).await?;
        record.state = TurnState::Failed.name();
        if opened.is_new_user {
            log::info("✅ User created", turn.request_id, Created { turn: turn.id });
        }
        for attempt in &attempts {
            log::provider_failed(turn.request_id, attempt);
        }

        let Some(mut reply) = reply else {
            let last = attempts.pop().map(|attempt| attempt.error);
            self.close(turn, "", None, last.as_ref(), record).await?;
            return Err(Error::NoReply(last));
        };
        record.provider = Some(reply.kind.name());
        record.first_text_ms = Some(Timestamp::now().millis_since(turn.received));
        let fault = self.relay(&mut reply, outlet, text, record).await.err();
        self.close(turn, text, Some(&reply), fault.as_ref(), record).await?;
        fault.map_or(Ok(()), |fault| Err(Error::Interrupted(fault)))
    }

    /// Records the message and asks the model. The model waits for the database only if it is to see what stands there.
    async fn begin<O: Outlet>(
        &self,
        turn: &Turn,
        outlet: &mut O,
        text: &mut String,
        attempts: &mut Vec<Attempt>,
        record: &mut Record,
    ) -> Result<Begun, Error> {
        let history_messages = if turn.visitor.may_read_history() { self.settings.history_messages } else { 0 };
        let new_turn = NewTurn {
            id: turn.id,
            phone_number: turn.visitor.phone_number(),
            name: given_name(&turn.message.content),
            message: &turn.message,
            received: turn.received,
            history_messages,
        };
        let mut prompt = Prompt {
            assistant: &self.settings.assistant_name,
            clinic: &self.settings.clinic_name,
            instructions: &self.settings.instructions,
            history: Vec::new(),
            message: &turn.message,
            pass_media: self.settings.pass_media,
            is_streamed: O::IS_STREAM,
        };
        let mut open = pin!(async {
            let opened = self.history.open_turn(&new_turn).await;
            record.recorded_ms = Some(Timestamp::now().millis_since(turn.received));
            opened
        });
        if history_messages > 0 {
            let mut opened = open.await?;
            prompt.history = std::mem::take(&mut opened.history);
            let reply = self.bridged(pin!(self.models.ask(&prompt, text, attempts)), outlet).await;
            return Ok(Begun { opened, reply });
        }
        let ask = pin!(self.models.ask(&prompt, text, attempts));
        match select(open.as_mut(), ask).await {
            Either::Left((opened, ask)) => Ok(Begun { opened: opened?, reply: self.bridged(ask, outlet).await }),
            Either::Right((reply, _)) => Ok(Begun { opened: open.await?, reply }),
        }
    }

    /// Waits for the model's first text and keeps the connection open meanwhile.
    async fn bridged<O: Outlet>(
        &self,
        mut ask: Pin<&mut impl Future<Output = Option<Reply>>>,
        outlet: &mut O,
    ) -> Option<Reply> {
        loop {
            match select(ask.as_mut(), Delay::from(self.settings.heartbeat)).await {
                Either::Left((reply, _)) => return reply,
                Either::Right(_) => outlet.bridge(),
            }
        }
    }

    /// Shows the reply as it comes, until its end.
    async fn relay<O: Outlet>(
        &self,
        reply: &mut Reply,
        outlet: &mut O,
        text: &mut String,
        record: &mut Record,
    ) -> Result<(), ModelError> {
        let (heartbeat, idle) = (self.settings.heartbeat, self.settings.idle_timeout);
        let mut heard = Timestamp::now();
        let mut bridged = heard;
        // Set anew only when it fires: a timer for each token would cost more than the token.
        let mut silence = Box::pin(Delay::from(heartbeat.min(idle)));
        outlet.show(text);
        record.pieces = 1;
        loop {
            let wake = std::future::poll_fn(|cx| {
                if !record.left {
                    record.left = outlet.poll_gone(cx).is_ready();
                }
                match reply.poll_read(cx, text) {
                    Poll::Ready(read) => Poll::Ready(Some(read)),
                    Poll::Pending => silence.as_mut().poll(cx).map(|()| None),
                }
            });
            match wake.await {
                Some(read) => {
                    let is_more = read.inspect_err(|_| outlet.show(text))?;
                    outlet.show(text);
                    record.pieces += 1;
                    if !is_more {
                        return Ok(());
                    }
                    heard = Timestamp::now();
                }
                None => {
                    let now = Timestamp::now();
                    let idle_left = idle.saturating_sub(now.since(heard));
                    if idle_left.is_zero() {
                        return Err(ModelError::IdleTimeout);
                    }
                    let mut quiet_left = heartbeat.saturating_sub(now.since(heard.max(bridged)));
                    if quiet_left.is_zero() {
                        outlet.bridge();
                        bridged = now;
                        quiet_left = heartbeat;
                    }
                    silence.set(Delay::from(idle_left.min(quiet_left)));
                }
            }
        }
    }

    async fn close(
        &self,
        turn: &Turn,
        text: &str,
        reply: Option<&Reply>,
        fault: Option<&ModelError>,
        record: &mut Record,
    ) -> Result<(), Error> {
        let state = match fault {
            None if reply.is_some() => TurnState::Complete,
            Some(_) if reply.is_some() => TurnState::Partial,
            _ => TurnState::Failed,
        };
        record.state = state.name();
        let summary = reply.and_then(Reply::summary);
        let closed = ClosedTurn {
            id: turn.id,
            reply: text,
            finished: Timestamp::now(),
            state,
            author: reply.map(|reply| (reply.kind, reply.model.as_str())),
            finish_reason: summary.and_then(|summary| summary.finish_reason.as_deref()),
            usage: summary.and_then(|summary| summary.usage),
            error: fault.map(ModelError::code),
        };
        let outcome = self.history.close_turn(&closed).await;
        if self.settings.debug {
            log::info(
                "🔎 Turn detail",
                turn.request_id,
                Detail {
                    turn: turn.id,
                    media_urls: turn.message.media_urls.len(),
                    audio_urls: turn.message.audio_urls.len(),
                    model: closed.author.map(|(_, model)| model),
                    finish_reason: closed.finish_reason,
                    usage: closed.usage,
                    close_ms: Timestamp::now().millis_since(closed.finished),
                },
            );
        }
        Ok(outcome.inspect_err(|_| record.state = "reply not recorded")?)
    }
}
