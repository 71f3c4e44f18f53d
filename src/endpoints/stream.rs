//! `POST /chat/stream`: a message in, the reply out as it is written, as server-sent events (see [`crate::sse`]).
//!
//! 200 with at least one event, the last one with `"is_final": true`; a fault after the first event is told in the last
//! one. The same errors as `POST /chat/` for what goes wrong before the first event.

use std::task::{Context, Poll};

use futures::channel::oneshot;
use web_sys::ReadableStream;
use worker::{Headers, Response, ResponseBody};

use super::take_turn;
use crate::{
    clock::Timestamp,
    error::Error,
    js::{BytePipe, describe},
    message_service::Outlet,
    router::Call,
    sse::{COMMENT, EventEncoder},
};

/// See the module.
pub async fn post(call: Call) -> Result<Response, Error> {
    take_turn(call, |turn, respond| {
        let (pipe, readable) = BytePipe::new().map_err(|error| Error::Runtime(describe(&error)))?;
        Ok(Events { pipe, encoder: EventEncoder::new(turn.id), shown: 0, response: Some((respond, readable)) })
    })
    .await
}

/// Sends events. The response starts with the first of them, so that what fails before has a status of its own.
struct Events {
    pipe: BytePipe,
    encoder: EventEncoder,
    /// How much of the reply was sent, in bytes.
    shown: usize,
    response: Option<(oneshot::Sender<Result<Response, Error>>, ReadableStream)>,
}

impl Events {
    fn start(&mut self) {
        if let Some((respond, readable)) = self.response.take() {
            let _ = respond.send(event_stream(readable).map_err(Error::from));
        }
    }

    fn send(&mut self, reply: &str) {
        if let Some(news) = reply.get(self.shown..).filter(|news| !news.is_empty()) {
            self.pipe.write(self.encoder.text(news, Timestamp::now()));
            self.shown = reply.len();
        }
    }
}

impl Outlet for Events {
    const LOG_MESSAGE: &'static str = "📩 Chat streaming message";
    const IS_STREAM: bool = true;

    fn show(&mut self, reply: &str) {
        self.start();
        // What a slow client does not take now goes out with what comes next.
        if self.pipe.is_ready() {
            self.send(reply);
        }
    }

    fn bridge(&mut self) {
        self.start();
        if self.pipe.is_ready() {
            self.pipe.write(COMMENT);
        }
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.pipe.poll_gone(cx)
    }

    fn end(mut self, reply: &str, error: Option<Error>) {
        match (error, self.response.take()) {
            (Some(error), Some((respond, _))) => {
                let _ = respond.send(Err(error));
            }
            (error, response) => {
                self.response = response;
                self.start();
                self.send(reply);
                let fault = error.map(|error| error.fault());
                self.pipe.write(self.encoder.last(Timestamp::now(), fault.as_ref()));
                self.pipe.close();
            }
        }
    }
}

fn event_stream(readable: ReadableStream) -> worker::Result<Response> {
    let headers = Headers::new();
    headers.set("Content-Type", "text/event-stream; charset=utf-8")?;
    headers.set("Cache-Control", "no-cache, no-transform")?;
    headers.set("X-Accel-Buffering", "no")?;
    Ok(Response::from_body(ResponseBody::Stream(readable))?.with_headers(headers))
}
