//! How many tokens of the models a day has, for a visitor, for an address and in all. The statement that opens a turn
//! reserves what its reply may need, so that turns at the same time cannot spend the same tokens; the one that closes it
//! settles for what was used.

use std::{cell::RefCell, collections::HashMap, time::Duration};

use chrono::NaiveDate;

use crate::{
    chat_request::ChatRequest,
    clock::Timestamp,
    llm::{Attempt, Summary},
    router::Call,
    settings::{PassMedia, Settings},
    visitor::Visitor,
};

/// Tokens a day (UTC); 0 is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Budgets {
    /// For one visitor.
    pub visitor: i64,
    /// For one address.
    pub ip: i64,
    /// For everybody together.
    pub total: i64,
}

/// Bytes of a token, roughly, in the languages of Europe.
const BYTES_PER_TOKEN: usize = 4;
/// What an image counts as, in bytes of text.
const IMAGE_BYTES: usize = 4000;

fn estimate(bytes: usize) -> i32 {
    i32::try_from(bytes / BYTES_PER_TOKEN).unwrap_or(i32::MAX)
}

/// What a turn may cost, and who pays. The keys are pseudonyms of who pays, others each day.
#[derive(Clone, Debug)]
pub struct Reservation {
    /// The limits.
    pub budgets: Budgets,
    /// The day (UTC).
    pub day: NaiveDate,
    /// Names the visitor; those who only name a user do not pay with what the user has.
    pub visitor_key: String,
    /// Names the address.
    pub ip_key: Option<String>,
    /// Tokens that the reply may need.
    pub tokens: i32,
    /// Tokens that a model reads, at most, before it replies.
    prompt_tokens: i32,
}

impl Reservation {
    /// For a message; `None` if the deployment has no budgets.
    pub fn new(call: &Call, visitor: &Visitor, message: &ChatRequest) -> Option<Self> {
        let settings = &call.settings;
        if settings.budgets == Budgets::default() {
            return None;
        }
        let day = call.received.utc().date_naive();
        let pseudonym = |text: &str| settings.sessions.pseudonym(&format!("{day} {text}"));
        let kind = if visitor.is_proven() { "proven" } else { "named" };
        let prompt_tokens = estimate(prompt_bytes(settings, visitor, message));
        Some(Self {
            budgets: settings.budgets,
            day,
            visitor_key: pseudonym(&format!("{kind} {}", visitor.phone_number())),
            ip_key: call.address.as_ref().map(|address| pseudonym(address)),
            tokens: prompt_tokens.saturating_add(i32::try_from(settings.max_tokens).unwrap_or(i32::MAX)),
            prompt_tokens,
        })
    }

    /// What a turn did cost: what its model counted, or else what there was to read and write; and what those had read
    /// whose words came to nothing. `reply` is what was said, and by what account; the script is free.
    pub fn settle(&self, failed: &[Attempt], reply: Option<(&str, Option<&Summary>)>) -> i32 {
        let wasted = failed.iter().filter(|attempt| attempt.error.has_cost()).count();
        let wasted = self.prompt_tokens.saturating_mul(i32::try_from(wasted).unwrap_or(i32::MAX));
        let Some((text, Some(summary))) = reply else { return wasted };
        let estimated = self.prompt_tokens.saturating_add(estimate(text.len()));
        let counted = summary.usage.map(|usage| usage.prompt_tokens.saturating_add(usage.completion_tokens));
        let spent = match (summary.usage, counted) {
            // The account of a reply that broke off may be an early one.
            (Some(usage), Some(counted)) if usage.prompt_tokens > 0 && summary.done => counted,
            (_, counted) => counted.unwrap_or_default().max(estimated),
        };
        wasted.saturating_add(spent)
    }

    /// Whether a model is only asked once the database has agreed, since it did not a short while ago.
    pub fn must_ask_first(&self) -> bool {
        let now = Timestamp::now();
        SUSPECTS.with_borrow(|suspects| {
            self.names().any(|name| suspects.get(&name).is_some_and(|since| now.since(*since) < SUSPICION))
        })
    }

