//! Every variable and secret the Worker knows, read and validated in one place.
//!
//! Plain variables stand in `wrangler.toml`, secrets are set with `wrangler secret put` or in `.dev.vars`. A value that
//! cannot be used is an error that names the variable and what it must be, never the value it had.

mod providers;
mod vars;

use std::{fmt, rc::Rc, time::Duration};

use crate::{
    agent::instructions, budget::Budgets, cors::AllowedOrigins, identity::IdentityPolicy, session::Sessions,
    web_url::WebUrl,
};
pub use providers::{OpenAiSettings, PassMedia, ProviderKind};
use providers::{parse_providers, read_openai};
pub use vars::SettingsError;
use vars::Vars;

/// Binding of the Hyperdrive configuration that leads to PostgreSQL.
pub const HYPERDRIVE: &str = "HYPERDRIVE";
/// Binding of Workers AI; only needed when `LLM_PROVIDERS` names `workers-ai`.
pub const AI: &str = "AI";
/// Binding of the queue that takes what PostgreSQL cannot take at the moment; without it such messages are refused.
pub const OUTBOX: &str = "OUTBOX";
/// Binding of the rate limiter that counts requests by address; without it they are not counted.
pub const IP_RATE_LIMITER: &str = "IP_RATE_LIMITER";
/// Binding of the rate limiter that counts messages by visitor; without it they are not counted.
pub const VISITOR_RATE_LIMITER: &str = "VISITOR_RATE_LIMITER";

/// Every variable that [`Settings::read`] looks up, for the documentation's test.
pub const NAMES: [&str; 32] = [
    "ASSISTANT_NAME",
    "CLINIC_NAME",
    "LLM_PROVIDERS",
    "OPENAI_BASE_URL",
    "OPENAI_API_KEY",
    "OPENAI_MODEL",
    "WORKERS_AI_MODEL",
    "LLM_FIRST_TOKEN_TIMEOUT_MS",
    "LLM_IDLE_TIMEOUT_MS",
    "LLM_MAX_TOKENS",
    "CHAT_HISTORY_MESSAGES",
    "CHAT_HISTORY_CHARS",
    "MAX_MESSAGE_CHARS",
    "PASS_MEDIA_TO_MODEL",
    "ALLOWED_ORIGINS",
    "REQUESTS_WITHOUT_ORIGIN",
    "SITE",
    "SESSION_KEYS",
    "SESSION_DAYS",
    "IDENTITY",
    "USER_HASH_SECRETS",
    "USER_TOKEN_SECRETS",
    "DAILY_TOKENS_PER_VISITOR",
    "DAILY_TOKENS_PER_IP",
    "DAILY_TOKENS",
    "TURNSTILE_SECRET_KEY",
    "TURNSTILE_URL",
    "RETENTION_DAYS",
    "DATABASE_TIMEOUT_MS",
    "HEARTBEAT_MS",
    "DISCONNECT_GRACE_MS",
    "DEBUG",
];

/// Where and how Cloudflare Turnstile's tokens are verified.
#[derive(Clone, Debug)]
pub struct TurnstileSettings {
    /// `TURNSTILE_SECRET_KEY`.
    pub secret: Secret,
    /// `TURNSTILE_URL`.
    pub url: String,
}

/// A value that never shows in debug output.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// The value itself, for the one place that sends it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// All settings of one deployment, valid by construction.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What the assistant calls herself.
    pub assistant_name: String,
    /// The clinic she speaks for.
    pub clinic_name: String,
    /// What a model is told about the two, and how to behave.
    pub instructions: String,
    /// The models to ask, in order; the next one takes over when one fails before any text was sent. Never empty.
    pub providers: Vec<ProviderKind>,
    /// Set when `providers` has [`ProviderKind::OpenAi`].
    pub openai: Option<Rc<OpenAiSettings>>,
    /// Model that Workers AI is asked for.
    pub workers_ai_model: String,
    /// Longest wait for a provider's first text, connection included.
    pub first_token_timeout: Duration,
    /// Longest silence of a model within a reply.
    pub idle_timeout: Duration,
    /// Longest reply that a model is asked for.
    pub max_tokens: u32,
    /// How many earlier messages the model sees. 0 is the guide's "no session memory for chat".
    pub history_messages: u32,
    /// How much of those, in characters; the oldest are left out first.
    pub history_chars: u32,
    /// Longest message, in characters.
    pub max_message_chars: usize,
    /// How media and audio URLs reach the model.
    pub pass_media: PassMedia,
    /// Sites whose pages may call this service.
    pub allowed_origins: AllowedOrigins,
    /// Whether requests that name no origin, as programs send them, are refused.
    pub is_origin_required: bool,
    /// Session tokens.
    pub sessions: Sessions,
    /// How users are told apart.
    pub identity: IdentityPolicy,
    /// How many tokens of the models a day has.
    pub budgets: Budgets,
    /// The check that a first message comes from a person.
    pub turnstile: Option<TurnstileSettings>,
    /// After how many days messages are deleted; 0 keeps them.
    pub retention_days: u32,
    /// Longest wait for one statement, connection included.
    pub database_timeout: Duration,
    /// Silence on a stream after which a comment is sent.
    pub heartbeat: Duration,
    /// How long a reply is still written after its visitor left. The platform gives about 30 seconds.
    pub disconnect_grace: Duration,
    /// Adds detail to the logs.
    pub debug: bool,
}

