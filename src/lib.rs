//! Website chat at the edge. `POST /chat/` answers with JSON, `POST /chat/stream` with server-sent events; users and
//! messages are kept in PostgreSQL, and the reply comes from Workers AI, any OpenAI-compatible model or a script.
//!
//! A request goes through [`router`] to one of the [`endpoints`], which parses it and hands a turn to the
//! [`message_service`]: record the message ([`history`]), ask the [`agent`]'s model ([`llm`]), stream, record the reply.

pub mod agent;
pub mod budget;
pub mod case;
pub mod chat_request;
pub mod clock;
pub mod cors;
pub mod endpoints;
pub mod error;
pub mod follow;
pub mod history;
pub mod idempotency_key;
pub mod identity;
pub mod js;
pub mod jws;
pub mod live;
pub mod llm;
pub mod log;
pub mod message_service;
pub mod outbox;
pub mod rate_limit;
pub mod recorder;
pub mod relay;
pub mod retention;
pub mod router;
pub mod session;
pub mod settings;
pub mod sse;
pub mod turn;
pub mod turnstile;
pub mod visitor;
pub mod web_url;

use worker::{Context, Env, MessageBatch, Request, Response, ScheduleContext, ScheduledEvent};
use worker_macros::event;

#[event(start)]
fn start() {
    console_error_panic_hook::set_once();
    // The executor wakes tasks by `queueMicrotask` if there is one, which makes a new function each time in workerd, and
    // by a promise otherwise, which does not. It looks once, when it first has a task.
    let _ = js_sys::Reflect::set(&js_sys::global(), &"queueMicrotask".into(), &wasm_bindgen::JsValue::UNDEFINED);
    js_sys::futures::spawn_local(async {});
}

#[event(fetch)]
async fn fetch(request: Request, env: Env, context: Context) -> worker::Result<Response> {
    router::handle(request, env, context).await
}

#[event(queue)]
async fn queue(batch: MessageBatch<String>, env: Env, _context: Context) -> worker::Result<()> {
    outbox::deliver(batch, env).await;
    Ok(())
}

#[event(scheduled)]
async fn scheduled(_event: ScheduledEvent, env: Env, _context: ScheduleContext) {
    retention::tidy_up(&env).await;
}
