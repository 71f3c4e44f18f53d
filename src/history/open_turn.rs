//! The statement that opens a turn.

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    History, HistoryError,
    postgres::{Param, Type},
};
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
        /// Which budget refuses a reply, if one does: `visitor`, `ip` or `total`.
        refused_by: Option<String>,
        /// Earlier messages, oldest first.
        history: Vec<HistoryMessage>,
    },
    /// Its key belongs to an earlier turn; nothing is recorded.
    Repeated,
}

/// The parameters of the database's function `chat_pay`.
pub struct Payment<'a> {
    day: NaiveDate,
    tokens: Option<i32>,
    limits: [Option<i64>; 3],
    visitor_key: Option<&'a str>,
    ip_key: Option<&'a str>,
}

impl<'a> Payment<'a> {
    /// Of a reservation; without one, nothing is paid.
    pub fn new(reservation: Option<&'a Reservation>) -> Self {
        let budgets = reservation.map(|reservation| reservation.budgets).unwrap_or_default();
        Self {
            day: reservation.map(|reservation| reservation.day).unwrap_or_default(),
            tokens: reservation.map(|reservation| reservation.tokens),
            limits: [budgets.visitor, budgets.ip, budgets.total].map(|limit| Some(limit).filter(|&limit| limit > 0)),
            visitor_key: reservation.map(|reservation| reservation.visitor_key.as_str()),
            ip_key: reservation.and_then(|reservation| reservation.ip_key.as_deref()),
        }
    }

    /// `$1` to `$7`.
    pub fn params(&self) -> Vec<Param<'_>> {
        let [visitor, ip, total] = &self.limits;
        vec![
            (&self.day as _, Type::DATE),
            (&self.tokens as _, Type::INT4),
            (visitor as _, Type::INT8),
            (&self.visitor_key as _, Type::TEXT),
            (ip as _, Type::INT8),
            (&self.ip_key as _, Type::TEXT),
            (total as _, Type::INT8),
        ]
    }
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
        let payment = Payment::new(reservation);
        let (received, key) = (turn.received.utc(), turn.key.as_ref().map(IdempotencyKey::as_str));
        let (messages, chars) = (i64::from(earlier.messages), i64::from(earlier.chars));
        let mut params = payment.params();
        params.extend([
            (&turn.user_row as _, Type::UUID),
            (&turn.phone_number as _, Type::TEXT),
            (&turn.name as _, Type::TEXT),
            (&turn.id as _, Type::UUID),
            (&turn.message.content as _, Type::TEXT),
            (&turn.message.media_urls as _, Type::TEXT_ARRAY),
            (&turn.message.audio_urls as _, Type::TEXT_ARRAY),
            (&received as _, Type::TIMESTAMPTZ),
            (&key as _, Type::TEXT),
            (&turn.ticket as _, Type::UUID),
            (&turn.is_proven as _, Type::BOOL),
            (&messages as _, Type::INT8),
            (&chars as _, Type::INT8),
        ]);
        let row = self.0.run(include_str!("open_turn.sql"), &params).await?.ok_or(HistoryError::Erased)?;
        if !row.try_get::<_, bool>(0)? {
            return Ok(OpenedTurn::Repeated);
        }
        let history = row.try_get::<_, Option<&str>>(2)?.unwrap_or("[]");
        Ok(OpenedTurn::New {
            is_new_user: row.try_get(1)?,
            refused_by: row.try_get(3)?,
            history: serde_json::from_slice(history.as_bytes()).map_err(|_| HistoryError::Unexpected)?,
        })
    }
}
