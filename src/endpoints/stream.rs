//! `POST /chat/stream`: a message in, the reply out as it is written, as server-sent events (see [`crate::sse`]).
//!
//! 200 with at least one event, the last one with `"is_final": true`; a fault after the first event is told in the last
//! one. The same errors as `POST /chat/` for what goes wrong before the first event.
//!
//! `GET /chat/stream`: the visitor's newest reply in the same events, live or stored, from behind `Last-Event-ID`; or the
//! one that `?ticket=` opens. 204 when there is nothing left to show: to anything else `EventSource` would come back for
//! ever, or not at all. 401 when the session is not valid.
//!
//! `DELETE /chat/stream`: ends the visitor's running reply. 204, whether there is one or not; what was written of it is
//! kept as partial.

use std::{
    task::{Context, Poll},
    time::Duration,
};

use futures::channel::oneshot;
use serde::Serialize;
use uuid::Uuid;
use web_sys::ReadableStream;
use worker::{Headers, Response, ResponseBody};

use super::{Responder, no_content, query, reader, take_turn};
use crate::{
    clock::Timestamp,
    error::Error,
    follow::follow,
    history::History,
    js::{BytePusher, ClientGone, describe},
    live::LiveReply,
    log,
    rate_limit::RATE_LIMIT_PERIOD,
    router::Call,
    sse::{COMMENT, EventEncoder, Seen, refusal},
    turn::Outlet,
};

/// See the module.
pub async fn post(call: Call) -> Result<Response, Error> {
    let client = ClientGone::new(call.request.inner());
    let seen = seen(&call)?;
    take_turn(call, |turn, respond| {
        Ok(Events { seen, ..Events::new(turn.request_id, client, EventEncoder::new(turn.new.id), respond)? })
    })
    .await
}

/// See the module.
pub async fn get(call: Call) -> Result<Response, Error> {
    let history = History::new(&call.env, call.settings.database_timeout)?;
    let seen = seen(&call)?;
    let ticket = query(&call, "ticket").map(|ticket| Uuid::try_parse(&ticket).unwrap_or_default());
    let turn = match (ticket, reader(&call)?) {
        (Some(ticket), reader) => history.redeem_ticket(ticket, reader.as_ref()).await?,
        (None, Some(reader)) => history.newest_turn(&reader).await?,
        (None, None) => None,
    };
    let seen = seen.filter(|seen| Some(seen.turn) == turn);
    let (Some(turn), Some(from)) = (turn, seen.map_or(Some(0), |seen| seen.bytes)) else {
        return no_content();
    };

    let (respond, responded) = oneshot::channel();
    let client = ClientGone::new(call.request.inner());
    let mut events = Events::new(call.request_id, client, EventEncoder::resume(turn, from), respond)?;
    let (settings, request_id) = (call.settings, call.request_id);
    call.context.wait_until(async move {
        let mut text = String::new();
        let error = follow(&history, &settings, turn, &mut events, &mut text).await.err();
        events.end(&text, error.as_ref());
        log::info("🔁 Chat stream followed", request_id, Followed { turn, from, bytes_out: text.len() });
    });
    super::received(responded).await
}

fn seen(call: &Call) -> Result<Option<Seen>, Error> {
    Ok(call.request.headers().get("Last-Event-ID")?.and_then(|id| Seen::parse(&id)))
}

#[derive(Serialize)]
struct Followed {
    turn: Uuid,
    from: usize,
    bytes_out: usize,
}

/// The answer to a GET that comes too often. An `EventSource` would take any other status for the end, and never come back.
pub fn refuse(call: &Call, error: Error) -> Result<Response, Error> {
    let accepts = call.request.headers().get("Accept")?.unwrap_or_default();
    if !accepts.contains("text/event-stream") {
        return Err(error);
    }
    let event = refusal(&error.fault(), call.received, RATE_LIMIT_PERIOD);
    Ok(Response::from_bytes(event)?.with_headers(event_headers()?))
}

/// See the module.
pub async fn delete(call: Call) -> Result<Response, Error> {
    let reader = reader(&call)?.ok_or(Error::NoSession)?;
    let history = History::new(&call.env, call.settings.database_timeout)?;
    if let Some(turn) = history.stop_turn(&reader).await? {
        // Elsewhere it ends when its progress is next saved.
        LiveReply::stop(turn);
        log::info("⏹️ Chat stream stopped", call.request_id, Stopped { turn });
    }
    no_content()
}

