//! Byte streams, bound closely: each read and each write is one crossing into JavaScript.

use std::{
    cell::RefCell,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use js_sys::{Promise, Uint8Array};
use wasm_bindgen::{JsCast, JsValue, closure::Closure, prelude::wasm_bindgen};
use web_sys::{ReadableStream, ReadableStreamDefaultReader, WritableStream, WritableStreamDefaultWriter};

use super::ignore;

#[wasm_bindgen]
extern "C" {
    /// A pipe whose readable end the runtime pumps to the client without entering JavaScript again.
    /// <https://developers.cloudflare.com/workers/runtime-apis/streams/transformstream/>
    type IdentityTransformStream;

    #[wasm_bindgen(constructor, catch)]
    fn new(strategy: &JsValue) -> Result<IdentityTransformStream, JsValue>;

    #[wasm_bindgen(method, getter)]
    fn readable(this: &IdentityTransformStream) -> ReadableStream;

    #[wasm_bindgen(method, getter)]
    fn writable(this: &IdentityTransformStream) -> WritableStream;

    /// What `ReadableStreamDefaultReader.read()` resolves to.
    type ReadResult;

    #[wasm_bindgen(method, getter)]
    fn done(this: &ReadResult) -> bool;

    #[wasm_bindgen(method, getter)]
    fn value(this: &ReadResult) -> Option<Uint8Array>;
}

/// Waits for one promise after the other, each with the same two callbacks: to make new ones costs more than a token.
struct Settled {
    state: Rc<RefCell<SettledState>>,
    /// For a promise that is fulfilled, and for one that is rejected. Always there until this is dropped.
    callbacks: Option<Callbacks>,
}

type Callbacks = [Closure<dyn FnMut(JsValue)>; 2];

#[derive(Default)]
struct SettledState {
    is_pending: bool,
    outcome: Option<Result<JsValue, JsValue>>,
    waker: Option<Waker>,
    /// Callbacks that outlive their [`Settled`], since a promise still has them.
    orphans: Option<Callbacks>,
}

impl Settled {
    fn new() -> Self {
        let state = Rc::new(RefCell::new(SettledState::default()));
        let settle = |state: &Rc<RefCell<SettledState>>, outcome| {
            let waker = {
                let mut state = state.borrow_mut();
                state.outcome = Some(outcome);
                state.orphans = None;
                state.waker.take()
            };
            if let Some(waker) = waker {
                waker.wake();
            }
        };
        let (ok, failed) = (Rc::clone(&state), Rc::clone(&state));
        let fulfilled = Closure::new(move |value| settle(&ok, Ok(value)));
        let rejected = Closure::new(move |error| settle(&failed, Err(error)));
        Self { state, callbacks: Some([fulfilled, rejected]) }
    }

    /// Waits for the promise that `start` makes, unless one is waited for already.
    fn poll(&self, cx: &mut Context<'_>, start: impl FnOnce() -> Promise) -> Poll<Result<JsValue, JsValue>> {
        let mut state = self.state.borrow_mut();
        if let Some(outcome) = state.outcome.take() {
            state.is_pending = false;
            return Poll::Ready(outcome);
        }
        if let Some([fulfilled, rejected]) = self.callbacks.as_ref().filter(|_| !state.is_pending) {
            state.is_pending = true;
            let _ = start().then2(fulfilled, rejected);
        }
        if !state.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            state.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Whether a promise is waited for that is not settled.
    fn is_pending(&self) -> bool {
        let state = self.state.borrow();
        state.is_pending && state.outcome.is_none()
    }
}

impl Drop for Settled {
    fn drop(&mut self) {
        if self.is_pending() {
            let mut state = self.state.borrow_mut();
            state.orphans = self.callbacks.take();
        }
    }
}

/// Reads a byte stream. Dropping it cancels the stream, unless it was read to its end.
pub struct ByteReader {
    reader: ReadableStreamDefaultReader,
    settled: Settled,
    ended: bool,
}

impl ByteReader {
    /// Locks the stream for reading.
    pub fn new(stream: &ReadableStream) -> Self {
        Self { reader: stream.get_reader().unchecked_into(), settled: Settled::new(), ended: false }
    }

    /// Appends the next bytes to `buffer`; `false` at the end of the stream. The error is a JavaScript one.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut Vec<u8>) -> Poll<Result<bool, JsValue>> {
        let Poll::Ready(outcome) = self.settled.poll(cx, || self.reader.read()) else { return Poll::Pending };
        let result: ReadResult = match outcome {
            Ok(result) => result.unchecked_into(),
            Err(error) => {
                self.ended = true;
                return Poll::Ready(Err(error));
            }
        };
        if result.done() {
            self.ended = true;
            return Poll::Ready(Ok(false));
        }
        if let Some(value) = result.value() {
            let start = buffer.len();
            buffer.resize(start + value.length() as usize, 0);
            value.copy_to(buffer.split_at_mut(start).1);
        }
        Poll::Ready(Ok(true))
    }

    /// [`poll_read`](Self::poll_read) as a future.
    pub async fn read(&mut self, buffer: &mut Vec<u8>) -> Result<bool, JsValue> {
        std::future::poll_fn(|cx| self.poll_read(cx, buffer)).await
    }
}

impl Drop for ByteReader {
    fn drop(&mut self) {
        if !self.ended {
            ignore(&self.reader.cancel());
        }
    }
}

/// Bytes on their way to a client who may read slowly or leave.
pub struct BytePipe {
    writer: WritableStreamDefaultWriter,
}

/// How many bytes may wait for a slow client before it counts as busy.
const PIPE_BYTES: u32 = 64 * 1024;

impl BytePipe {
    /// The pipe, and the stream to answer with.
    pub fn new() -> Result<(Self, ReadableStream), JsValue> {
        let strategy = js_sys::Object::new();
        js_sys::Reflect::set(&strategy, &"highWaterMark".into(), &PIPE_BYTES.into())?;
        let pipe = IdentityTransformStream::new(&strategy)?;
        let writer = pipe.writable().get_writer()?;
        ignore(&writer.closed());
        Ok((Self { writer }, pipe.readable()))
    }

    /// Whether the client takes more now. Bytes written to a busy pipe are kept, not lost.
    pub fn is_ready(&self) -> bool {
        // `null` once the client is gone: whatever is written then goes nowhere.
        self.writer.desired_size().ok().flatten().is_none_or(|size| size > 0.0)
    }

    /// Sends bytes after all earlier ones, without waiting until they are taken.
    pub fn write(&self, bytes: &[u8]) {
        ignore(&self.writer.write_with_chunk(&Uint8Array::from(bytes)));
    }

    /// Gives the stream up; for one that nobody was given to read.
    pub fn abort(&self) {
        ignore(&self.writer.abort());
    }

    /// Ends the stream behind what was written.
    pub fn close(&self) {
        ignore(&self.writer.close());
    }
}
