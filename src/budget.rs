//! How many tokens of the models a day has, for a visitor, for an address and in all. The statement that opens a turn
//! reserves what its reply may need, so that turns at the same time cannot spend the same tokens; the one that closes it
//! settles for what was used.

use std::{cell::RefCell, collections::HashSet};

use serde::{Deserialize, Serialize};

use crate::{llm::Usage, router::Call, settings::ProviderKind, visitor::Visitor};

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

/// What a turn may cost, and who pays.
#[derive(Clone, Debug)]
pub struct Reservation {
    /// The limits.
    pub budgets: Budgets,
    /// Names the address in the database: not as it is, and by another name each day.
    pub ip_key: Option<String>,
    /// Tokens that its reply may need.
    pub tokens: i32,
    prompt_bytes: usize,
    spender: String,
}

/// What a turn did cost.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Charge {
    /// See [`Reservation`].
    pub ip_key: Option<String>,
    /// Whether there is a budget for everybody together.
    pub is_total: bool,
    /// Tokens that the models read and wrote.
    pub tokens: i32,
}

/// Bytes of a token, roughly, in the languages of Europe.
const BYTES_PER_TOKEN: usize = 4;

fn estimate(bytes: usize) -> i32 {
    i32::try_from(bytes / BYTES_PER_TOKEN).unwrap_or(i32::MAX)
}

impl Reservation {
    /// For a message; `None` if the deployment has no budgets.
    pub fn new(call: &Call, visitor: &Visitor, message: &str) -> Option<Self> {
        let settings = &call.settings;
        if settings.budgets == Budgets::default() {
            return None;
        }
        let day = call.received.utc().date_naive();
        let ip_key = call.address.as_ref().map(|address| settings.sessions.pseudonym(&format!("{day} {address}")));
        let reads_history = visitor.reader().is_some() && settings.history_messages > 0;
        let history = if reads_history { settings.history_chars as usize } else { 0 };
        let prompt_bytes = settings.instructions.len().saturating_add(message.len()).saturating_add(history);
        let reply = i32::try_from(settings.max_tokens).unwrap_or(i32::MAX);
        let tokens = estimate(prompt_bytes).saturating_add(reply);
        let spender = format!("{day} {}", visitor.phone_number());
        Some(Self { budgets: settings.budgets, ip_key, tokens, prompt_bytes, spender })
    }

    /// What the turn did cost: what its model counted, or else what there was to read and write.
    pub fn settle(&self, provider: Option<ProviderKind>, usage: Option<Usage>, reply_bytes: usize) -> Charge {
        let tokens = match (provider, usage) {
            (None | Some(ProviderKind::Scripted), _) => 0,
            (_, Some(usage)) => usage.prompt_tokens.saturating_add(usage.completion_tokens).max(0),
            (_, None) => estimate(self.prompt_bytes.saturating_add(reply_bytes)),
        };
        Charge { ip_key: self.ip_key.clone(), is_total: self.budgets.total > 0, tokens }
    }

    /// Whether a budget of this visitor or address was spent a while ago: then no model is asked before the database
    /// has agreed.
    pub fn was_refused(&self) -> bool {
        REFUSED.with_borrow(|refused| {
            refused.contains(&self.spender) || self.ip_key.as_ref().is_some_and(|key| refused.contains(key))
        })
    }

    /// Remembers that a budget is spent.
    pub fn note_refusal(&self) {
        REFUSED.with_borrow_mut(|refused| {
            // Forgetting costs a model's attention for some milliseconds, no more.
            if refused.len() >= MAX_REFUSED {
                refused.clear();
            }
            refused.insert(self.spender.clone());
            refused.extend(self.ip_key.clone());
        });
    }
}

/// Most visitors and addresses that an isolate remembers.
const MAX_REFUSED: usize = 2000;

thread_local!(static REFUSED: RefCell<HashSet<String>> = RefCell::default());
