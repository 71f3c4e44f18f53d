//! Cloudflare's Workers AI, through its binding. <https://developers.cloudflare.com/workers-ai/>

use js_sys::{JSON, Promise, futures::JsFuture};
use serde::Serialize;
use wasm_bindgen::{JsCast, JsValue, prelude::wasm_bindgen};
use web_sys::{ReadableStream, RequestInit};
use worker::Env;

use super::{ModelError, stream::ModelStream};
use crate::{
    agent::{Message, Prompt},
    js::{Lease, describe},
    settings::{AI, Settings},
};

#[wasm_bindgen]
extern "C" {
    // `worker::Ai` turns maps into JavaScript `Map`s, which the binding ignores (workers-rs issue 1050), and knows no
    // streamed text.
    type AiBinding;

    #[wasm_bindgen(method, catch)]
    fn run(this: &AiBinding, model: &str, inputs: &JsValue, options: &RequestInit) -> Result<Promise, JsValue>;
}

/// The `workers-ai` provider.
pub struct WorkersAi {
    binding: Option<AiBinding>,
    model: String,
    max_tokens: u32,
}

#[derive(Serialize)]
struct Inputs<'a> {
    messages: Vec<Message<'a>>,
    stream: bool,
    max_tokens: u32,
}

impl WorkersAi {
    /// The provider as `settings` and the bindings have it.
    pub fn new(env: &Env, settings: &Settings) -> Self {
        let binding = js_sys::Reflect::get(env, &AI.into()).ok().filter(JsValue::is_object);
        Self {
            binding: binding.map(JsCast::unchecked_into),
            model: settings.workers_ai_model.clone(),
            max_tokens: settings.max_tokens,
        }
    }

    /// `WORKERS_AI_MODEL`.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// Whether the deployment has an `AI` binding.
    pub const fn is_bound(&self) -> bool {
        self.binding.is_some()
    }

    /// Sends the prompt and returns the stream of the answer.
    pub async fn open(&self, prompt: &Prompt<'_>) -> Result<ModelStream, ModelError> {
        let Some(binding) = &self.binding else {
            return Err(ModelError::Unreachable(format!("there is no binding named {AI}")));
        };
        // Workers AI's errors start with a number; what follows might quote the request.
        let unreachable = |error: JsValue| {
            let code: String = describe(&error).chars().take_while(char::is_ascii_digit).collect();
            ModelError::Unreachable(format!("Workers AI error {code}"))
        };
        let inputs = Inputs { messages: prompt.messages(false), stream: true, max_tokens: self.max_tokens };
        let inputs = serde_json::to_string(&inputs).map_err(|error| ModelError::Unreachable(error.to_string()))?;
        let inputs = JSON::parse(&inputs).map_err(unreachable)?;
        let request = Lease::new().map_err(unreachable)?;
        // Of a request's options, the binding's have the signal.
        let options = RequestInit::new();
        options.set_signal(Some(&request.signal()));
        let promise = binding.run(&self.model, &inputs, &options).map_err(unreachable)?;
        let answer = JsFuture::from(promise).await.map_err(unreachable)?;
        let stream: ReadableStream = answer.dyn_into().map_err(|_| ModelError::Garbage)?;
        ModelStream::new(&stream, request)
    }
}
