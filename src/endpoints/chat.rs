//! `POST /chat/`: a message in, the whole reply out.
//!
//! 200 `{"content": "..."}`. 400, 413, 415, 422 for requests that cannot be used. 502 when the reply broke off: the
//! problem document has what there is of it as `content`, and it is stored as partial. 503 when no model replied (the
//! message is stored, the turn marked failed) or when neither the database nor the outbox took the message.

use std::{
    task::{Context, Poll},
    time::Duration,
};

use serde::Serialize;
use uuid::Uuid;
use worker::Response;

use super::{Responder, take_turn};
use crate::{error::Error, js::ClientGone, router::Call, turn::Outlet};

/// See the module.
pub async fn post(call: Call) -> Result<Response, Error> {
    let client = ClientGone::new(call.request.inner());
    take_turn(call, |turn, respond| Ok(Whole { request_id: turn.request_id, client, respond })).await
}

/// How old may be what others see of the reply meanwhile.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(250);

/// Waits for the end of the reply.
struct Whole {
    request_id: Uuid,
    client: ClientGone,
    respond: Responder,
}

#[derive(Serialize)]
struct ChatResponse<'a> {
    content: &'a str,
}

impl Outlet for Whole {
    const LOG_MESSAGE: &'static str = "📩 Chat message";
    const IS_STREAM: bool = false;

    fn show(&mut self, _reply: &str, _is_due: bool) -> Option<Duration> {
        Some(PROGRESS_INTERVAL)
    }

    fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.client.poll_gone(cx)
    }

    fn end(self, reply: &str, error: Option<&Error>) {
        let response = match error {
            None => Response::from_json(&ChatResponse { content: reply }),
            Some(error) => error.to_response(self.request_id, Some(reply)),
        };
        // Nobody receives it when the client has left.
        let _ = self.respond.send(response);
    }
}
