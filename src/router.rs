//! From a path to its endpoint; what every answer has in common stands here, once.

use std::{cell::OnceCell, rc::Rc};

use uuid::Uuid;
use worker::{Context, Env, Headers, Method, Request, Response};

use crate::{
    clock::Timestamp,
    cors::{ALLOWED_HEADERS, EXPOSED_HEADERS, Grant, PREFLIGHT_MAX_AGE},
    endpoints::{chat, health, history, me, session, stream},
    error::Error,
    log, rate_limit,
    settings::{Settings, SettingsError},
    web_url,
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
    /// Who has connected; see [`rate_limit::client_address`].
    pub address: Option<String>,
    /// Whether browsers are to treat it as HTTPS: everything but plain http on this machine, which is for trying it.
    pub is_secure: bool,
}

#[derive(Clone, Copy)]
enum Endpoint {
    Chat,
    Stream,
    History,
    Me,
    Session,
    Health,
}

impl Endpoint {
    /// Both spellings are answered: a redirect would cost a browser a second preflight.
    fn at(path: &str) -> Option<Self> {
        match path.strip_suffix('/').unwrap_or(path) {
            "/chat" => Some(Self::Chat),
            "/chat/stream" => Some(Self::Stream),
            "/chat/history" => Some(Self::History),
            "/chat/me" => Some(Self::Me),
            "/chat/session" => Some(Self::Session),
            "/health" => Some(Self::Health),
            _ => None,
        }
    }

    const fn methods(self) -> &'static str {
        match self {
            Self::Chat => "POST, OPTIONS",
            Self::Stream => "GET, POST, DELETE, OPTIONS",
            Self::History => "GET, OPTIONS",
            Self::Me => "GET, DELETE, OPTIONS",
            Self::Session => "POST, DELETE, OPTIONS",
            Self::Health => "GET, HEAD, OPTIONS",
        }
    }

    /// Whether monitors call it, and not only pages.
    const fn is_for_programs(self) -> bool {
        matches!(self, Self::Health)
    }

    async fn run(self, call: Call) -> Result<Response, Error> {
        if call.request.method() == Method::Options {
            return Ok(preflight(self)?);
        }
        if let Err(error) = rate_limit::count_address(&call.env, call.address.as_deref()).await {
            let is_listening = matches!((self, call.request.method()), (Self::Stream, Method::Get));
            return if is_listening { stream::refuse(&call, error) } else { Err(error) };
        }
        match (self, call.request.method()) {
            (Self::Chat, Method::Post) => chat::post(call).await,
            (Self::Stream, Method::Post) => stream::post(call).await,
            (Self::Stream, Method::Get) => stream::get(call).await,
            (Self::Stream, Method::Delete) => stream::delete(call).await,
            (Self::History, Method::Get) => history::get(call).await,
            (Self::Me, Method::Get) => me::get(call).await,
            (Self::Me, Method::Delete) => me::delete(call).await,
            (Self::Session, Method::Post) => session::post(call).await,
            (Self::Session, Method::Delete) => session::delete(call),
            (Self::Health, Method::Get | Method::Head) => health::get(call).await,
            _ => Err(Error::MethodNotAllowed(self.methods())),
        }
    }
}

/// Answers a request.
pub async fn handle(request: Request, env: Env, context: Context) -> worker::Result<Response> {
    let received = Timestamp::now();
    let request_id = received.message_id();
    let is_secure = !is_local(&request.inner().url());
    let (grant, outcome) = match settings(&env) {
        Ok(settings) => {
            let origin = request.headers().get("Origin")?;
            let grant = settings.allowed_origins.grant(origin.as_deref(), request.inner().url().as_str());
            let address = rate_limit::client_address(&request);
            let call =
                Call { request, env, context: Rc::new(context), settings, request_id, received, address, is_secure };
            let outcome = if grant == Grant::Refused { Err(Error::ForbiddenOrigin) } else { route(call, origin).await };
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
    finish(response.headers_mut(), &grant, request_id, is_secure)?;
    Ok(response)
}

fn is_local(url: &str) -> bool {
    let origin = web_url::origin(url);
    let host = origin.strip_prefix("http://").unwrap_or_default();
    ["localhost", "127.0.0.1", "[::1]"]
        .iter()
        .any(|local| host.strip_prefix(local).is_some_and(|rest| rest.is_empty() || rest.starts_with(':')))
}

async fn route(call: Call, origin: Option<String>) -> Result<Response, Error> {
    let endpoint = Endpoint::at(web_url::path(&call.request.inner().url())).ok_or(Error::NotFound)?;
    // Whoever reads wrangler.toml could sign in as anybody.
    if call.settings.sessions.are_for_development() && call.is_secure {
        let problem = "is the one of wrangler.toml, for http://localhost alone: set your own with `wrangler secret put SESSION_KEYS`".to_owned();
        return Err(SettingsError { name: "SESSION_KEYS", problem }.into());
    }
    if call.settings.is_origin_required && origin.is_none() && !endpoint.is_for_programs() {
        // Browsers leave out the origin when a page of the same site reads.
        let fetch_site = call.request.headers().get("Sec-Fetch-Site")?;
        if call.request.method() != Method::Get || fetch_site.as_deref() != Some("same-origin") {
            return Err(Error::OriginRequired);
        }
    }
    endpoint.run(call).await
}

/// No answer is a page: nothing in it may run, be framed, be guessed to be something else, or be loaded by a site that
/// was not granted it.
const SECURITY_HEADERS: [(&str, &str); 4] = [
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
];

/// Adds what every answer has.
fn finish(headers: &Headers, grant: &Grant, request_id: Uuid, is_secure: bool) -> worker::Result<()> {
    headers.set(REQUEST_ID_HEADER, &request_id.to_string())?;
    for (name, value) in SECURITY_HEADERS {
        headers.set(name, value)?;
    }
    if is_secure {
        headers.set("Strict-Transport-Security", "max-age=31536000")?;
    }
    headers.append("Vary", "Origin")?;
    if !headers.has("Cache-Control")? {
        headers.set("Cache-Control", "no-store")?;
    }
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
