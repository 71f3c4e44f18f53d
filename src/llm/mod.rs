//! The models that can write a reply: asked in order, until one says something.

mod openai;
mod reply;
mod stream;
mod workers_ai;

use std::{
    task::{Context, Poll},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;
use worker::Env;

use crate::{
    agent::{Prompt, scripted},
    clock::Timestamp,
    js::{sleep, timeout},
    settings::{ProviderKind, Settings},
};
pub use openai::OpenAi;
pub use reply::Summary;
use stream::ModelStream;
pub use workers_ai::WorkersAi;

/// Longest reply, in bytes: a model that goes on is cut off behind it. With its question (64 KiB) it has to fit into one
/// message of the outbox (128 KB).
pub const MAX_REPLY_BYTES: usize = 48 * 1024;

/// How a model failed. The messages are for the log.
#[derive(Clone, Debug, Error)]
pub enum ModelError {
    /// The request could not be sent, or the connection broke before an answer.
    #[error("the model cannot be reached: {0}")]
    Unreachable(String),
    /// An HTTP status other than success, and after how many seconds the model wants to be asked again.
    #[error("the model answered with status {0}")]
    Status(u16, Option<u64>),
    /// No text within `LLM_FIRST_TOKEN_TIMEOUT_MS`.
    #[error("the model said nothing in time")]
    FirstTokenTimeout,
    /// No text within `LLM_IDLE_TIMEOUT_MS`, in the middle of a reply.
    #[error("the model fell silent")]
    IdleTimeout,
    /// An error object inside a successful stream.
    #[error("the model reported an error in its stream")]
    InStream,
    /// Not a stream of chunks.
    #[error("the model sent something that is no reply")]
    Garbage,
    /// The stream ended without its end marker, or broke.
    #[error("the model's stream ended early")]
    Truncated,
    /// The visitor left, and the platform's time for finishing without them is over.
    #[error("the visitor left, and the reply took too long to wait for")]
    OutOfTime,
    /// The visitor wanted no more of it.
    #[error("the visitor stopped the reply")]
    Stopped,
    /// The Worker that wrote the reply is gone.
    #[error("the reply was lost with its Worker")]
    Lost,
    /// A reply without text.
    #[error("the model's reply was empty")]
    Empty,
    /// More than [`MAX_REPLY_BYTES`].
    #[error("the model's reply was too long")]
    TooLong,
}

impl ModelError {
    /// Short name, as `chat_turns.error` keeps it.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "unreachable",
            Self::Status(..) => "status",
            Self::FirstTokenTimeout => "first_token_timeout",
            Self::IdleTimeout => "idle_timeout",
            Self::InStream => "error_in_stream",
            Self::Garbage => "garbage",
            Self::Truncated => "truncated",
            Self::OutOfTime => "out_of_time",
            Self::Stopped => "stopped",
            Self::Lost => "lost",
            Self::Empty => "empty",
            Self::TooLong => "too_long",
        }
    }

    /// Whether the model must have read the prompt before it failed.
    pub const fn has_cost(&self) -> bool {
        !matches!(self, Self::Unreachable(_) | Self::Status(..))
    }

    /// How long to wait before the same model is asked once more; `None` when that would help nobody. Chance keeps the
    /// visitors of a model that comes back from asking it all at once.
    fn retry_delay(&self) -> Option<Duration> {
        let wait = match self {
            Self::Status(429 | 503, Some(seconds)) => Duration::from_secs(*seconds),
            Self::Status(429 | 500.., _) | Self::Unreachable(_) | Self::Truncated => Duration::from_millis(200),
            _ => return None,
        };
        let jitter = Duration::from_millis(u64::from(Uuid::new_v4().as_bytes()[0]));
        (wait <= MAX_RETRY_DELAY).then_some(wait + jitter)
    }
}

/// Longest time a visitor waits for a model that asks for patience.
const MAX_RETRY_DELAY: Duration = Duration::from_secs(3);

/// Tokens as the model counted them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Usage {
    /// Tokens of instructions and messages.
    pub prompt_tokens: i32,
    /// Tokens of the reply.
    pub completion_tokens: i32,
}

/// One model that can be asked.
pub enum Provider {
    /// See [`OpenAi`].
    OpenAi(OpenAi),
    /// See [`WorkersAi`].
    WorkersAi(WorkersAi),
    /// See [`scripted`].
    Scripted,
}

impl Provider {
    /// Its kind.
    pub const fn kind(&self) -> ProviderKind {
        match self {
            Self::OpenAi(_) => ProviderKind::OpenAi,
            Self::WorkersAi(_) => ProviderKind::WorkersAi,
            Self::Scripted => ProviderKind::Scripted,
        }
    }

    /// Name of the model, as `chat_turns.model` keeps it.
    fn model(&self) -> String {
        match self {
            Self::OpenAi(openai) => openai.model().to_owned(),
            Self::WorkersAi(workers_ai) => workers_ai.model().to_owned(),
            Self::Scripted => scripted::VERSION.to_owned(),
        }
    }

