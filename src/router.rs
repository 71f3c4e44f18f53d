//! From a path to its endpoint; what every answer has in common stands here, once.

use std::{cell::OnceCell, rc::Rc};

use uuid::Uuid;
use worker::{Context, Env, Headers, Method, Request, Response};

use crate::{
    clock::Timestamp,
    cors::{ALLOWED_HEADERS, EXPOSED_HEADERS, Grant, PREFLIGHT_MAX_AGE},
    endpoints::{chat, health, stream},
    error::Error,
    log,
    settings::{Settings, SettingsError},
};

/// Names one request in its answer and in the log.
pub const REQUEST_ID_HEADER: &str = "X-Request-Id";

/// A request and all that its endpoint may need.
pub struct Call {
    /// The request.
    pub request: Request,
    /// The bindings.
    pub env: Env,
    /// The request's lifetime.
    pub context: Rc<Context>,
    /// The deployment's settings.
    pub settings: Rc<Settings>,
    /// Id of this request.
    pub request_id: Uuid,
    /// When it came.
    pub received: Timestamp,
}

#[derive(Clone, Copy)]
enum Endpoint {
    Chat,
    Stream,
    Health,
}

impl Endpoint {
    /// Both spellings are answered: a redirect would cost a browser a second preflight.
    fn at(path: &str) -> Option<Self> {
        match path.strip_suffix('/').unwrap_or(path) {
            "/chat" => Some(Self::Chat),
            "/chat/stream" => Some(Self::Stream),
            "/health" => Some(Self::Health),
            _ => None,
        }
    }

    const fn methods(self) -> &'static str {
        match self {
            Self::Chat => "POST, OPTIONS",
            Self::Stream => "GET, POST, OPTIONS",
            Self::Health => "GET, HEAD, OPTIONS",
        }
    }

    async fn run(self, call: Call) -> Result<Response, Error> {
        match (self, call.request.method()) {
            (_, Method::Options) => Ok(preflight(self)?),
            (Self::Chat, Method::Post) => chat::post(call).await,
            (Self::Stream, Method::Post) => stream::post(call).await,
            (Self::Stream, Method::Get) => stream::get(call).await,
            (Self::Health, Method::Get | Method::Head) => health::get(call).await,
            _ => Err(Error::MethodNotAllowed(self.methods())),
        }
    }
}

/// Answers a request.
pub async fn handle(request: Request, env: Env, context: Context) -> worker::Result<Response> {
    let received = Timestamp::now();
    let request_id = received.message_id();
    let (grant, outcome) = match settings(&env) {
        Ok(settings) => {
            let origin = request.headers().get("Origin")?;
            let grant = settings.allowed_origins.grant(origin.as_deref(), request.inner().url().as_str());
            let endpoint = Endpoint::at(&request.path()).ok_or(Error::NotFound);
            let call = Call { request, env, context: Rc::new(context), settings, request_id, received };
            let outcome = match endpoint {
                _ if grant == Grant::Refused => Err(Error::ForbiddenOrigin),
                Ok(endpoint) => endpoint.run(call).await,
                Err(error) => Err(error),
            };
            (grant, outcome)
        }
        // Nobody can say who may read this answer; there is nothing of anybody in it.
        Err(error) => (Grant::Anyone, Err(error.into())),
    };
    let mut response = match outcome {
        Ok(response) => response,
        Err(error) => {
            if error.is_internal() {
                log::error(request_id, &error);
            }
            error.to_response(request_id, None)?
        }
    };
    finish(response.headers_mut(), &grant, request_id)?;
    Ok(response)
}

/// Adds what every answer has.
fn finish(headers: &Headers, grant: &Grant, request_id: Uuid) -> worker::Result<()> {
    headers.set(REQUEST_ID_HEADER, &request_id.to_string())?;
    headers.append("Vary", "Origin")?;
    if !headers.has("Cache-Control")? {
        headers.set("Cache-Control", "no-store")?;
    }
    headers.set("X-Content-Type-Options", "nosniff")?;
    match grant {
        Grant::NotNeeded | Grant::Refused => return Ok(()),
        Grant::Anyone => headers.set("Access-Control-Allow-Origin", "*")?,
        Grant::Origin(origin) => {
            headers.set("Access-Control-Allow-Origin", origin)?;
            headers.set("Access-Control-Allow-Credentials", "true")?;
        }
    }
    headers.set("Access-Control-Expose-Headers", EXPOSED_HEADERS)
}

fn preflight(endpoint: Endpoint) -> worker::Result<Response> {
    let headers = Headers::new();
    headers.set("Allow", endpoint.methods())?;
    headers.set("Access-Control-Allow-Methods", endpoint.methods())?;
    headers.set("Access-Control-Allow-Headers", ALLOWED_HEADERS)?;
    headers.set("Access-Control-Max-Age", PREFLIGHT_MAX_AGE)?;
    Ok(Response::empty()?.with_status(204).with_headers(headers))
}

/// Reads the settings at the isolate's first request; they are the same for all of its life.
pub fn settings(env: &Env) -> Result<Rc<Settings>, SettingsError> {
    thread_local!(static SETTINGS: OnceCell<Rc<Settings>> = const { OnceCell::new() });
    SETTINGS.with(|cell| {
        if let Some(settings) = cell.get() {
            return Ok(Rc::clone(settings));
        }
        let lookup = |name: &str| js_sys::Reflect::get(env, &name.into()).ok()?.as_string();
        let settings = Rc::new(Settings::read(lookup)?);
        Ok(Rc::clone(cell.get_or_init(|| settings)))
    })
}
