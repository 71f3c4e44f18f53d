//! The statement that opens a turn.

use tokio_postgres::types::Type;
use uuid::Uuid;

use super::{History, HistoryError};
use crate::{agent::HistoryMessage, chat_request::ChatRequest, clock::Timestamp};

/// A visitor's message that is to be answered.
#[derive(Debug)]
pub struct NewTurn<'a> {
    /// Id of the message, and of the turn.
    pub id: Uuid,
    /// The guide's key of the visitor: `chat_{user_id}`.
    pub phone_number: String,
    /// The name they give in this message.
    pub name: Option<String>,
    /// The message.
    pub message: &'a ChatRequest,
    /// When it came.
    pub received: Timestamp,
    /// How many earlier messages to return.
    pub history_messages: u32,
}

/// A turn that stands in the database.
#[derive(Debug)]
pub struct OpenedTurn {
    /// Whether the visitor was created with it.
    pub is_new_user: bool,
    /// Earlier messages, oldest first.
    pub history: Vec<HistoryMessage>,
}

impl History {
    /// Records the visitor and their message, in one round trip.
    pub async fn open_turn(&self, turn: &NewTurn<'_>) -> Result<OpenedTurn, HistoryError> {
        let row = self
            .0
            .run(
                include_str!("open_turn.sql"),
                &[
                    (&turn.received.message_id(), Type::UUID),
                    (&turn.phone_number, Type::TEXT),
                    (&turn.name, Type::TEXT),
                    (&turn.id, Type::UUID),
                    (&i64::from(turn.history_messages), Type::INT8),
                    (&turn.message.content, Type::TEXT),
                    (&turn.message.media_urls, Type::TEXT_ARRAY),
                    (&turn.message.audio_urls, Type::TEXT_ARRAY),
                    (&turn.received.utc(), Type::TIMESTAMPTZ),
                ],
            )
            .await?
            .ok_or(HistoryError::Unexpected)?;
        let history = row.try_get::<_, Option<&str>>(1)?.unwrap_or("[]");
        Ok(OpenedTurn {
            is_new_user: row.try_get(0)?,
            history: serde_json::from_str(history).map_err(|_| HistoryError::Unexpected)?,
        })
    }
}