impl Settings {
    /// Reads all settings through `lookup`, which knows a variable's value by its name. An empty value counts as unset.
    pub fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let vars = Vars(&lookup);
        let providers = parse_providers(&vars.text("LLM_PROVIDERS", "scripted"))?;
        let openai = providers.contains(&ProviderKind::OpenAi).then(|| read_openai(&vars).map(Rc::new)).transpose()?;
        let assistant_name = vars.text("ASSISTANT_NAME", "Anna");
        let clinic_name = vars.text("CLINIC_NAME", "Istanbul Medic");
        Ok(Self {
            instructions: instructions(&assistant_name, &clinic_name),
            assistant_name,
            clinic_name,
            providers,
            openai,
            workers_ai_model: vars.text("WORKERS_AI_MODEL", "@cf/meta/llama-3.1-8b-instruct-fast"),
            first_token_timeout: vars.millis("LLM_FIRST_TOKEN_TIMEOUT_MS", 20_000, 100)?,
            idle_timeout: vars.millis("LLM_IDLE_TIMEOUT_MS", 20_000, 100)?,
            max_tokens: vars.number("LLM_MAX_TOKENS", 800, 1, 100_000)?,
            history_messages: vars.number("CHAT_HISTORY_MESSAGES", 0, 0, 100)?,
            history_chars: vars.number("CHAT_HISTORY_CHARS", 12_000, 100, 1_000_000)?,
            max_message_chars: vars.number("MAX_MESSAGE_CHARS", 8_000, 1, 65_536)?,
            pass_media: vars.choice(
                "PASS_MEDIA_TO_MODEL",
                &[("text", PassMedia::Text), ("off", PassMedia::Off), ("image", PassMedia::Image)],
            )?,
            allowed_origins: AllowedOrigins::parse(&vars.text("ALLOWED_ORIGINS", "*"))
                .map_err(|problem| SettingsError { name: "ALLOWED_ORIGINS", problem })?,
            is_origin_required: vars.choice("REQUESTS_WITHOUT_ORIGIN", &[("allow", false), ("refuse", true)])?,
            sessions: Sessions::new(
                &vars.text("SESSION_KEYS", ""),
                vars.text("SITE", "default"),
                vars.number("SESSION_DAYS", 30, 1, 400)?,
            )
            .map_err(|problem| SettingsError { name: "SESSION_KEYS", problem })?,
            identity: IdentityPolicy {
                is_proof_required: vars.choice("IDENTITY", &[("open", false), ("verified", true)])?,
                hash_secrets: vars.secrets("USER_HASH_SECRETS")?,
                token_secrets: vars.secrets("USER_TOKEN_SECRETS")?,
            },
            budgets: Budgets {
                visitor: vars.number("DAILY_TOKENS_PER_VISITOR", 100_000, 0, MAX_TOKENS)?,
                ip: vars.number("DAILY_TOKENS_PER_IP", 500_000, 0, MAX_TOKENS)?,
                total: vars.number("DAILY_TOKENS", 0, 0, MAX_TOKENS)?,
            },
            turnstile: read_turnstile(&vars)?,
            retention_days: vars.number("RETENTION_DAYS", 0, 0, 36_500)?,
            database_timeout: vars.millis("DATABASE_TIMEOUT_MS", 5_000, 100)?,
            heartbeat: vars.millis("HEARTBEAT_MS", 15_000, 100)?,
            disconnect_grace: vars.millis("DISCONNECT_GRACE_MS", 25_000, 100)?,
            debug: vars.flag("DEBUG", false)?,
        })
    }
}

