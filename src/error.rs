//! Everything that can go wrong in a request, and the one way it becomes an answer.

use serde::Serialize;
use thiserror::Error;
use uuid::Uuid;
use worker::{Headers, Response};

use crate::{
    chat_request::{ChatRequestError, MAX_BODY_BYTES},
    history::HistoryError,
    idempotency_key::IdempotencyKeyError,
    identity::Unidentified,
    llm::ModelError,
    rate_limit::RATE_LIMIT_PERIOD,
    settings::{HYPERDRIVE, SettingsError},
    sse::Fault,
};

/// What went wrong. Sources are for the log; a client sees only [`Error::fault`].
#[derive(Debug, Error)]
pub enum Error {
    /// The body is not a chat request.
    #[error("bad request")]
    BadRequest(#[from] ChatRequestError),
    /// The idempotency key cannot be used.
    #[error("bad idempotency key")]
    BadKey(#[from] IdempotencyKeyError),
    /// A parameter of the URL cannot be used; says what to change.
    #[error("bad query")]
    BadQuery(&'static str),
    /// The idempotency key belongs to another message.
    #[error("the idempotency key was used for another message")]
    KeyReused,
    /// A message with this key was received before, and nobody may read its reply who only names its user.
    #[error("the message was received before")]
    AlreadyReceived,
    /// The session, or what the body says of the visitor, is not to be believed.
    #[error(transparent)]
    Unidentified(#[from] Unidentified),
    /// What was asked for is a visitor's own, and nobody said which.
    #[error("there is no session")]
    NoSession,
    /// The first message of a visitor needs a Turnstile token.
    #[error("the Turnstile token is missing")]
    TurnstileRequired,
    /// Turnstile does not take the token for a person's.
    #[error("the Turnstile token is not valid")]
    TurnstileFailed,
    /// Turnstile did not answer.
    #[error("Turnstile cannot be reached")]
    TurnstileUnavailable,
    /// More requests than the rate limits allow.
    #[error("too many requests")]
    RateLimited,
    /// The body broke off.
    #[error("the body could not be read")]
    BrokenBody,
    /// The body is longer than [`MAX_BODY_BYTES`].
    #[error("the body is too large")]
    PayloadTooLarge,
    /// The body is declared as something other than JSON.
    #[error("the body is not JSON")]
    UnsupportedMediaType,
    /// The page that sent the request is not on `ALLOWED_ORIGINS`.
    #[error("the origin is not allowed")]
    ForbiddenOrigin,
    /// The request names no origin, and `REQUESTS_WITHOUT_ORIGIN` refuses those.
    #[error("the request has no origin")]
    OriginRequired,
    /// No such path.
    #[error("not found")]
    NotFound,
    /// The path exists, for these methods.
    #[error("method not allowed")]
    MethodNotAllowed(&'static str),
    /// A setting cannot be used.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The database did not take what had to be recorded.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// No provider had a reply; the last one's reason.
    #[error("no model replied: {}", .0.as_ref().map_or("none is configured".to_owned(), ToString::to_string))]
    NoReply(Option<ModelError>),
    /// The reply broke off after some text, which is stored as partial.
    #[error("the reply broke off: {0}")]
    Interrupted(ModelError),
    /// The runtime refused something that it should not.
    #[error("the runtime failed: {0}")]
    Runtime(String),
}

impl From<worker::Error> for Error {
    fn from(error: worker::Error) -> Self {
        Self::Runtime(error.to_string())
    }
}

/// A problem document. <https://www.rfc-editor.org/rfc/rfc9457>
#[derive(Serialize)]
struct Problem<'a> {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: &'a str,
    code: &'a str,
    request_id: Uuid,
    /// What there is of a reply that broke off.
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a str>,
}

impl Error {
    /// Status code and its name.
    pub const fn status(&self) -> (u16, &'static str) {
        match self {
            Self::BadRequest(_) | Self::BadKey(_) | Self::BadQuery(_) | Self::BrokenBody => (400, "Bad Request"),
            Self::Unidentified(_) | Self::NoSession => (401, "Unauthorized"),
            Self::ForbiddenOrigin | Self::OriginRequired | Self::TurnstileRequired | Self::TurnstileFailed => {
                (403, "Forbidden")
            }
            Self::NotFound => (404, "Not Found"),
            Self::MethodNotAllowed(_) => (405, "Method Not Allowed"),
            Self::AlreadyReceived => (409, "Conflict"),
            Self::History(HistoryError::Erased) => (410, "Gone"),
            Self::PayloadTooLarge => (413, "Content Too Large"),
            Self::UnsupportedMediaType => (415, "Unsupported Media Type"),
            Self::KeyReused => (422, "Unprocessable Content"),
            Self::RateLimited => (429, "Too Many Requests"),
            Self::Settings(_) | Self::History(HistoryError::Binding(_)) | Self::Runtime(_) => {
                (500, "Internal Server Error")
            }
            Self::Interrupted(_) => (502, "Bad Gateway"),
            Self::History(_) | Self::NoReply(_) | Self::TurnstileUnavailable => (503, "Service Unavailable"),
        }
    }

    /// Whether the fault is the service's own, and so belongs into its log.
    pub const fn is_internal(&self) -> bool {
        self.status().0 >= 500
            && !matches!(self, Self::Interrupted(ModelError::Stopped) | Self::NoReply(Some(ModelError::Stopped)))
    }

    /// What a client is told.
    pub fn fault(&self) -> Fault {
        let (code, message) = match self {
            Self::BadRequest(error) => ("invalid_request", error.to_string()),
            Self::BadKey(error) => ("invalid_request", error.to_string()),
            Self::BadQuery(message) => ("invalid_request", (*message).to_owned()),
            Self::KeyReused => (
                "key_reused",
                "This `Idempotency-Key` belongs to another message: use a new key for each message.".to_owned(),
            ),
            Self::AlreadyReceived => (
                "already_received",
                "A message with this `Idempotency-Key` was received before; its reply is shown to those only who prove who they are, by a session, `user_hash` or `user_token`.".to_owned(),
            ),
            Self::Unidentified(Unidentified::Token(_)) => {
                ("invalid_token", "The session in `X-Chat-Token` is not valid, or not any more: go on without it, and a new one comes back.".to_owned())
            }
            Self::Unidentified(Unidentified::Body(error)) => ("unproven_identity", error.to_string()),
            Self::NoSession => {
                ("session_required", "This is for a visitor with a session: send the `X-Chat-Token` of an earlier answer.".to_owned())
            }
            Self::TurnstileRequired => {
                ("turnstile_required", "A visitor's first request needs a `turnstile_token` of Cloudflare Turnstile.".to_owned())
            }
            Self::TurnstileFailed => {
                ("turnstile_failed", "Cloudflare Turnstile refused the `turnstile_token`: get a new one and send the request again.".to_owned())
            }
            Self::TurnstileUnavailable => {
                ("turnstile_unavailable", "The `turnstile_token` cannot be checked at the moment: try again soon.".to_owned())
            }
            Self::RateLimited => {
                ("rate_limited", "Too many requests: wait for as long as `Retry-After` says.".to_owned())
            }
            Self::BrokenBody => ("invalid_request", "The body could not be read to its end: send it again.".to_owned()),
            Self::PayloadTooLarge => {
                ("too_large", format!("The body is larger than {MAX_BODY_BYTES} bytes: send a shorter message."))
            }
            Self::UnsupportedMediaType => {
                ("unsupported_media_type", "Send the body as JSON, with `Content-Type: application/json`.".to_owned())
            }
            Self::ForbiddenOrigin => {
                ("forbidden_origin", "Pages of this origin may not use this service; its operator lists those that may in `ALLOWED_ORIGINS`.".to_owned())
            }
            Self::OriginRequired => {
                ("origin_required", "This service is for the pages of certain sites: the request has no `Origin`.".to_owned())
            }
            Self::NotFound => {
                ("not_found", "There is nothing at this path. Chat with `POST /chat/` or `POST /chat/stream`.".to_owned())
            }
            Self::MethodNotAllowed(allowed) => ("method_not_allowed", format!("This path takes {allowed}.")),
            // Names the variable and what it must be, never its value.
            Self::Settings(error) => ("misconfigured", format!("The service is not set up correctly: {error}.")),
            Self::History(HistoryError::Binding(_)) => {
                ("misconfigured", format!("The service is not set up correctly: there is no usable binding {HYPERDRIVE}."))
            }
            Self::History(HistoryError::Erased) => {
                ("erased", "The conversation was erased while this was on its way: a new message begins another one.".to_owned())
            }
            Self::History(_) => {
                ("storage_unavailable", "Messages cannot be stored at the moment: try again soon.".to_owned())
            }
            Self::NoReply(_) => ("assistant_unavailable", "The assistant cannot reply at the moment: try again soon.".to_owned()),
            Self::Interrupted(_) => ("reply_interrupted", "The reply broke off: ask again for the rest.".to_owned()),
            Self::Runtime(_) => ("internal", "Something went wrong on our side.".to_owned()),
        };
        Fault { code, message, retryable: matches!(self.status().0, 429 | 502 | 503) }
    }

    /// The answer to a request that failed; `reply` is what there is of a reply that broke off.
    pub fn to_response(&self, request_id: Uuid, reply: Option<&str>) -> worker::Result<Response> {
        let (status, title) = self.status();
        let fault = self.fault();
        let problem = Problem {
            r#type: "about:blank",
            title,
            status,
            detail: &fault.message,
            code: fault.code,
            request_id,
            content: reply.filter(|reply| !reply.is_empty()),
        };
        let headers = Headers::new();
        headers.set("Content-Type", "application/problem+json")?;
        if let Self::MethodNotAllowed(allowed) = self {
            headers.set("Allow", allowed)?;
        }
        match status {
            401 => headers.set("WWW-Authenticate", "ChatToken")?,
            429 => headers.set("Retry-After", &RATE_LIMIT_PERIOD.to_string())?,
            503 => headers.set("Retry-After", "5")?,
            _ => {}
        }
        Ok(Response::from_bytes(serde_json::to_vec(&problem)?)?.with_status(status).with_headers(headers))
    }
}
