//! Replies under way in this isolate, for other requests in the same isolate to watch as they are written. Those in
//! other isolates see what the database has.
//!
//! Only plain text is shared: a socket or a promise must never serve two requests.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
};

use uuid::Uuid;

thread_local!(static REPLIES: RefCell<HashMap<Uuid, Rc<LiveReply>>> = RefCell::default());

/// A reply that is being written.
#[derive(Default)]
pub struct LiveReply {
    text: RefCell<String>,
    is_stopped: Cell<bool>,
}

impl LiveReply {
    /// The reply to this message, if it is being written in this isolate.
    pub fn find(turn: Uuid) -> Option<Rc<Self>> {
        REPLIES.with_borrow(|replies| replies.get(&turn).cloned())
    }

    /// Asks its writer to end it, if it is being written in this isolate.
    pub fn stop(turn: Uuid) {
        if let Some(reply) = Self::find(turn) {
            reply.is_stopped.set(true);
        }
    }

    /// Runs `read` on the reply so far.
    pub fn with_text<T>(&self, read: impl FnOnce(&str) -> T) -> T {
        read(&self.text.borrow())
    }
}

/// The writer's side: the reply is live for as long as this exists.
pub struct LiveWriter {
    turn: Uuid,
    reply: Rc<LiveReply>,
}

impl LiveWriter {
    /// The reply to this message is about to be written.
    pub fn new(turn: Uuid) -> Self {
        let reply = Rc::new(LiveReply::default());
        REPLIES.with_borrow_mut(|replies| replies.insert(turn, Rc::clone(&reply)));
        Self { turn, reply }
    }

    /// Makes the reply so far visible.
    pub fn show(&self, reply: &str) {
        let mut text = self.reply.text.borrow_mut();
        if let Some(news) = reply.get(text.len()..) {
            text.push_str(news);
        }
    }

    /// Whether the visitor wants no more of it.
    pub fn is_stopped(&self) -> bool {
        self.reply.is_stopped.get()
    }
}

impl Drop for LiveWriter {
    fn drop(&mut self) {
        REPLIES.with_borrow_mut(|replies| replies.remove(&self.turn));
    }
}