    /// Remembers that a message of this visitor came twice: a model that was asked for it was asked for nothing.
    pub fn note_repetition(&self) {
        self.suspect("visitor");
    }

    /// Remembers that this budget is spent: `visitor`, `ip` or `total`.
    pub fn note_refusal(&self, scope: &str) {
        self.suspect(scope);
    }

    fn suspect(&self, scope: &str) {
        let Some(name) = self.names().find(|name| name.starts_with(scope)) else { return };
        SUSPECTS.with_borrow_mut(|suspects| {
            // To forget costs some prompts, no more.
            if suspects.len() >= MAX_SUSPECTS {
                suspects.clear();
            }
            suspects.insert(name, Timestamp::now());
        });
    }

    fn names(&self) -> impl Iterator<Item = String> {
        let ip = self.ip_key.as_ref().map(|key| format!("ip {key}"));
        [format!("visitor {}", self.visitor_key), format!("total {}", self.day)].into_iter().chain(ip)
    }
}

/// How long the database is asked first.
const SUSPICION: Duration = Duration::from_secs(600);
/// How many visitors, addresses and days an isolate remembers.
const MAX_SUSPECTS: usize = 2000;

thread_local!(static SUSPECTS: RefCell<HashMap<String, Timestamp>> = RefCell::default());

/// How much a model has to read for this message, at most.
fn prompt_bytes(settings: &Settings, visitor: &Visitor, message: &ChatRequest) -> usize {
    let reads_history = visitor.reader().is_some() && settings.history_messages > 0;
    // Most characters of other alphabets are two bytes.
    let history = if reads_history { settings.history_chars as usize * 2 } else { 0 };
    let line = |url: &String| url.len() + "voice message: \n".len();
    let audio: usize = message.audio_urls.iter().map(line).sum();
    let urls = match settings.pass_media {
        PassMedia::Off => 0,
        PassMedia::Text => audio + message.media_urls.iter().map(line).sum::<usize>(),
        PassMedia::Image => audio + message.media_urls.len() * IMAGE_BYTES,
    };
    settings.instructions.len() + message.content.len() + history + urls
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llm::{ModelError, Usage};

    fn reservation() -> Reservation {
        Reservation {
            budgets: Budgets { visitor: 1, ip: 1, total: 1 },
            day: NaiveDate::default(),
            visitor_key: "v".to_owned(),
            ip_key: None,
            tokens: 1500,
            prompt_tokens: 700,
        }
    }

    fn summary(usage: Option<(i32, i32)>, done: bool) -> Summary {
        let usage = usage.map(|(prompt_tokens, completion_tokens)| Usage { prompt_tokens, completion_tokens });
        Summary { done, finish_reason: None, usage }
    }

    #[test]
    fn a_reply_costs_what_its_model_counted_or_what_it_must_have_been() {
        let reply = "x".repeat(400);
        for (usage, done, tokens) in [
            (Some((600, 90)), true, 690),
            (None, true, 800),
            // Numbers that cannot be.
            (Some((0, 0)), true, 800),
            (Some((-5, 3)), true, 800),
            // An account from before the end.
            (Some((600, 1)), false, 800),
            (Some((900, 90)), false, 990),
            (Some((i32::MAX, i32::MAX)), true, i32::MAX),
        ] {
            let summary = summary(usage, done);
            assert_eq!(reservation().settle(&[], Some((&reply, Some(&summary)))), tokens, "{usage:?}");
        }
    }

    #[test]
    fn models_that_said_nothing_have_read_the_prompt() {
        let attempt = |error| Attempt { provider: crate::settings::ProviderKind::OpenAi, error, millis: 1 };
        let failed = [
            attempt(ModelError::Empty),
            attempt(ModelError::FirstTokenTimeout),
            attempt(ModelError::Status(500, None)),
            attempt(ModelError::Unreachable(String::new())),
        ];
        assert_eq!(reservation().settle(&failed, None), 1400);
        // The script is free.
        assert_eq!(reservation().settle(&[], Some(("Hello", None))), 0);
    }
}
