//! Any service that speaks OpenAI's chat completions, streamed.
//! <https://platform.openai.com/docs/api-reference/chat/create>

use std::{rc::Rc, time::Duration};

use serde::Serialize;
use worker::{AbortController, Fetch, Headers, Method, Request, RequestInit, ResponseBody};

use super::{ModelError, stream::ModelStream};
use crate::{
    agent::{Message, Prompt},
    js::{ignore, timeout},
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
        let request = self.request(prompt).map_err(unreachable)?;
        let controller = AbortController::default();
        let signal = controller.signal();
        let abort = AbortOnDrop(Some(controller));
        let response = Fetch::Request(request).send_with_signal(&signal).await.map_err(unreachable)?;
        abort.disarm();
        let body = match response.body() {
            ResponseBody::Stream(stream) => Some(stream),
            ResponseBody::Empty | ResponseBody::Body(_) => None,
        };
        match response.status_code() {
            200..300 => ModelStream::new(body.ok_or(ModelError::Empty)?.clone()),
            status => {
                // Nobody reads why; this closes the connection.
                body.iter().for_each(|body| ignore(&body.cancel()));
                let retry_after = response.headers().get("Retry-After").ok().flatten();
                Err(ModelError::Status(status, retry_after.and_then(|seconds| seconds.parse().ok())))
            }
        }
    }

    /// Whether the service answers, within two seconds, and takes the key. Not every one can list its models.
    pub async fn check(&self) -> bool {
        let listed = async {
            let mut init = RequestInit::new();
            init.with_headers(self.headers()?);
            let url = format!("{}/models", self.settings.base_url);
            Fetch::Request(Request::new_with_init(&url, &init)?).send().await
        };
        let Some(Ok(response)) = timeout(Duration::from_secs(2), listed).await else { return false };
        if let ResponseBody::Stream(stream) = response.body() {
            ignore(&stream.cancel());
        }
        !matches!(response.status_code(), 401 | 403 | 500..)
    }

    fn headers(&self) -> worker::Result<Headers> {
        let headers = Headers::new();
        if let Some(key) = &self.settings.api_key {
            headers.set("Authorization", &format!("Bearer {}", key.reveal()))?;
        }
        Ok(headers)
    }

    fn request(&self, prompt: &Prompt<'_>) -> worker::Result<Request> {
        // OpenAI's own newer models refuse `max_tokens`; most compatible servers know nothing else.
        let is_openai = self.settings.is_openai;
        let body = Body {
            model: &self.settings.model,
            messages: prompt.messages(self.images),
            stream: true,
            stream_options: StreamOptions { include_usage: true },
            max_tokens: (!is_openai).then_some(self.max_tokens),
            max_completion_tokens: is_openai.then_some(self.max_tokens),
        };
        let headers = self.headers()?;
        headers.set("Content-Type", "application/json")?;
        headers.set("Accept", "text/event-stream")?;
        let mut init = RequestInit::new();
        init.with_method(Method::Post).with_headers(headers).with_body(Some(serde_json::to_string(&body)?.into()));
        Request::new_with_init(&format!("{}/chat/completions", self.settings.base_url), &init)
    }
}

fn unreachable(error: worker::Error) -> ModelError {
    ModelError::Unreachable(error.to_string())
}

/// Ends a request whose answer nobody waits for any more.
struct AbortOnDrop(Option<AbortController>);

impl AbortOnDrop {
    fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        if let Some(controller) = self.0.take() {
            controller.abort();
        }
    }
}
