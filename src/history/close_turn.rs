//! The statement that closes a turn.

use tokio_postgres::types::Type;
use uuid::Uuid;

use super::{History, HistoryError};
use crate::{clock::Timestamp, llm::Usage, settings::ProviderKind};

/// What became of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TurnState {
    /// The model finished its reply.
    Complete,
    /// The reply broke off; what there is of it is stored.
    Partial,
    /// There is no reply.
    Failed,
}

impl TurnState {
    /// As `chat_turns.state` and the logs have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Partial => "partial",
            Self::Failed => "failed",
        }
    }
}

/// A turn that is over.
#[derive(Debug)]
pub struct ClosedTurn<'a> {
    /// The turn: id of the incoming message.
    pub id: Uuid,
    /// The reply; empty when there is none.
    pub reply: &'a str,
    /// When it was finished.
    pub finished: Timestamp,
    /// How it ended.
    pub state: TurnState,
    /// Who wrote the reply, and with which model.
    pub author: Option<(ProviderKind, &'a str)>,
    /// Why the model stopped, in its own words.
    pub finish_reason: Option<&'a str>,
    /// Tokens, if the model counted them.
    pub usage: Option<Usage>,
    /// Code of the error that ended it.
    pub error: Option<&'static str>,
}

impl History {
    /// Records the reply and the end of the turn, in one round trip.
    pub async fn close_turn(&self, turn: &ClosedTurn<'_>) -> Result<(), HistoryError> {
        let reply = (!turn.reply.is_empty()).then_some(turn.reply);
        // PostgreSQL's text cannot hold U+0000, and a model may well send it.
        let reply = reply.map(|reply| reply.replace('\0', ""));
        self.0
            .run(
                include_str!("close_turn.sql"),
                &[
                    (&turn.id, Type::UUID),
                    (&turn.finished.message_id(), Type::UUID),
                    (&reply, Type::TEXT),
                    (&turn.finished.utc(), Type::TIMESTAMPTZ),
                    (&turn.state.name(), Type::TEXT),
                    (&turn.author.map(|(provider, _)| provider.name()), Type::TEXT),
                    (&turn.author.map(|(_, model)| model), Type::TEXT),
                    (&turn.finish_reason, Type::TEXT),
                    (&turn.usage.map(|usage| usage.prompt_tokens), Type::INT4),
                    (&turn.usage.map(|usage| usage.completion_tokens), Type::INT4),
                    (&turn.error, Type::TEXT),
                ],
            )
            .await?
            .map(|_| ())
            .ok_or(HistoryError::Unexpected)
    }
}
