//! `POST /chat/session`: a session before the first message, for the user whom the body proves or for a new visitor; with
//! a visitor's valid session, a fresh token of the same. 200 `{"expires": ...}`, and the token in `X-Chat-Token`. 401 when the body
//! proves nobody.
//!
//! `DELETE /chat/session`: the browser forgets its cookie, which no script can take away. 204. Nothing is erased.

use serde::Serialize;
use worker::Response;

use super::{admit, end_session, issue_session, read_json};
use crate::{
    chat_request::parse_credentials,
    clock::Timestamp,
    error::Error,
    identity::{Identified, IdentityError, Unidentified},
    router::Call,
    session::Subject,
    visitor::Visitor,
};

#[derive(Serialize)]
struct SessionResponse {
    expires: Timestamp,
}

/// See the module.
pub async fn post(mut call: Call) -> Result<Response, Error> {
    let credentials = parse_credentials(&read_json(&mut call.request).await?)?;
    let Identified { visitor, issue, session } = admit(&call, &credentials).await?;
    let renewed = match (visitor, issue) {
        (Visitor::Named(_), _) => return Err(Unidentified::from(IdentityError::Unproven).into()),
        // A user's session lasts as long as the proof that made it: no longer for having been shown.
        (Visitor::Known(subject @ Subject::Visitor(_)), None) => Some(subject),
        (_, issue) => issue,
    };
    let sessions = &call.settings.sessions;
    let expires = match (&renewed, session) {
        (None, Some(session)) => session.expires,
        _ => sessions.expiry(call.received),
    };
    let response = Response::from_json(&SessionResponse { expires })?;
    if let Some(subject) = renewed {
        issue_session(&call, &subject, response.headers())?;
    }
    Ok(response)
}

/// See the module.
pub fn delete(call: Call) -> Result<Response, Error> {
    end_session(&call)
}
