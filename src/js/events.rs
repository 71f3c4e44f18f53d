//! Server-sent events, read and parsed by the runtime.
//!
//! A read of the stream costs several promises for each of its pieces. The runtime's own `EventSource` takes the bytes
//! without entering JavaScript, and enters it once for all events that have arrived (docs/performance.md).
//! <https://developers.cloudflare.com/workers/runtime-apis/eventsource/>

use wasm_bindgen::{JsValue, closure::Closure, prelude::wasm_bindgen};
use web_sys::ReadableStream;

#[wasm_bindgen]
extern "C" {
    #[derive(Clone)]
    type EventSource;

    #[wasm_bindgen(static_method_of = EventSource, catch)]
    fn from(stream: &ReadableStream) -> Result<EventSource, JsValue>;

    #[wasm_bindgen(method, setter)]
    fn set_onmessage(this: &EventSource, callback: &Closure<dyn FnMut(MessageEvent)>);

    #[wasm_bindgen(method, setter)]
    fn set_onerror(this: &EventSource, callback: &Closure<dyn FnMut(MessageEvent)>);

    #[wasm_bindgen(method)]
    fn close(this: &EventSource);

    /// Or an event without data, when the source itself has an error to tell.
    type MessageEvent;

    #[wasm_bindgen(method, getter)]
    fn data(this: &MessageEvent) -> Option<String>;
}

/// Reads the events of a stream. Dropping it makes it deaf; the stream it leaves to whoever made that.
pub struct EventReader {
    source: EventSource,
    _callback: Closure<dyn FnMut(MessageEvent)>,
}

impl EventReader {
    /// Calls `hear` with the data of each event that has no name, or the name `message` or `error`; with nothing when the
    /// stream is over, whether it ended or broke. `hear` says whether it wants to hear more.
    pub fn new(stream: &ReadableStream, mut hear: impl FnMut(Option<&str>) -> bool + 'static) -> Result<Self, JsValue> {
        let source = EventSource::from(stream)?;
        let heard = source.clone();
        let callback = Closure::new(move |event: MessageEvent| {
            if !hear(event.data().as_deref()) {
                // Or the end of the stream would be in the log as an error that nobody has caught, as it is where it comes
                // unannounced.
                heard.close();
            }
        });
        source.set_onmessage(&callback);
        source.set_onerror(&callback);
        Ok(Self { source, _callback: callback })
    }
}

impl Drop for EventReader {
    fn drop(&mut self) {
        self.source.close();
    }
}
