//! The statements that delete what has had its time.

use serde::Serialize;

use super::{History, HistoryError, postgres::Type};
use crate::clock::Timestamp;

/// How many rows were deleted.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Forgotten {
    /// Messages.
    pub messages: i64,
    /// Visitors of whom nothing was left.
    pub users: i64,
}

impl History {
    /// Deletes what is only kept for a while.
    pub async fn tidy_up(&self, now: Timestamp) -> Result<(), HistoryError> {
        self.0.run(include_str!("tidy_up.sql"), &[(&now.utc(), Type::TIMESTAMPTZ)]).await.map(|_| ())
    }

    /// Deletes the chat's messages from before `oldest`, at most so many of them.
    pub async fn forget(&self, oldest: Timestamp, at_most: i64) -> Result<Forgotten, HistoryError> {
        let params = &[(&oldest.utc() as _, Type::TIMESTAMPTZ), (&at_most as _, Type::INT8)];
        let row = self.0.run(include_str!("forget.sql"), params).await?.ok_or(HistoryError::Unexpected)?;
        Ok(Forgotten { messages: row.try_get(0)?, users: row.try_get(1)? })
    }
}
