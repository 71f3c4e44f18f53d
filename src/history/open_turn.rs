//! The statement that opens a turn.

use serde::{Deserialize, Serialize};
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::{History, HistoryError};
use crate::{
    agent::HistoryMessage, budget::Reservation, chat_request::ChatRequest, clock::Timestamp,
    idempotency_key::IdempotencyKey,
};

/// A visitor's message that is to be answered, with all that is stored of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NewTurn {
    /// Id of the message, and of the turn.
    pub id: Uuid,
    /// Id of the visitor's row, should they be new.
    pub user_row: Uuid,
    /// The guide's key of the visitor: `chat_{user_id}`.
    pub phone_number: String,
    /// The name they give in this message.
    pub name: Option<String>,
    /// The message.
    pub message: ChatRequest,
    /// When it came.
    pub received: Timestamp,
    /// A repetition of the request has the same one.
    pub key: Option<IdempotencyKey>,
    /// Opens the reply once, to a page on another site.
    pub ticket: Option<Uuid>,
    /// Whether the visitor has proved who they are.
    #[serde(default)]
    pub is_proven: bool,
}

/// How much of the conversation so far is wanted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Earlier {
    /// Messages, at most.
    pub messages: u32,
    /// Characters, at most.
    pub chars: u32,
}

/// What the database made of a new turn.
#[derive(Debug)]
pub enum OpenedTurn {
    /// It is recorded.
    New {
        /// Whether the visitor was created with it.
        is_new_user: bool,
        /// Whether the budgets allow a reply.
        is_paid: bool,
        /// Earlier messages, oldest first.
        history: Vec<HistoryMessage>,
    },
    /// Its key belongs to an earlier turn; nothing is recorded.
    Repeated,
}

impl History {
    /// Records the visitor and their message and reserves what the reply may cost, in one round trip, and returns what
    /// was said before.
    pub async fn open_turn(
        &self,
        turn: &NewTurn,
        earlier: Earlier,
        reservation: Option<&Reservation>,
    ) -> Result<OpenedTurn, HistoryError> {
        let budget = |limit: fn(&Reservation) -> i64| reservation.map(limit).filter(|&limit| limit > 0);
        let row = self
            .0
            .run(
                include_str!("open_turn.sql"),
                &[
                    (&turn.user_row, Type::UUID),
                    (&turn.phone_number, Type::TEXT),
                    (&turn.name, Type::TEXT),
                    (&turn.id, Type::UUID),
                    (&i64::from(earlier.messages), Type::INT8),
                    (&turn.message.content, Type::TEXT),
                    (&turn.message.media_urls, Type::TEXT_ARRAY),
                    (&turn.message.audio_urls, Type::TEXT_ARRAY),
                    (&turn.received.utc(), Type::TIMESTAMPTZ),
                    (&turn.key.as_ref().map(IdempotencyKey::as_str), Type::TEXT),
                    (&turn.ticket, Type::UUID),
                    (&turn.is_proven, Type::BOOL),
                    (&reservation.map(|reservation| reservation.tokens), Type::INT4),
                    (&budget(|reservation| reservation.budgets.visitor), Type::INT8),
                    (&budget(|reservation| reservation.budgets.ip), Type::INT8),
                    (&budget(|reservation| reservation.budgets.total), Type::INT8),
                    (&reservation.and_then(|reservation| reservation.ip_key.as_ref()), Type::TEXT),
                    (&i64::from(earlier.chars), Type::INT8),
                ],
            )
            .await?
            .ok_or(HistoryError::Erased)?;
        if !row.try_get::<_, bool>(0)? {
            return Ok(OpenedTurn::Repeated);
        }
        let history = row.try_get::<_, Option<&str>>(2)?.unwrap_or("[]");
        Ok(OpenedTurn::New {
            is_new_user: row.try_get(1)?,
            is_paid: row.try_get(3)?,
            history: serde_json::from_str(history).map_err(|_| HistoryError::Unexpected)?,
        })
    }
}
