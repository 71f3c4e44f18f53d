//! `POST /chat/session`: a session before the first message, for the user whom the body proves or for a new visitor; with
//! a valid session, a fresh token of the same. 200 `{"expires": ...}`, and the token in `X-Chat-Token`. 401 when the body
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
    identity::{IdentityError, Unidentified},
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
    let subject = match admit(&call, &credentials).await?.visitor {
        Visitor::Known(subject) => subject,
        Visitor::New(id) => Subject::Visitor(id),
        Visitor::Named(_) => return Err(Unidentified::from(IdentityError::Unproven).into()),
    };
    let response = Response::from_json(&SessionResponse { expires: call.settings.sessions.expiry(call.received) })?;
    issue_session(&call, &subject, response.headers())?;
    Ok(response)
}

/// See the module.
pub fn delete(call: Call) -> Result<Response, Error> {
    end_session(&call)
}
