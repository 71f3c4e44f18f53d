//! What the runtime offers, bound closely: byte streams, a model's events, timers, and the client's leaving.

mod alarm;
mod client;
mod events;
mod fetch;
mod streams;

use std::{
    cell::Cell,
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use js_sys::Promise;
use wasm_bindgen::{JsCast, JsValue, closure::Closure};

pub use alarm::{Alarm, sleep};
pub use client::ClientGone;
pub use events::EventReader;
pub use fetch::{Lease, fetch};
pub use streams::{BytePusher, ByteReader};

/// A promise whose outcome nobody waits for: without a handler its rejection would be reported as unhandled.
pub fn ignore(promise: &Promise) {
    thread_local!(static NOTHING: Closure<dyn FnMut(JsValue)> = Closure::new(|_| {}));
    NOTHING.with(|nothing| {
        let _ = promise.catch(nothing);
    });
}

/// What a JavaScript error says, for the log.
pub fn describe(error: &JsValue) -> String {
    error
        .dyn_ref::<js_sys::Error>()
        .map(|error| String::from(error.message()))
        .or_else(|| error.as_string())
        .unwrap_or_else(|| "an unknown error".to_owned())
}

/// A future, or `None` when it took longer than `limit`.
pub async fn timeout<F: Future>(limit: Duration, future: F) -> Option<F::Output> {
    use futures::future::{Either, select};
    match select(pin!(future), pin!(sleep(limit))).await {
        Either::Left((output, _)) => Some(output),
        Either::Right(_) => None,
    }
}

/// What a callback from JavaScript tells a task: that something has happened.
#[derive(Default)]
struct Bell {
    has_rung: Cell<bool>,
    waker: Cell<Option<Waker>>,
}

impl Bell {
    fn ring(&self) {
        self.has_rung.set(true);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.has_rung.get() {
            return Poll::Ready(());
        }
        let waker = self.waker.take().filter(|waker| waker.will_wake(cx.waker()));
        self.waker.set(Some(waker.unwrap_or_else(|| cx.waker().clone())));
        Poll::Pending
    }
}
