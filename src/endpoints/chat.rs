//! `POST /chat/`: a message in, the whole reply out.
//!
//! 200 `{"content": "..."}`. 400, 413, 415 for bodies that cannot be used. 502 when the reply broke off: the problem
//! document has what there is of it as `content`, and it is stored as partial. 503 when no model replied (the message is
//! stored, the turn marked failed) or when the database did not take the message.

use futures::channel::oneshot;
use serde::Serialize;
use uuid::Uuid;
use worker::Response;

use super::take_turn;
use crate::{error::Error, message_service::Outlet, router::Call};

/// See the module.
pub async fn post(call: Call) -> Result<Response, Error> {
    take_turn(call, |turn, respond| Ok(Whole { request_id: turn.request_id, respond })).await
}

/// Waits for the end of the reply.
struct Whole {
    request_id: Uuid,
    respond: oneshot::Sender<Result<Response, Error>>,
}

#[derive(Serialize)]
struct ChatResponse<'a> {
    content: &'a str,
}

impl Outlet for Whole {
    const LOG_MESSAGE: &'static str = "📩 Chat message";
    const IS_STREAM: bool = false;

    fn end(self, reply: &str, error: Option<Error>) {
        let response = match error {
            None => Response::from_json(&ChatResponse { content: reply }).map_err(Error::from),
            Some(error @ Error::Interrupted(_)) => {
                error.into_response(self.request_id, Some(reply)).map_err(Error::from)
            }
            Some(error) => Err(error),
        };
        // Nobody receives it when the client has left.
        let _ = self.respond.send(response);
    }
}
