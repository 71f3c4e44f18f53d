//! A model's reply on its way: what has been heard of it, and who waits for more.

use std::{
    cell::RefCell,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use web_sys::ReadableStream;

use super::{MAX_REPLY_BYTES, ModelError, reply::Summary};
use crate::js::{EventReader, Lease, describe};

/// Reads a reply. Dropping it ends the model's stream.
pub struct ModelStream {
    _events: EventReader,
    _request: Lease,
    inbox: Rc<RefCell<Inbox>>,
}

/// What was heard and not yet taken.
#[derive(Default)]
struct Inbox {
    news: String,
    /// Length of the reply so far, in bytes.
    heard: usize,
    summary: Summary,
    end: Option<Result<(), ModelError>>,
    waker: Option<Waker>,
    is_patient: bool,
}

impl Inbox {
    /// Takes the data of an event, or the end of the stream; `false` when the reply is over.
    fn hear(&mut self, data: Option<&str>) -> bool {
        if self.end.is_some() {
            return false;
        }
        let before = self.news.len();
        let outcome = match data {
            Some(data) => self.summary.take(data, &mut self.news),
            None => self.summary.end(),
        };
        self.heard += self.news.len() - before;
        let excess = self.heard.saturating_sub(MAX_REPLY_BYTES);
        if excess > 0 {
            self.news.truncate(self.news.floor_char_boundary(self.news.len() - excess));
            self.end = Some(Err(ModelError::TooLong));
        } else if outcome.is_err() || self.summary.done {
            self.end = Some(outcome);
        }
        if self.end.is_some() || !(self.is_patient || self.news.is_empty()) {
            self.waker.take().into_iter().for_each(Waker::wake);
        }
        self.end.is_none()
    }
}

impl ModelStream {
    /// Listens to the body of a model's answer to this request.
    pub fn new(body: &ReadableStream, request: Lease) -> Result<Self, ModelError> {
        let inbox = Rc::<RefCell<Inbox>>::default();
        let heard = Rc::clone(&inbox);
        let events = EventReader::new(body, move |data| heard.borrow_mut().hear(data));
        let events = events.map_err(|error| ModelError::Unreachable(describe(&error)))?;
        Ok(Self { _events: events, _request: request, inbox })
    }

    /// Appends all text that has arrived to `text`; `false` when the reply is complete. Whoever is patient is not woken
    /// for more text, only for the end.
    pub fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        text: &mut String,
        is_patient: bool,
    ) -> Poll<Result<bool, ModelError>> {
        let mut inbox = self.inbox.borrow_mut();
        if !inbox.news.is_empty() {
            text.push_str(&inbox.news);
            inbox.news.clear();
            return Poll::Ready(Ok(true));
        }
        if let Some(end) = inbox.end.clone() {
            return Poll::Ready(end.map(|()| false));
        }
        inbox.is_patient = is_patient;
        if !inbox.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            inbox.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// What is known of the reply besides its text.
    pub fn summary(&self) -> Summary {
        self.inbox.borrow().summary.clone()
    }
}
