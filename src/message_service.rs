//! The message service: one chat turn, the same for JSON and server-sent events.
//!
//! Record the message and ask the model, at the same time; show the reply as it comes, but nothing of it before the
//! message is recorded; record the reply; only then say that it is complete. The turn is a task of its own that a
//! visitor who leaves does not stop. What PostgreSQL cannot take goes to the outbox.

use std::{
    pin::{Pin, pin},
    rc::Rc,
    task::Poll,
};

use futures::future::{Either, select};

use crate::{
    agent::{HistoryMessage, Prompt, out_of_budget},
    budget::Reservation,
    clock::Timestamp,
    error::Error,
    follow::follow,
    history::{Earlier, ReopenedTurn},
    live::LiveWriter,
    llm::{Attempt, ModelError, Models, Reply},
    log::{self, Created, Record},
    recorder::{Recorded, Recorder},
    relay::{Relay, Wake},
    router::Call,
    settings::Settings,
    turn::{Outlet, Turn},
};

/// Takes turns for one request.
pub struct MessageService {
    settings: Rc<Settings>,
    models: Models,
    recorder: Recorder,
}

impl MessageService {
    /// With the deployment's models, history and outbox.
    pub fn new(call: &Call) -> Result<Self, Error> {
        Ok(Self {
            settings: Rc::clone(&call.settings),
            models: Models::new(&call.settings, &call.env),
            recorder: Recorder::new(call)?,
        })
    }

    /// Takes a turn from its first to its last word and tells the log about it.
    pub async fn handle_incoming_chat_message<O: Outlet>(self, mut turn: Turn, mut outlet: O) {
        let mut text = String::new();
        let mut record = Record { bytes_in: turn.new.message.content.len(), ..Record::default() };
        let error = self.take_turn(&mut turn, &mut outlet, &mut text, &mut record).await.err();
        if let Some(error) = error.as_ref().filter(|error| error.is_internal()) {
            log::error(turn.request_id, error);
        }
        record.turn = turn.new.id;
        record.bytes_out = text.len();
        record.total_ms = Timestamp::now().millis_since(turn.new.received);
        outlet.end(&text, error.as_ref());
        log::info(O::LOG_MESSAGE, turn.request_id, record);
    }

    async fn take_turn<O: Outlet>(
        &self,
        turn: &mut Turn,
        outlet: &mut O,
        text: &mut String,
        record: &mut Record,
    ) -> Result<(), Error> {
        let mut relay = Relay::new(&self.settings);
        let mut attempts = Vec::new();
        // From now on the visitor may stop it, and whoever comes back waits for it here.
        let mut live = LiveWriter::new(turn.new.id);
        record.state = "not recorded";
        let begun = self.begin(turn, &mut relay, outlet, text, &mut attempts, record).await;
        // What the model has said by now answers a message that is not recorded.
        let (recorded, mut reply) = begun.inspect_err(|_| text.clear())?;
        match recorded {
            Recorded::Stored { is_new_user, refused_by, .. } => {
                if is_new_user {
                    log::info("✅ User created", turn.request_id, Created { turn: turn.new.id });
                }
                if let Some(scope) = refused_by {
                    text.clear();
                    reply = Ok(self.decline::<O>(turn, &scope));
                }
            }
            Recorded::Queued => record.queued = true,
            Recorded::Repeated => {
                text.clear();
                record.state = "repeated";
                attempts.clear();
                drop(live);
                turn.reservation.iter().for_each(Reservation::note_repetition);
                let Some(reopened) = self.take_over(turn, outlet).await? else {
                    return follow(&self.recorder.history, &self.settings, turn.new.id, outlet, text).await;
                };
                live = LiveWriter::new(turn.new.id);
                reply = match reopened.refused_by {
                    Some(scope) => Ok(self.decline::<O>(turn, &scope)),
                    None => {
                        let prompt = self.prompt::<O>(turn, Vec::new());
                        let ask = pin!(self.models.ask(&prompt, text, &mut attempts));
                        self.first_text(ask, &mut relay, outlet).await
                    }
                };
            }
        }
        for attempt in &attempts {
            log::provider_failed(turn.request_id, attempt);
        }
        let fault = match &mut reply {
            Ok(reply) => {
                record.provider = Some(reply.kind.name());
                record.first_text_ms = Some(Timestamp::now().millis_since(turn.new.received));
                self.relay(turn, reply, &mut relay, outlet, &live, text, record).await.err()
            }
            Err(None) => attempts.last().map(|attempt| attempt.error.clone()),
            Err(fault) => fault.take(),
        };
        record.left = relay.has_left();
        // Its clocks would go on.
        drop(relay);
        let reply = reply.ok();
        let closed = self.recorder.close(turn, text, reply.as_ref(), fault.as_ref(), &attempts, record).await;
        // Only now: somebody who watches must find it either live or recorded.
        drop(live);
        match (closed, reply, fault) {
            (Ok(()), Some(_), None) => Ok(()),
            (Ok(()), Some(_), Some(fault)) => Err(Error::Interrupted(fault)),
            (Ok(()), None, fault) => Err(Error::NoReply(fault)),
            (Err(error), ..) => Err(error),
        }
    }