/// Largest budget: more than anybody pays for, and far from what the database's numbers hold.
const MAX_TOKENS: i64 = 1_000_000_000_000;

fn read_turnstile<F: Fn(&str) -> Option<String>>(
    vars: &Vars<'_, F>,
) -> Result<Option<TurnstileSettings>, SettingsError> {
    let url = vars.text("TURNSTILE_URL", "https://challenges.cloudflare.com/turnstile/v0/siteverify");
    let url = WebUrl::parse(&url)
        .ok_or_else(|| SettingsError { name: "TURNSTILE_URL", problem: "must be an http or https URL".to_owned() })?
        .href;
    Ok(vars.get("TURNSTILE_SECRET_KEY").map(|secret| TurnstileSettings { secret: Secret(secret), url }))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    const KEY: &str = "a:0123456789abcdef0123456789abcdef";

    fn read(pairs: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        let given = |name: &str| pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        Settings::read(|name| given(name).or_else(|| (name == "SESSION_KEYS").then(|| KEY.to_owned())))
    }

    #[test]
    fn defaults_are_the_guides() {
        let settings = read(&[]).unwrap();
        assert_eq!(settings.assistant_name, "Anna");
        assert_eq!(settings.clinic_name, "Istanbul Medic");
        assert_eq!(settings.providers, [ProviderKind::Scripted]);
        assert_eq!(settings.history_messages, 0);
        assert!(settings.openai.is_none());
    }

    #[test]
    fn every_setting_is_listed() {
        let asked = RefCell::new(Vec::new());
        let _ = Settings::read(|name| {
            asked.borrow_mut().push(name.to_owned());
            match name {
                "LLM_PROVIDERS" => Some("openai".to_owned()),
                "OPENAI_MODEL" => Some("m".to_owned()),
                "SESSION_KEYS" => Some(KEY.to_owned()),
                _ => None,
            }
        });
        let (mut asked, mut names) = (asked.into_inner(), NAMES.to_vec());
        asked.sort_unstable();
        names.sort_unstable();
        assert_eq!(asked, names);
    }

    #[test]
    fn the_base_url_may_end_with_a_slash() {
        let settings = read(&[
            ("LLM_PROVIDERS", "openai, scripted"),
            ("OPENAI_BASE_URL", "http://127.0.0.1:8080/v1/"),
            ("OPENAI_MODEL", "m"),
        ])
        .unwrap();
        assert_eq!(settings.openai.as_ref().unwrap().base_url, "http://127.0.0.1:8080/v1");
        assert_eq!(settings.providers, [ProviderKind::OpenAi, ProviderKind::Scripted]);
    }

    #[test]
    fn a_bad_value_names_its_variable_and_not_its_value() {
        for (name, value) in [
            ("LLM_PROVIDERS", "gpt"),
            ("LLM_PROVIDERS", "scripted,scripted"),
            ("LLM_MAX_TOKENS", "many"),
            ("LLM_IDLE_TIMEOUT_MS", "-1"),
            ("CHAT_HISTORY_MESSAGES", "101"),
            ("PASS_MEDIA_TO_MODEL", "maybe"),
            ("ALLOWED_ORIGINS", "example.com"),
            ("DEBUG", "perhaps"),
            ("IDENTITY", "closed"),
            ("USER_HASH_SECRETS", "too short"),
            ("USER_TOKEN_SECRETS", "a secret that is long enough, short"),
            ("REQUESTS_WITHOUT_ORIGIN", "maybe"),
            ("SESSION_KEYS", "a:too-short"),
            ("SESSION_DAYS", "0"),
            ("DAILY_TOKENS", "-5"),
            ("TURNSTILE_URL", "challenges"),
            ("RETENTION_DAYS", "soon"),
        ] {
            let error = read(&[(name, value)]).unwrap_err();
            assert_eq!(error.name, name);
            assert!(!error.to_string().contains(&format!("{value:?}")), "{error}");
        }
        assert_eq!(read(&[("LLM_PROVIDERS", "openai")]).unwrap_err().name, "OPENAI_MODEL");
    }

    #[test]
    fn a_secret_does_not_show_in_debug_output() {
        assert_eq!(format!("{:?}", Secret("sk-1".to_owned())), "Secret");
    }
}
