//! A turn of the conversation: the message that came in, and where the reply to it goes.

use std::{
    task::{Context, Poll},
    time::Duration,
};

use uuid::Uuid;

use crate::{
    agent::given_name, budget::Reservation, chat_request::ChatRequest, error::Error, history::NewTurn,
    idempotency_key::IdempotencyKey, router::Call, visitor::Visitor,
};

/// A message that came in, and who sent it.
pub struct Turn {
    /// What is recorded of it.
    pub new: NewTurn,
    /// Id of the request that brought it.
    pub request_id: Uuid,
    /// Which attempt at a reply this is, from 1.
    pub attempt: i32,
    /// Who sent it.
    pub visitor: Visitor,
    /// What its reply may cost, if the deployment has budgets.
    pub reservation: Option<Reservation>,
}

impl Turn {
    /// A turn that begins with this message.
    pub fn new(call: &Call, visitor: Visitor, message: ChatRequest, key: Option<IdempotencyKey>) -> Self {
        let received = call.received;
        let reservation = Reservation::new(call, &visitor, &message);
        let new = NewTurn {
            id: received.message_id(),
            user_row: received.message_id(),
            phone_number: visitor.phone_number(),
            name: given_name(&message.content),
            // Whoever only names a user is shown nothing of that user's.
            ticket: visitor.is_proven().then(Uuid::new_v4),
            is_proven: visitor.is_proven(),
            message,
            received,
            key: if visitor.is_proven() { key } else { key.map(IdempotencyKey::of_unproven) },
        };
        Self { new, request_id: call.request_id, attempt: 1, visitor, reservation }
    }
}

/// Where a reply goes.
pub trait Outlet {
    /// What the log calls a turn with this outlet.
    const LOG_MESSAGE: &'static str;
    /// Whether somebody watches the reply being written.
    const IS_STREAM: bool;

    /// The reply belongs to this turn after all: to what there was of it, or to a new beginning.
    fn belongs_to(&mut self, _turn: Uuid, _is_begun_anew: bool) {}

    /// Shows the reply so far, or holds back what is new of it. What comes within the returned time is held back as well, and
    /// within each further one; `is_due` says that one is over.
    fn show(&mut self, reply: &str, is_due: bool) -> Option<Duration>;

    /// Shows the reply so far and holds back nothing.
    fn flush(&mut self, _reply: &str) {}

    /// Keeps the connection open in a silence.
    fn bridge(&mut self, _reply: &str) {}

    /// Ready once nobody is there to see the reply.
    fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()>;

    /// Shows what is left of the reply and ends it, with what went wrong if anything did.
    fn end(self, reply: &str, error: Option<&Error>);
}
