//! The statements about all that is stored of one visitor.

use serde::Serialize;
use uuid::Uuid;

use super::{History, HistoryError, postgres::Type};
use crate::{clock::Timestamp, session::Subject};

/// What was erased, for the log.
#[derive(Debug, Serialize)]
pub struct Erased {
    /// How many messages.
    pub messages: i64,
}

impl History {
    /// A page of the visitor's messages with so many turns, as JSON: the newest ones, or those before a turn.
    pub async fn conversation(
        &self,
        visitor: &Subject,
        turns: u32,
        before: Option<Uuid>,
    ) -> Result<String, HistoryError> {
        let params = &[
            (&visitor.phone_number() as _, Type::TEXT),
            (&i64::from(turns) as _, Type::INT8),
            (&before as _, Type::UUID),
        ];
        let row = self.0.run(include_str!("conversation.sql"), params).await?.ok_or(HistoryError::Unexpected)?;
        Ok(row.try_get(0)?)
    }

    /// Everything that is stored of the visitor, as JSON.
    pub async fn export(&self, visitor: &Subject) -> Result<String, HistoryError> {
        let params = &[(&visitor.phone_number() as _, Type::TEXT)];
        let row = self.0.run(include_str!("export.sql"), params).await?.ok_or(HistoryError::Unexpected)?;
        Ok(row.try_get(0)?)
    }

    /// Erases everything that is stored of the visitor.
    pub async fn erase(&self, visitor: &Subject, now: Timestamp) -> Result<Erased, HistoryError> {
        let params = &[(&visitor.phone_number() as _, Type::TEXT), (&now.utc() as _, Type::TIMESTAMPTZ)];
        let row = self.0.run(include_str!("erase.sql"), params).await?.ok_or(HistoryError::Unexpected)?;
        Ok(Erased { messages: row.try_get(0)? })
    }
}
