//! Which models are asked, and what of a message they are shown.

use super::{Secret, SettingsError, vars::Vars};
use crate::web_url::WebUrl;

/// The kinds of model this Worker can ask, by their names in `LLM_PROVIDERS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProviderKind {
    /// Any OpenAI-compatible `/chat/completions`.
    OpenAi,
    /// Cloudflare's Workers AI, by its binding.
    WorkersAi,
    /// The assistant without a model: a fixed consultation intake.
    Scripted,
}

impl ProviderKind {
    /// The name in `LLM_PROVIDERS`, in `/health`, in logs and in `chat_turns.provider`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::WorkersAi => "workers-ai",
            Self::Scripted => "scripted",
        }
    }
}

/// How media and audio URLs reach the model (`PASS_MEDIA_TO_MODEL`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PassMedia {
    /// Not at all.
    Off,
    /// As text below the visitor's message.
    Text,
    /// Media as image parts where the provider takes them (`openai`), everything else as text.
    Image,
}

/// Where the `openai` provider is and what it is asked for.
#[derive(Clone, Debug)]
pub struct OpenAiSettings {
    /// `OPENAI_BASE_URL`, without a slash at its end.
    pub base_url: String,
    /// Whether that is OpenAI's own service.
    pub is_openai: bool,
    /// `OPENAI_API_KEY`; local servers need none.
    pub api_key: Option<Secret>,
    /// `OPENAI_MODEL`.
    pub model: String,
}

/// Reads `LLM_PROVIDERS`.
pub fn parse_providers(list: &str) -> Result<Vec<ProviderKind>, SettingsError> {
    let known = [ProviderKind::OpenAi, ProviderKind::WorkersAi, ProviderKind::Scripted];
    let problem = |text: &str| SettingsError { name: "LLM_PROVIDERS", problem: text.to_owned() };
    let mut providers = Vec::new();
    for name in list.split(',').map(str::trim) {
        let kind = known
            .into_iter()
            .find(|kind| kind.name() == name)
            .ok_or_else(|| problem("must be a comma-separated list of openai, workers-ai and scripted"))?;
        if providers.contains(&kind) {
            return Err(problem("must name each provider once"));
        }
        providers.push(kind);
    }
    Ok(providers)
}

/// Reads where the `openai` provider is.
pub fn read_openai<F: Fn(&str) -> Option<String>>(vars: &Vars<'_, F>) -> Result<OpenAiSettings, SettingsError> {
    let base = vars.text("OPENAI_BASE_URL", "https://api.openai.com/v1");
    let url = WebUrl::parse(&base).ok_or_else(|| SettingsError {
        name: "OPENAI_BASE_URL",
        problem: "must be an http or https URL such as https://api.openai.com/v1".to_owned(),
    })?;
    let base_url = url.href.trim_end_matches('/').to_owned();
    let model = vars.get("OPENAI_MODEL").ok_or_else(|| SettingsError {
        name: "OPENAI_MODEL",
        problem: "must name a model, since LLM_PROVIDERS has openai".to_owned(),
    })?;
    Ok(OpenAiSettings {
        base_url,
        is_openai: url.host == "api.openai.com",
        api_key: vars.get("OPENAI_API_KEY").map(Secret),
        model,
    })
}