    /// Records the message and asks the model. The model waits for the database only if it is to see what stands there,
    /// or if the budgets were spent a while ago.
    async fn begin<O: Outlet>(
        &self,
        turn: &Turn,
        relay: &mut Relay,
        outlet: &mut O,
        text: &mut String,
        attempts: &mut Vec<Attempt>,
        record: &mut Record,
    ) -> Result<(Recorded, Result<Reply, Option<ModelError>>), Error> {
        let (messages, chars) = (self.settings.history_messages, self.settings.history_chars);
        let earlier = turn.visitor.reader().map_or(Earlier::default(), |_| Earlier { messages, chars });
        let mut recording = pin!(async {
            let recorded = self.recorder.open(turn, earlier).await;
            record.recorded_ms = Some(Timestamp::now().millis_since(turn.new.received));
            recorded
        });
        if earlier.messages > 0 || turn.reservation.as_ref().is_some_and(Reservation::must_ask_first) {
            let mut recorded = recording.await?;
            let history = match &mut recorded {
                Recorded::Stored { refused_by: None, history, .. } => std::mem::take(history),
                Recorded::Queued => Vec::new(),
                Recorded::Stored { .. } | Recorded::Repeated => return Ok((recorded, Err(None))),
            };
            let prompt = self.prompt::<O>(turn, history);
            let reply = self.first_text(pin!(self.models.ask(&prompt, text, attempts)), relay, outlet).await;
            return Ok((recorded, reply));
        }
        let prompt = self.prompt::<O>(turn, Vec::new());
        let ask = pin!(self.models.ask(&prompt, text, attempts));
        match select(recording.as_mut(), ask).await {
            Either::Left((recorded, ask)) => match recorded? {
                // Whatever the model has begun to say is not wanted.
                recorded @ (Recorded::Repeated | Recorded::Stored { refused_by: Some(_), .. }) => {
                    Ok((recorded, Err(None)))
                }
                recorded => Ok((recorded, self.first_text(ask, relay, outlet).await)),
            },
            Either::Right((reply, _)) => Ok((recording.await?, reply.ok_or(None))),
        }
    }

    fn prompt<'a, O: Outlet>(&'a self, turn: &'a Turn, history: Vec<HistoryMessage>) -> Prompt<'a> {
        Prompt {
            assistant: &self.settings.assistant_name,
            clinic: &self.settings.clinic_name,
            instructions: &self.settings.instructions,
            history,
            message: &turn.new.message,
            pass_media: self.settings.pass_media,
            is_streamed: O::IS_STREAM,
        }
    }

