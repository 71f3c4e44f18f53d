//! One file per endpoint: parse, identify, run, render.

pub mod chat;
pub mod health;
pub mod stream;

use futures::channel::oneshot;
use worker::{Request, Response};

use crate::{
    chat_request::{ChatRequest, MAX_BODY_BYTES, UserId},
    error::Error,
    idempotency_key::{IDEMPOTENCY_KEY_HEADER, IdempotencyKey},
    js::ByteReader,
    message_service::MessageService,
    router::Call,
    turn::{Outlet, Turn},
    visitor::{SESSION_HEADER, TICKET_HEADER, Visitor},
};

/// Sends the one response of a request from the task that takes its turn.
type Responder = oneshot::Sender<worker::Result<Response>>;

/// A turn of either chat endpoint: parse, identify, run it with the outlet that `open` makes, render. The outlet sends
/// the response when there is one; the turn goes on by itself, whoever leaves.
async fn take_turn<O: Outlet + 'static>(
    mut call: Call,
    open: impl FnOnce(&Turn, Responder) -> Result<O, Error>,
) -> Result<Response, Error> {
    let key = call.request.headers().get(IDEMPOTENCY_KEY_HEADER)?;
    let key = key.as_deref().map(IdempotencyKey::parse).transpose()?;
    let message = parse(&mut call.request).await?;
    let visitor = identify(&call.request, message.user_id.clone())?;
    let is_secure = call.request.inner().url().starts_with("https:");
    let (session, cookie) = (visitor.session_header(), visitor.set_cookie(is_secure));

    let service = MessageService::new(&call)?;
    let turn = Turn::new(&call, visitor, message, key);
    let ticket = turn.new.ticket;
    let (respond, responded) = oneshot::channel();
    let outlet = open(&turn, respond)?;
    call.context.wait_until(service.handle_incoming_chat_message(turn, outlet));
    let response = received(responded).await?;

    let headers = response.headers();
    if let Some(session) = session {
        headers.set(SESSION_HEADER, &session)?;
    }
    if let Some(cookie) = cookie {
        headers.append("Set-Cookie", &cookie)?;
    }
    if let Some(ticket) = ticket.filter(|_| response.status_code() == 200) {
        headers.set(TICKET_HEADER, &ticket.to_string())?;
    }
    Ok(response)
}

/// Who sends this request.
fn identify(request: &Request, user_id: Option<UserId>) -> Result<Visitor, Error> {
    let headers = request.headers();
    let (header, cookies) = (headers.get(SESSION_HEADER)?, headers.get("Cookie")?);
    Ok(Visitor::identify(user_id, header.as_deref(), cookies.as_deref()))
}

/// The response, once the task that works on it has sent it.
async fn received(responded: oneshot::Receiver<worker::Result<Response>>) -> Result<Response, Error> {
    let response = responded.await.map_err(|_| Error::Runtime("the task ended without an answer".to_owned()))?;
    Ok(response?)
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
