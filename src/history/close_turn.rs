//! The statement that closes a turn.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{History, HistoryError, postgres::Type};
use crate::{clock::Timestamp, llm::Usage};

/// Where a turn stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TurnState {
    /// The reply is being written.
    Running,
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
            Self::Running => "running",
            Self::Complete => "complete",
            Self::Partial => "partial",
            Self::Failed => "failed",
        }
    }

    /// The state of this name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Running, Self::Complete, Self::Partial, Self::Failed].into_iter().find(|state| state.name() == name)
    }
}

/// A turn that is over.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ClosedTurn {
    /// The turn: id of the incoming message.
    pub id: Uuid,
    /// Which attempt at a reply this was; see [`History::reopen_turn`].
    pub attempt: i32,
    /// Id of the reply, if there is one.
    pub reply_id: Uuid,
    /// The reply; empty when there is none.
    pub reply: String,
    /// When it was finished.
    pub finished: Timestamp,
    /// How it ended.
    pub state: TurnState,
    /// Who wrote the reply.
    pub provider: Option<String>,
    /// With which model.
    pub model: Option<String>,
    /// Why the model stopped, in its own words.
    pub finish_reason: Option<String>,
    /// Tokens, if the model counted them.
    pub usage: Option<Usage>,
    /// Code of the error that ended it.
    pub error: Option<String>,
    /// Tokens that it cost, as far as there are budgets.
    #[serde(default)]
    pub cost: i32,
}

impl History {
    /// Records the reply and the end of the turn, in one round trip. A turn that is over stays as it is.
    pub async fn close_turn(&self, turn: &ClosedTurn) -> Result<(), HistoryError> {
        let reply = (!turn.reply.is_empty()).then_some(&turn.reply);
        self.0
            .run(
                include_str!("close_turn.sql"),
                &[
                    (&turn.id, Type::UUID),
                    (&turn.reply_id, Type::UUID),
                    (&reply, Type::TEXT),
                    (&turn.finished.utc(), Type::TIMESTAMPTZ),
                    (&turn.state.name(), Type::TEXT),
                    (&turn.provider, Type::TEXT),
                    (&turn.model, Type::TEXT),
                    (&turn.finish_reason, Type::TEXT),
                    (&turn.usage.map(|usage| usage.prompt_tokens), Type::INT4),
                    (&turn.usage.map(|usage| usage.completion_tokens), Type::INT4),
                    (&turn.error, Type::TEXT),
                    (&turn.attempt, Type::INT4),
                    (&turn.cost, Type::INT4),
                ],
            )
            .await?
            .map(|_| ())
            // It was opened; so it has been erased since.
            .ok_or(HistoryError::Erased)
    }
}
