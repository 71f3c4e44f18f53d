//! A timer that is set again and again: a new one with new callbacks each time would cost more than many a token.

use std::{
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use wasm_bindgen::{JsValue, closure::Closure, prelude::wasm_bindgen};

use super::Bell;

#[wasm_bindgen]
extern "C" {
    // A number, or an object where the deployment has `nodejs_compat`.
    #[wasm_bindgen(js_name = setTimeout)]
    fn set_timeout(callback: &Closure<dyn FnMut()>, millis: i32) -> JsValue;

    #[wasm_bindgen(js_name = setInterval)]
    fn set_interval(callback: &Closure<dyn FnMut()>, millis: i32) -> JsValue;

    // Either kind.
    #[wasm_bindgen(js_name = clearTimeout)]
    fn clear_timeout(id: &JsValue);
}

/// Goes off once each time it is set, or again and again.
pub struct Alarm {
    bell: Rc<Bell>,
    callback: Closure<dyn FnMut()>,
    id: Option<JsValue>,
    repeats: bool,
}

impl Default for Alarm {
    /// One that is not set.
    fn default() -> Self {
        let bell = Rc::new(Bell::default());
        let rung = Rc::clone(&bell);
        Self { bell, callback: Closure::new(move || rung.ring()), id: None, repeats: false }
    }
}

impl Alarm {
    /// Sets it, and forgets when it was to go off before.
    pub fn set(&mut self, after: Duration) {
        self.start(after, false);
    }

    /// Sets it to go off each time this has passed, until it is cleared: cheaper than to set it each time.
    pub fn repeat(&mut self, period: Duration) {
        self.start(period, true);
    }

    fn start(&mut self, after: Duration, repeats: bool) {
        self.clear();
        self.bell.has_rung.set(false);
        self.repeats = repeats;
        let millis = i32::try_from(after.as_millis()).unwrap_or(i32::MAX);
        let start = if repeats { set_interval } else { set_timeout };
        self.id = Some(start(&self.callback, millis));
    }

    /// Whether it is yet to go off.
    pub const fn is_set(&self) -> bool {
        self.id.is_some()
    }

    /// Ready each time it has gone off. If it was set to do so once, it is not set any more after that, and never ready.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.id.is_none() || self.bell.poll(cx).is_pending() {
            return Poll::Pending;
        }
        self.bell.has_rung.set(false);
        if !self.repeats {
            self.id = None;
        }
        Poll::Ready(())
    }

    /// Keeps it from going off.
    pub fn clear(&mut self) {
        if let Some(id) = self.id.take() {
            clear_timeout(&id);
        }
    }
}

/// Waits for so long.
pub async fn sleep(time: Duration) {
    let mut alarm = Alarm::default();
    alarm.set(time);
    std::future::poll_fn(|cx| alarm.poll(cx)).await;
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.clear();
    }
}
