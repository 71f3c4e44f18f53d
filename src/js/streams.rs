//! Byte streams, bound closely: each read and each write is one crossing into JavaScript.

use std::{
    cell::RefCell,
    ops::RangeInclusive,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use js_sys::{Object, Promise, Reflect, Uint8Array};
use wasm_bindgen::{JsCast, JsValue, closure::Closure, prelude::wasm_bindgen};
use web_sys::{ByteLengthQueuingStrategy, QueuingStrategyInit, ReadableStream, ReadableStreamDefaultController};

use super::ignore;

#[wasm_bindgen]
extern "C" {
    type ByobReader;

    #[wasm_bindgen(constructor, js_class = "ReadableStreamBYOBReader", catch)]
    fn new(stream: &ReadableStream) -> Result<ByobReader, JsValue>;

    /// <https://developers.cloudflare.com/workers/runtime-apis/streams/readablestreambyobreader/>
    #[wasm_bindgen(method, js_name = readAtLeast)]
    fn read_at_least(this: &ByobReader, bytes: u32, buffer: Uint8Array) -> Promise;

    #[wasm_bindgen(method)]
    fn cancel(this: &ByobReader) -> Promise;

    /// What a read resolves to.
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
    reader: ByobReader,
    settled: Settled,
    ended: bool,
}

impl ByteReader {
    /// Locks the stream for reading.
    pub fn new(stream: &ReadableStream) -> Result<Self, JsValue> {
        Ok(Self { reader: ByobReader::new(stream)?, settled: Settled::new(), ended: false })
    }

    /// Appends the next bytes to `buffer`, as soon as there are as many as the range says, or the stream has ended; `false`
    /// when there are no more. A read that is under way keeps its range. The error is a JavaScript one.
    pub fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut Vec<u8>,
        bytes: RangeInclusive<u32>,
    ) -> Poll<Result<bool, JsValue>> {
        if self.ended {
            return Poll::Ready(Ok(false));
        }
        let (at_least, at_most) = bytes.into_inner();
        let read = || self.reader.read_at_least(at_least, Uint8Array::new_with_length(at_most));
        let Poll::Ready(outcome) = self.settled.poll(cx, read) else { return Poll::Pending };
        let result: ReadResult = match outcome {
            Ok(result) => result.unchecked_into(),
            Err(error) => {
                self.ended = true;
                return Poll::Ready(Err(error));
            }
        };
        let (start, value) = (buffer.len(), result.value());
        let length = value.as_ref().map_or(0, Uint8Array::length);
        if let Some(value) = value {
            buffer.resize(start + length as usize, 0);
            value.copy_to(buffer.split_at_mut(start).1);
        }
        // Fewer than asked for are the last.
        self.ended = result.done() || length < at_least;
        Poll::Ready(Ok(length > 0))
    }

    /// [`poll_read`](Self::poll_read) as a future.
    pub async fn read(&mut self, buffer: &mut Vec<u8>, bytes: RangeInclusive<u32>) -> Result<bool, JsValue> {
        std::future::poll_fn(|cx| self.poll_read(cx, buffer, bytes.clone())).await
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
///
/// They are pushed into a stream's own queue: the runtime's pump for a transform stream would hold 64 KiB for each client.
pub struct BytePusher {
    controller: ReadableStreamDefaultController,
}

/// How many bytes may wait for a slow client before it counts as busy.
const QUEUE_BYTES: f64 = 65_536.0;

impl BytePusher {
    /// The stream to answer with, and what goes into it.
    pub fn new() -> Result<(Self, ReadableStream), JsValue> {
        let controller = Rc::new(RefCell::new(None));
        let given = Rc::clone(&controller);
        let start = Closure::once(move |controller| given.replace(Some(controller)));
        let source = Object::new();
        Reflect::set(&source, &"start".into(), start.as_ref())?;
        let strategy = ByteLengthQueuingStrategy::new(&QueuingStrategyInit::new(QUEUE_BYTES))?;
        let stream = ReadableStream::new_with_underlying_source_and_strategy(&source, strategy.unchecked_ref())?;
        let controller = controller.take().ok_or("a stream has no controller")?;
        Ok((Self { controller }, stream))
    }

    /// Whether the client takes more now. Bytes pushed at a busy client are kept, not lost; one that is gone is never ready.
    pub fn is_ready(&self) -> bool {
        self.controller.desired_size().is_none_or(|size| size > 0.0)
    }

    /// Sends bytes after all earlier ones, without waiting until they are taken. Once the client is gone they go nowhere.
    pub fn push(&self, bytes: &[u8]) {
        let _ = self.controller.enqueue_with_chunk(&Uint8Array::from(bytes));
    }

    /// Ends the stream behind what was pushed.
    pub fn close(&self) {
        let _ = self.controller.close();
    }
}
