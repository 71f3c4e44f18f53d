//! One structured line for each thing that happened: ids, sizes, timings and codes, never what anybody wrote.

use serde::Serialize;
use uuid::Uuid;
use worker::{console_error, console_log};

use crate::{
    error::Error,
    history::{Forgotten, HistoryError},
    llm::{Attempt, Usage},
};

#[derive(Serialize)]
struct Line<'a, F> {
    message: &'a str,
    request_id: Uuid,
    #[serde(flatten)]
    fields: F,
}

/// Logs something that went as it should.
pub fn info(message: &str, request_id: Uuid, fields: impl Serialize) {
    if let Ok(line) = serde_json::to_string(&Line { message, request_id, fields }) {
        console_log!("{line}");
    }
}

/// Logs an error that is the service's own.
pub fn error(request_id: Uuid, error: &Error) {
    fault(request_id, Fault { code: error.fault().code, error: error.to_string(), provider: None, ms: None });
}

/// Logs a provider that did not reply, so that the next one was asked.
pub fn provider_failed(request_id: Uuid, attempt: &Attempt) {
    fault(
        request_id,
        Fault {
            code: attempt.error.code(),
            error: attempt.error.to_string(),
            provider: Some(attempt.provider.name()),
            ms: Some(attempt.millis),
        },
    );
}

#[derive(Serialize)]
struct Fault {
    code: &'static str,
    error: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    provider: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ms: Option<u64>,
}

fn fault(request_id: Uuid, fields: Fault) {
    if let Ok(line) = serde_json::to_string(&Line { message: "❌ Error", request_id, fields }) {
        console_error!("{line}");
    }
}

/// Logs why a turn goes to the outbox.
pub fn queued(turn: Uuid, error: &HistoryError) {
    undelivered("queued", turn, error);
}

/// Logs a turn that came to PostgreSQL by the outbox.
pub fn delivered(turn: Uuid) {
    console_log!("{}", serde_json::json!({"message": "📬 Turn delivered", "turn": turn}));
}

/// Logs a turn in the outbox that PostgreSQL did not take.
pub fn not_delivered(turn: Uuid, error: &HistoryError) {
    undelivered("not_delivered", turn, error);
}

/// Logs what the day's tidying-up deleted.
pub fn tidied_up(forgotten: Forgotten) {
    console_log!(
        "{}",
        serde_json::json!({"message": "🧹 Tidied up", "messages": forgotten.messages, "users": forgotten.users})
    );
}

/// Logs that the day's tidying-up failed; the next day's does its work as well.
pub fn not_tidied_up(error: &Error) {
    let line = serde_json::json!({"message": "❌ Error", "code": "not_tidied_up", "error": error.to_string()});
    console_error!("{line}");
}

fn undelivered(code: &str, turn: Uuid, error: &HistoryError) {
    let line = serde_json::json!({"message": "❌ Error", "code": code, "turn": turn, "error": error.to_string()});
    console_error!("{line}");
}

/// What the log says about a turn.
#[derive(Default, Serialize)]
pub struct Record {
    /// The turn.
    pub turn: Uuid,
    /// How it ended.
    pub state: &'static str,
    /// Who wrote the reply.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<&'static str>,
    /// Size of the message.
    pub bytes_in: usize,
    /// Size of the reply.
    pub bytes_out: usize,
    /// Milliseconds from the request to the recorded message,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recorded_ms: Option<u64>,
    /// to the first text,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_text_ms: Option<u64>,
    /// and to the end.
    pub total_ms: u64,
    /// How many pieces the reply came in.
    pub pieces: usize,
    /// Whether the visitor left before its end.
    pub left: bool,
    /// Whether the turn goes to PostgreSQL by the outbox.
    pub queued: bool,
}

/// A user who was created with a turn.
#[derive(Serialize)]
pub struct Created {
    /// The turn.
    pub turn: Uuid,
}

/// What `DEBUG` adds to it.
#[derive(Serialize)]
pub struct Detail<'a> {
    /// The turn.
    pub turn: Uuid,
    /// How many URLs of each kind came with the message.
    pub media_urls: usize,
    /// See `media_urls`.
    pub audio_urls: usize,
    /// Which model wrote the reply.
    pub model: Option<&'a str>,
    /// Why it stopped, in its own words.
    pub finish_reason: Option<&'a str>,
    /// What it counted.
    pub usage: Option<Usage>,
    /// Milliseconds that the end of the turn took to record.
    pub close_ms: u64,
}
