//! Server-sent events, read and parsed by the runtime.
//!
//! A read of the stream costs several promises for each of its pieces. The runtime's own `EventSource` takes the bytes
//! without entering JavaScript, and enters it once for all events that have arrived: that saves a sixth of a turn's CPU
//! where tokens come one by one, and two fifths where they come at once (docs/performance.md).
//! <https://developers.cloudflare.com/workers/runtime-apis/eventsource/>

use std::{
    cell::RefCell,
    rc::Rc,
    task::{Context, Poll},
};

use js_sys::Uint8Array;
use wasm_bindgen::{JsValue, closure::Closure, prelude::wasm_bindgen};
use web_sys::{AbortController, ReadableStream, StreamPipeOptions, WritableStream};

use super::{describe, ignore, streams::Settled};

#[wasm_bindgen]
extern "C" {
    /// A pipe that breaks when more than so many bytes go into it; that there are as many is only asked for when it is
    /// closed, which this one never is.
    type FixedLengthStream;

    #[wasm_bindgen(constructor, catch)]
    fn new(bytes: f64) -> Result<FixedLengthStream, JsValue>;

    #[wasm_bindgen(method, getter)]
    fn readable(this: &FixedLengthStream) -> ReadableStream;

    #[wasm_bindgen(method, getter)]
    fn writable(this: &FixedLengthStream) -> WritableStream;

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

/// What comes out of a stream of events.
pub enum Heard<'a> {
    /// The data of an event without a name, or with the name `message` or `error`.
    Event(&'a str),
    /// The end of the stream, or what a broken one died of.
    End(Result<(), String>),
}

/// Longest stream, in bytes: the runtime keeps an event that does not end in memory. The longest reply, letter by letter,
/// is well below.
const MAX_STREAM_BYTES: f64 = 16_777_216.0;

/// Data of the event that is appended to a stream that has ended: all before it has been heard by then.
const END: &str = "[END OF STREAM]";

/// Reads events. Dropping it ends the stream that they come from. One that has come to its end by itself leaves a
/// connection that is of use again.
pub struct EventReader {
    source: EventSource,
    stream: ReadableStream,
    writable: WritableStream,
    options: StreamPipeOptions,
    /// Ends the stream.
    abort: AbortController,
    piping: Settled,
    outcome: Rc<RefCell<Option<Result<(), String>>>>,
    is_piped: bool,
    _callback: Closure<dyn FnMut(MessageEvent)>,
}

impl EventReader {
    /// Calls `hear` with what comes out of the stream, as it comes, once this is polled. Nothing follows
    /// [`Heard::End`].
    pub fn new(stream: ReadableStream, mut hear: impl FnMut(Heard<'_>) + 'static) -> Result<Self, JsValue> {
        // An event source cannot be made to leave its stream before that ends; a pipe can.
        let pipe = FixedLengthStream::new(MAX_STREAM_BYTES)?;
        let source = EventSource::from(&pipe.readable())?;
        let outcome = Rc::<RefCell<Option<Result<(), String>>>>::default();
        let known = Rc::clone(&outcome);
        let callback = Closure::new(move |event: MessageEvent| {
            let Some(data) = event.data() else { return hear(Heard::End(Err("the stream is too long".to_owned()))) };
            let ended = known.borrow_mut().take_if(|_| data == END);
            hear(ended.map_or(Heard::Event(&data), Heard::End));
        });
        source.set_onmessage(&callback);
        source.set_onerror(&callback);
        let abort = AbortController::new()?;
        let options = StreamPipeOptions::new();
        options.set_prevent_close(true);
        options.set_prevent_abort(true);
        options.set_signal(&abort.signal());
        Ok(Self {
            source,
            stream,
            writable: pipe.writable(),
            options,
            abort,
            piping: Settled::new(),
            outcome,
            is_piped: false,
            _callback: callback,
        })
    }

    /// To be polled by whoever waits for what is heard.
    pub fn poll(&mut self, cx: &mut Context<'_>) {
        if self.is_piped {
            return;
        }
        let pipe = || self.stream.pipe_to_with_options(&self.writable, &self.options);
        let Poll::Ready(piped) = self.piping.poll(cx, pipe) else { return };
        self.is_piped = true;
        self.outcome.replace(Some(piped.map(|_| ()).map_err(|error| describe(&error))));
        // The blank line ends an event that has none yet. The standard drops it; models that send it still mean it.
        let last = format!("\n\ndata: {END}\n\n");
        if let Ok(writer) = self.writable.get_writer() {
            ignore(&writer.write_with_chunk(&Uint8Array::from(last.as_bytes())));
        }
    }
}

impl Drop for EventReader {
    fn drop(&mut self) {
        // Or it would report the end as an error that nobody has caught.
        self.source.close();
        if self.piping.is_pending() {
            self.abort.abort();
        }
    }
}
