//! One file per endpoint: parse, identify, run, render.

pub mod chat;
pub mod health;
pub mod stream;

use futures::channel::oneshot;
use worker::{Request, Response};

use crate::{
    chat_request::{ChatRequest, MAX_BODY_BYTES},
    error::Error,
    js::ByteReader,
    message_service::{MessageService, Outlet, Turn},
    router::Call,
    visitor::{SESSION_HEADER, Visitor},
};

/// A turn of either chat endpoint: parse, identify, run it with the outlet that `open` makes, render. The outlet sends
/// the response when there is one; the turn goes on by itself, whoever leaves.
async fn take_turn<O: Outlet + 'static>(
    mut call: Call,
    open: impl FnOnce(&Turn, oneshot::Sender<Result<Response, Error>>) -> Result<O, Error>,
) -> Result<Response, Error> {
    let message = parse(&mut call.request).await?;
    let headers = call.request.headers();
    let visitor = Visitor::identify(
        message.user_id.clone(),
        headers.get(SESSION_HEADER)?.as_deref(),
        headers.get("Cookie")?.as_deref(),
    );
    let is_secure = call.request.inner().url().starts_with("https:");
    let (session, cookie) = (visitor.session_header(), visitor.set_cookie(is_secure));

    let service = MessageService::new(&call)?;
    let turn = Turn::new(call.request_id, call.received, visitor, message);
    let (respond, responded) = oneshot::channel();
    let outlet = open(&turn, respond)?;
    call.context.wait_until(service.handle_incoming_chat_message(turn, outlet));
    let response = responded.await.map_err(|_| Error::Runtime("the turn ended without an answer".to_owned()))??;

    if let Some(session) = session {
        response.headers().set(SESSION_HEADER, &session)?;
    }
    if let Some(cookie) = cookie {
        response.headers().append("Set-Cookie", &cookie)?;
    }
    Ok(response)
}

/// Reads and parses the body; one that is too large is not read to its end.
async fn parse(request: &mut Request) -> Result<ChatRequest, Error> {
    let content_type = request.headers().get("Content-Type")?.unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case("application/json") {
        return Err(Error::UnsupportedMediaType);
    }
    let declared = request.headers().get("Content-Length")?.and_then(|length| length.parse::<usize>().ok());
    if declared.is_some_and(|length| length > MAX_BODY_BYTES) {
        return Err(Error::PayloadTooLarge);
    }
    let mut body = Vec::with_capacity(declared.unwrap_or_default());
    if let Some(stream) = request.inner().body() {
        let mut reader = ByteReader::new(&stream);
        while reader.read(&mut body).await.map_err(|_| Error::BrokenBody)? {
            if body.len() > MAX_BODY_BYTES {
                return Err(Error::PayloadTooLarge);
            }
        }
    }
    Ok(ChatRequest::parse(&body)?)
}