#[derive(Serialize)]
struct Stopped {
    turn: Uuid,
}

/// Text that comes faster than this shares an event: the eye sees no difference, and each event costs as much as many
/// tokens.
const MERGE_INTERVAL: Duration = Duration::from_millis(25);

/// Sends events. The response starts with the first of them, so that what fails before has a status of its own.
struct Events {
    request_id: Uuid,
    client: ClientGone,
    pusher: BytePusher,
    encoder: EventEncoder,
    /// What the client has of a reply that this one may turn out to be.
    seen: Option<Seen>,
    /// When text was last sent.
    sent: Timestamp,
    response: Option<(Responder, ReadableStream)>,
}

impl Events {
    fn new(request_id: Uuid, client: ClientGone, encoder: EventEncoder, respond: Responder) -> Result<Self, Error> {
        let (pusher, readable) = BytePusher::new().map_err(|error| Error::Runtime(describe(&error)))?;
        let response = Some((respond, readable));
        Ok(Self { request_id, client, pusher, encoder, seen: None, sent: Timestamp::default(), response })
    }

    fn start(&mut self) {
        if let Some((respond, readable)) = self.response.take() {
            let _ = respond.send(event_stream(readable));
        }
    }

    fn send(&mut self, reply: &str, now: Timestamp) {
        // A client that comes back may name any place, even one within a character.
        let news = reply.get(reply.floor_char_boundary(self.encoder.sent())..);
        if let Some(news) = news.filter(|news| !news.is_empty()) {
            self.start();
            self.sent = now;
            self.pusher.push(self.encoder.text(news, now));
        }
    }
}

impl Outlet for Events {
    const LOG_MESSAGE: &'static str = "📩 Chat streaming message";
    const IS_STREAM: bool = true;

    fn belongs_to(&mut self, turn: Uuid, is_begun_anew: bool) {
        let seen = self.seen.filter(|seen| seen.turn == turn && !is_begun_anew);
        self.encoder = EventEncoder::resume(turn, seen.map_or(0, |seen| seen.bytes.unwrap_or(usize::MAX)));
    }

    fn show(&mut self, reply: &str, is_due: bool) -> Option<Duration> {
        if reply.len() <= self.encoder.sent() {
            return None;
        }
        let now = Timestamp::now();
        if !is_due && now.since(self.sent) < MERGE_INTERVAL {
            return Some(MERGE_INTERVAL);
        }
        // What a slow client does not take now goes out with what comes next.
        if !self.pusher.is_ready() {
            return None;
        }
        self.send(reply, now);
        // Where text has just come that fast, more will.
        is_due.then_some(MERGE_INTERVAL)
    }

    fn flush(&mut self, reply: &str) {
        if self.pusher.is_ready() {
            self.send(reply, Timestamp::now());
        }
    }

    fn bridge(&mut self, reply: &str) {
        self.start();
        if self.pusher.is_ready() {
            self.send(reply, Timestamp::now());
            self.pusher.push(COMMENT);
        }
    }

    fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.client.poll_gone(cx)
    }

    fn end(mut self, reply: &str, error: Option<&Error>) {
        match (error, self.response.take()) {
            (Some(error), Some((respond, _))) if reply.is_empty() => {
                let _ = respond.send(error.to_response(self.request_id, None));
            }
            (error, response) => {
                self.response = response;
                self.start();
                let now = Timestamp::now();
                self.send(reply, now);
                let fault = error.map(Error::fault);
                self.pusher.push(self.encoder.last(now, fault.as_ref()));
                self.pusher.close();
            }
        }
    }
}

fn event_stream(readable: ReadableStream) -> worker::Result<Response> {
    Ok(Response::from_body(ResponseBody::Stream(readable))?.with_headers(event_headers()?))
}

fn event_headers() -> worker::Result<Headers> {
    let headers = Headers::new();
    headers.set("Content-Type", "text/event-stream; charset=utf-8")?;
    headers.set("Cache-Control", "no-cache, no-store, no-transform")?;
    headers.set("X-Accel-Buffering", "no")?;
    Ok(headers)
}
