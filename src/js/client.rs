//! The client of a request, who may leave before the answer's end.

use std::{
    rc::Rc,
    task::{Context, Poll},
};

use wasm_bindgen::{JsCast, closure::Closure};
use web_sys::AbortSignal;

use super::Bell;

/// Notices when the client goes away before the answer's end (compatibility flag `enable_request_signal`).
pub struct ClientGone {
    signal: AbortSignal,
    gone: Rc<Bell>,
    callback: Closure<dyn FnMut()>,
}

impl ClientGone {
    /// Listens to the request's signal.
    pub fn new(request: &web_sys::Request) -> Self {
        let signal = request.signal();
        let gone = Rc::new(Bell::default());
        let bell = Rc::clone(&gone);
        let callback = Closure::new(move || bell.ring());
        let _ = signal.add_event_listener_with_callback("abort", callback.as_ref().unchecked_ref());
        if signal.aborted() {
            gone.ring();
        }
        Self { signal, gone, callback }
    }

    /// Ready once the client has gone.
    pub fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.gone.poll(cx)
    }
}

impl Drop for ClientGone {
    fn drop(&mut self) {
        let _ = self.signal.remove_event_listener_with_callback("abort", self.callback.as_ref().unchecked_ref());
    }
}
