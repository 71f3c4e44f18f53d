//! One file per endpoint: parse, identify, run, render.

pub mod chat;
pub mod health;
pub mod history;
pub mod me;
pub mod session;
pub mod stream;

use futures::channel::oneshot;
use worker::{Headers, Request, Response};

use crate::{
    chat_request::{ChatRequest, MAX_BODY_BYTES},
    error::Error,
    idempotency_key::{IDEMPOTENCY_KEY_HEADER, IdempotencyKey},
    identity::{self, Credentials, Identified, Presented, Unidentified},
    js::{ByteReader, describe},
    message_service::MessageService,
    rate_limit,
    router::Call,
    session::Subject,
    turn::{Outlet, Turn},
    turnstile,
    visitor::{SESSION_HEADER, TICKET_HEADER, Visitor, set_cookie},
    web_url,
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
    let body = read_json(&mut call.request).await?;
    let (message, credentials) = ChatRequest::parse(&body, call.settings.max_message_chars)?;
    let Identified { visitor, issue, session } = admit(&call, &credentials).await?;
    rate_limit::count_visitor(&call.env, &visitor).await?;
    if let (Visitor::Named(_), Some(session)) = (&visitor, session) {
        // New names are no new visitors.
        rate_limit::count_visitor(&call.env, &Visitor::Known(session.subject)).await?;
    }

    let service = MessageService::new(&call)?;
    let turn = Turn::new(&call, visitor, message, key);
    let ticket = turn.new.ticket;
    let (respond, responded) = oneshot::channel();
    let outlet = open(&turn, respond)?;
    // In a box: each of the two futures around it would have room for it twice, 15 KB for as long as the turn lasts.
    call.context.wait_until(Box::pin(service.handle_incoming_chat_message(turn, outlet)));
    let response = received(responded).await?;

    if let Some(subject) = issue {
        issue_session(&call, &subject, response.headers())?;
    }
    if let Some(ticket) = ticket.filter(|_| response.status_code() == 200) {
        response.headers().set(TICKET_HEADER, &ticket.to_string())?;
    }
    Ok(response)
}

/// Who sends this request, if that is somebody who may.
async fn admit(call: &Call, credentials: &Credentials) -> Result<Identified, Error> {
    let identified = identify(call, credentials)?;
    if let Some(settings) = call.settings.turnstile.as_ref().filter(|_| identified.is_first_contact()) {
        turnstile::verify(settings, credentials.turnstile_token.as_deref()).await?;
    }
    Ok(identified)
}

fn identify(call: &Call, credentials: &Credentials) -> Result<Identified, Error> {
    let headers = call.request.headers();
    let (header, cookies) = (headers.get(SESSION_HEADER)?, headers.get("Cookie")?);
    let (settings, now) = (&call.settings, call.received);
    let (policy, sessions) = (&settings.identity, &settings.sessions);
    let presented = Presented { header: header.as_deref(), cookies: cookies.as_deref(), is_secure: call.is_secure };
    identity::identify(credentials, presented, policy, sessions, now).map_err(|error: Unidentified| error.into())
}

/// Whose conversation this request reads; it has no body that could prove anything.
fn reader(call: &Call) -> Result<Option<Subject>, Error> {
    Ok(identify(call, &Credentials::default())?.visitor.reader().cloned())
}

/// Gives the visitor a new session token, by header and by cookie.
fn issue_session(call: &Call, subject: &Subject, headers: &Headers) -> Result<(), Error> {
    let sessions = &call.settings.sessions;
    let token = sessions.issue(subject, call.received);
    headers.set(SESSION_HEADER, &token)?;
    headers.append("Set-Cookie", &set_cookie(&token, sessions.life(), call.is_secure))?;
    Ok(())
}

/// 204, and the browser forgets the session.
fn end_session(call: &Call) -> Result<Response, Error> {
    let response = no_content()?;
    response.headers().append("Set-Cookie", &set_cookie("", 0, call.is_secure))?;
    Ok(response)
}

fn no_content() -> Result<Response, Error> {
    Ok(Response::empty()?.with_status(204))
}

/// The value of a parameter in the request's URL.
fn query(call: &Call, name: &str) -> Option<String> {
    let url = call.request.inner().url();
    form_urlencoded::parse(web_url::query(&url).as_bytes())
        .find_map(|(found, value)| (found == name).then(|| value.into_owned()))
}

/// JSON that the database made.
fn json(text: String) -> Result<Response, Error> {
    let headers = Headers::new();
    headers.set("Content-Type", "application/json")?;
    Ok(Response::from_bytes(text.into_bytes())?.with_headers(headers))
}

/// The response, once the task that works on it has sent it.
async fn received(responded: oneshot::Receiver<worker::Result<Response>>) -> Result<Response, Error> {
    let response = responded.await.map_err(|_| Error::Runtime("the task ended without an answer".to_owned()))?;
    Ok(response?)
}

/// Reads a JSON body; one that is too large is not read to its end.
async fn read_json(request: &mut Request) -> Result<Vec<u8>, Error> {
    let content_type = request.headers().get("Content-Type")?.unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case("application/json") {
        return Err(Error::UnsupportedMediaType);
    }
    let declared = request.headers().get("Content-Length")?.and_then(|length| length.parse::<usize>().ok());
    if declared.is_some_and(|length| length > MAX_BODY_BYTES) {
        return Err(Error::PayloadTooLarge);
    }
    let mut body = Vec::new();
    if let Some(stream) = request.inner().body() {
        // All of it at once, and room for a byte more, which shows whether it ends there.
        let room = declared.unwrap_or(MAX_BODY_BYTES) as u32 + 1;
        let mut reader = ByteReader::new(&stream).map_err(|error| Error::Runtime(describe(&error)))?;
        while reader.read(&mut body, room..=room).await.map_err(|_| Error::BrokenBody)? {
            if body.len() > MAX_BODY_BYTES {
                return Err(Error::PayloadTooLarge);
            }
        }
    }
    Ok(body)
}