    /// The message was recorded before, with the same key. Whoever sent it then may have seen no reply: if there is none
    /// and nobody is writing one, this request does. If not, there is a reply to read, for those who may.
    async fn take_over<O: Outlet>(&self, turn: &mut Turn, outlet: &mut O) -> Result<Option<ReopenedTurn>, Error> {
        turn.new.id = self.recorder.history.repeated_turn(&turn.new).await?.ok_or(Error::KeyReused)?;
        let reopened = self.recorder.history.reopen_turn(turn.new.id, turn.reservation.as_ref()).await?;
        outlet.belongs_to(turn.new.id, reopened.is_some());
        match &reopened {
            Some(reopened) => turn.attempt = reopened.attempt,
            None if !turn.visitor.is_proven() => return Err(Error::AlreadyReceived),
            None => {}
        }
        Ok(reopened)
    }

    /// What is said when this budget is spent.
    fn decline<O: Outlet>(&self, turn: &Turn, scope: &str) -> Reply {
        turn.reservation.iter().for_each(|reservation| reservation.note_refusal(scope));
        Reply::recite(out_of_budget(&self.settings.clinic_name), O::IS_STREAM)
    }

    /// Waits for the model's first text and keeps the connection open meanwhile.
    async fn first_text<O: Outlet>(
        &self,
        mut ask: Pin<&mut impl Future<Output = Option<Reply>>>,
        relay: &mut Relay,
        outlet: &mut O,
    ) -> Result<Reply, Option<ModelError>> {
        loop {
            match relay.wake(outlet, |cx, _| ask.as_mut().poll(cx)).await {
                Wake::Ready(reply) => return reply.ok_or(None),
                Wake::Left | Wake::Due => {}
                Wake::Tick => relay.bridge(outlet, "").map_err(Some)?,
            }
        }
    }

    /// Shows the reply as it comes, until its end. Saves it now and then, and more often once its visitor has left.
    #[expect(clippy::too_many_arguments, reason = "the parts of a turn, each changed on its own")]
    async fn relay<O: Outlet>(
        &self,
        turn: &Turn,
        reply: &mut Reply,
        relay: &mut Relay,
        outlet: &mut O,
        live: &LiveWriter,
        text: &mut String,
        record: &mut Record,
    ) -> Result<(), ModelError> {
        let mut saving = None;
        relay.heard(text.len());
        record.pieces = 1;
        loop {
            live.show(text);
            relay.show(outlet, text);
            if saving.is_none() && relay.is_save_due(text.len()) {
                let (id, progress) = (turn.new.id, text.clone());
                saving = Some(Box::pin(async move { self.recorder.history.save_progress(id, &progress).await }));
            }
            let mut is_stopped = false;
            let wake = relay.wake(outlet, |cx, is_held| {
                if let Some(Poll::Ready(saved)) = saving.as_mut().map(|saving| saving.as_mut().poll(cx)) {
                    saving = None;
                    is_stopped |= saved.unwrap_or_default();
                }
                is_stopped |= live.is_stopped();
                if is_stopped { Poll::Ready(Err(ModelError::Stopped)) } else { reply.poll_read(cx, text, is_held) }
            });
            let outcome = match wake.await {
                Wake::Ready(outcome) => {
                    if relay.heard(text.len()) {
                        record.pieces += 1;
                    }
                    outcome
                }
                Wake::Left | Wake::Due => Ok(true),
                Wake::Tick => relay.check_silence().and_then(|()| relay.bridge(outlet, text)).map(|()| true),
            };
            if !matches!(outcome, Ok(true)) {
                live.show(text);
                outlet.flush(text);
                // One statement at a time: the end must not be overtaken by what came before it.
                if let Some(saving) = saving {
                    let _ = saving.await;
                }
                return match outcome {
                    Err(ModelError::IdleTimeout)
                        if reply.summary().is_some_and(|summary| summary.finish_reason.is_some()) =>
                    {
                        Ok(())
                    }
                    outcome => outcome.map(|_| ()),
                };
            }
        }
    }
}
