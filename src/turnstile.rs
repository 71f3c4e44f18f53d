//! Cloudflare Turnstile: whether a visitor's first request comes from a person.
//! <https://developers.cloudflare.com/turnstile/get-started/server-side-validation/>

use std::time::Duration;

use serde::{Deserialize, Serialize};
use worker::{Fetch, Headers, Method, Request, RequestInit};

use crate::{error::Error, js::timeout, settings::TurnstileSettings};

/// Longest wait for the verification.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest token, as its documentation says.
const MAX_TOKEN_BYTES: usize = 2048;

#[derive(Serialize)]
struct Question<'a> {
    secret: &'a str,
    response: &'a str,
}

#[derive(Deserialize)]
struct Verdict {
    success: bool,
}

/// An error unless Turnstile takes the token for a person's.
pub async fn verify(settings: &TurnstileSettings, token: Option<&str>) -> Result<(), Error> {
    let token = token.filter(|token| !token.is_empty()).ok_or(Error::TurnstileRequired)?;
    if token.len() > MAX_TOKEN_BYTES {
        return Err(Error::TurnstileFailed);
    }
    let asked = timeout(PATIENCE, ask(settings, token)).await;
    match asked {
        Some(Ok(Verdict { success: true })) => Ok(()),
        Some(Ok(Verdict { success: false })) => Err(Error::TurnstileFailed),
        Some(Err(_)) | None => Err(Error::TurnstileUnavailable),
    }
}

async fn ask(settings: &TurnstileSettings, token: &str) -> worker::Result<Verdict> {
    let body = serde_json::to_string(&Question { secret: settings.secret.reveal(), response: token })?;
    let headers = Headers::new();
    headers.set("Content-Type", "application/json")?;
    let mut init = RequestInit::new();
    init.with_method(Method::Post).with_headers(headers).with_body(Some(body.into()));
    Fetch::Request(Request::new_with_init(&settings.url, &init)?).send().await?.json().await
}
