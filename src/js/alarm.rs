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

    #[wasm_bindgen(js_name = clearTimeout)]
    fn clear_timeout(id: &JsValue);
}

/// Goes off once each time it is set.
pub struct Alarm {
    bell: Rc<Bell>,
    callback: Closure<dyn FnMut()>,
    id: Option<JsValue>,
}

impl Default for Alarm {
    /// One that is not set.
    fn default() -> Self {
        let bell = Rc::new(Bell::default());
        let rung = Rc::clone(&bell);
        Self { bell, callback: Closure::new(move || rung.ring()), id: None }
    }
}

impl Alarm {
    /// Sets it, and forgets when it was to go off before.
    pub fn set(&mut self, after: Duration) {
        self.clear();
        self.bell.has_rung.set(false);
        self.id = Some(set_timeout(&self.callback, i32::try_from(after.as_millis()).unwrap_or(i32::MAX)));
    }

    /// Whether it is yet to go off.
    pub const fn is_set(&self) -> bool {
        self.id.is_some()
    }

    /// Ready when it has gone off; after that it is not set any more, and never ready.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.id.is_none() || self.bell.poll(cx).is_pending() {
            return Poll::Pending;
        }
        self.id = None;
        Poll::Ready(())
    }

    fn clear(&mut self) {
        if let Some(id) = self.id.take() {
            clear_timeout(&id);
        }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.clear();
    }
}
