//! Any service that speaks OpenAI's chat completions, streamed.
//! <https://platform.openai.com/docs/api-reference/chat/create>

use std::{rc::Rc, time::Duration};

use serde::Serialize;
use wasm_bindgen::JsValue;
use web_sys::Response;

use super::{ModelError, stream::ModelStream};
use crate::{
    agent::{Message, Prompt},
    js::{Lease, describe, fetch, timeout},
    settings::{OpenAiSettings, PassMedia, Settings},
};

/// The `openai` provider.
pub struct OpenAi {
    settings: Rc<OpenAiSettings>,
    max_tokens: u32,
    images: bool,
}

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    messages: Vec<Message<'a>>,
    stream: bool,
    stream_options: StreamOptions,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u32>,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

impl OpenAi {
    /// The provider as `settings` has it.
    pub fn new(openai: &Rc<OpenAiSettings>, settings: &Settings) -> Self {
        Self {
            settings: Rc::clone(openai),
            max_tokens: settings.max_tokens,
            images: settings.pass_media == PassMedia::Image,
        }
    }

    /// `OPENAI_MODEL`.
    pub fn model(&self) -> &str {
        &self.settings.model
    }

    /// Sends the prompt and returns the body of a successful answer. Dropping the future ends the request.
    pub async fn open(&self, prompt: &Prompt<'_>) -> Result<ModelStream, ModelError> {
        let url = format!("{}/chat/completions", self.settings.base_url);
        let body = self.body(prompt).map_err(|error| ModelError::Unreachable(error.to_string()))?;
        let answer = self.fetch(&url, Some(&body)).await;
        let (response, request) = answer.map_err(|error| ModelError::Unreachable(describe(&error)))?;
        match response.status() {
            200..300 => ModelStream::new(&response.body().ok_or(ModelError::Empty)?, request),
            status => {
                let retry_after = response.headers().get("Retry-After").ok().flatten();
                Err(ModelError::Status(status, retry_after.and_then(|seconds| seconds.parse().ok())))
            }
        }
    }

    /// Whether the service answers, within two seconds, and takes the key. Not every one can list its models.
    pub async fn check(&self) -> bool {
        let url = format!("{}/models", self.settings.base_url);
        let answer = timeout(Duration::from_secs(2), self.fetch(&url, None)).await;
        let Some(Ok((response, _request))) = answer else { return false };
        !matches!(response.status(), 401 | 403 | 500..)
    }

    async fn fetch(&self, url: &str, body: Option<&str>) -> Result<(Response, Lease), JsValue> {
        let key = self.settings.api_key.as_ref().map(|key| format!("Bearer {}", key.reveal()));
        let mut headers = vec![("Content-Type", "application/json"), ("Accept", "text/event-stream")];
        if body.is_none() {
            headers.clear();
        }
        headers.extend(key.as_deref().map(|key| ("Authorization", key)));
        fetch(url, &headers, body).await
    }

    fn body(&self, prompt: &Prompt<'_>) -> serde_json::Result<String> {
        // OpenAI's own newer models refuse `max_tokens`; most compatible servers know nothing else.
        let is_openai = self.settings.is_openai;
        serde_json::to_string(&Body {
            model: &self.settings.model,
            messages: prompt.messages(self.images),
            stream: true,
            stream_options: StreamOptions { include_usage: true },
            max_tokens: (!is_openai).then_some(self.max_tokens),
            max_completion_tokens: is_openai.then_some(self.max_tokens),
        })
    }
}