    /// Whether it could be asked now, without asking it anything.
    pub async fn check(&self) -> bool {
        match self {
            Self::OpenAi(openai) => openai.check().await,
            Self::WorkersAi(workers_ai) => workers_ai.is_bound(),
            Self::Scripted => true,
        }
    }

    /// Sends the prompt; the reply may still be to come.
    async fn open(&self, prompt: &Prompt<'_>) -> Result<Source, ModelError> {
        Ok(match self {
            Self::OpenAi(openai) => Source::Stream(openai.open(prompt).await?),
            Self::WorkersAi(workers_ai) => Source::Stream(workers_ai.open(prompt).await?),
            Self::Scripted => Source::Script(scripted::Recital::new(scripted::answer(prompt), prompt.is_streamed)),
        })
    }
}

/// A provider that was asked and did not answer.
#[derive(Debug)]
pub struct Attempt {
    /// Who was asked.
    pub provider: ProviderKind,
    /// What came of it.
    pub error: ModelError,
    /// How long it took, in milliseconds.
    pub millis: u64,
}

/// The providers of `LLM_PROVIDERS`, in order.
pub struct Models {
    providers: Vec<Provider>,
    first_token_timeout: Duration,
}

impl Models {
    /// Finds every provider's settings and bindings. One that has none fails when it is asked, so that the next one
    /// takes over.
    pub fn new(settings: &Settings, env: &Env) -> Self {
        let provider = |kind: &ProviderKind| match (kind, &settings.openai) {
            (ProviderKind::OpenAi, Some(openai)) => Some(Provider::OpenAi(OpenAi::new(openai, settings))),
            (ProviderKind::OpenAi, None) => None,
            (ProviderKind::WorkersAi, _) => Some(Provider::WorkersAi(WorkersAi::new(env, settings))),
            (ProviderKind::Scripted, _) => Some(Provider::Scripted),
        };
        Self {
            providers: settings.providers.iter().filter_map(provider).collect(),
            first_token_timeout: settings.first_token_timeout,
        }
    }

    /// The providers, in order.
    pub fn providers(&self) -> &[Provider] {
        &self.providers
    }

    /// Asks one provider after the other until one has said something, which is appended to `text`; the last one twice,
    /// if its error may pass. Those that failed are added to `attempts`; when all did, there is no reply.
    pub async fn ask(&self, prompt: &Prompt<'_>, text: &mut String, attempts: &mut Vec<Attempt>) -> Option<Reply> {
        let once_more = self.providers.last();
        for (index, provider) in self.providers.iter().chain(once_more).enumerate() {
            if index == self.providers.len() {
                sleep(attempts.last().and_then(|attempt| attempt.error.retry_delay())?).await;
            }
            let asked = Timestamp::now();
            let first = timeout(self.first_token_timeout, async {
                let mut reply =
                    Reply { kind: provider.kind(), model: provider.model(), source: provider.open(prompt).await? };
                while text.trim().is_empty() && reply.read(text).await? {}
                if text.trim().is_empty() { Err(ModelError::Empty) } else { Ok(reply) }
            });
            let error = match first.await {
                Some(Ok(reply)) => return Some(reply),
                Some(Err(error)) => error,
                None => ModelError::FirstTokenTimeout,
            };
            text.clear();
            attempts.push(Attempt { provider: provider.kind(), error, millis: Timestamp::now().millis_since(asked) });
        }
        None
    }
}

/// A reply that has begun.
pub struct Reply {
    /// Who writes it.
    pub kind: ProviderKind,
    /// With which model.
    pub model: String,
    source: Source,
}

enum Source {
    Stream(ModelStream),
    Script(scripted::Recital),
}

impl Reply {
    /// Words that no model was asked for.
    pub fn recite(text: String, is_streamed: bool) -> Self {
        let source = Source::Script(scripted::Recital::new(text, is_streamed));
        Self { kind: ProviderKind::Scripted, model: scripted::VERSION.to_owned(), source }
    }

    /// Appends all text that has arrived to `text`; `false` when the reply is complete. Whoever is patient need not be
    /// woken before that.
    pub fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        text: &mut String,
        is_patient: bool,
    ) -> Poll<Result<bool, ModelError>> {
        match &mut self.source {
            Source::Stream(stream) => stream.poll_read(cx, text, is_patient),
            Source::Script(recital) => recital.poll_read(cx, text).map(Ok),
        }
    }

    async fn read(&mut self, text: &mut String) -> Result<bool, ModelError> {
        std::future::poll_fn(|cx| self.poll_read(cx, text, false)).await
    }

    /// Why the model stopped and what it counted, as far as it said so.
    pub fn summary(&self) -> Option<Summary> {
        match &self.source {
            Source::Stream(stream) => Some(stream.summary()),
            Source::Script(_) => None,
        }
    }
}
