//! Cloudflare Turnstile: whether a visitor's first request comes from a person.
//! <https://developers.cloudflare.com/turnstile/get-started/server-side-validation/>

use std::time::Duration;

use js_sys::futures::JsFuture;
use serde::{Deserialize, Serialize};

use crate::{
    error::Error,
    js::{fetch, timeout},
    settings::TurnstileSettings,
};

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
    match timeout(PATIENCE, ask(settings, token)).await.flatten() {
        Some(Verdict { success: true }) => Ok(()),
        Some(Verdict { success: false }) => Err(Error::TurnstileFailed),
        None => Err(Error::TurnstileUnavailable),
    }
}

async fn ask(settings: &TurnstileSettings, token: &str) -> Option<Verdict> {
    let body = serde_json::to_string(&Question { secret: settings.secret.reveal(), response: token }).ok()?;
    let headers = [("Content-Type", "application/json")];
    let (response, _request) = fetch(&settings.url, &headers, Some(&body)).await.ok()?;
    let verdict = JsFuture::from(response.text().ok()?).await.ok()?.as_string()?;
    serde_json::from_slice(verdict.as_bytes()).ok()
}
