//! The statements about a turn that is under way: saving what there is of it, watching it, taking it over.

use std::time::Duration;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{
    History, HistoryError, NewTurn, TurnState,
    open_turn::Payment,
    postgres::{Row, Type},
};
use crate::{budget::Reservation, clock::Timestamp, idempotency_key::IdempotencyKey, session::Subject};

/// A running turn without a sign of life for this long has lost its Worker. A turn at work gives one every
/// [`SIGN_OF_LIFE`].
pub const LOST_AFTER: Duration = Duration::from_secs(90);
/// How often a turn that somebody watches saves its progress.
pub const SIGN_OF_LIFE: Duration = Duration::from_secs(30);
/// How long a ticket is good.
const TICKET_LIFE: Duration = Duration::from_secs(300);

/// Where a turn stands.
#[derive(Debug)]
pub struct WatchedTurn {
    /// Its state.
    pub state: TurnState,
    /// What there is of its reply.
    pub reply: String,
    /// Whether its Worker must have died.
    pub is_lost: bool,
}

/// A turn that was taken over.
#[derive(Debug)]
pub struct ReopenedTurn {
    /// The number of the new attempt.
    pub attempt: i32,
    /// Which budget refuses a reply, if one does.
    pub refused_by: Option<String>,
}

impl History {
    /// Saves what there is of a running reply, and says whether its visitor wants no more of it.
    pub async fn save_progress(&self, turn: Uuid, reply: &str) -> Result<bool, HistoryError> {
        let params =
            &[(&turn as _, Type::UUID), (&reply as _, Type::TEXT), (&Timestamp::now().utc() as _, Type::TIMESTAMPTZ)];
        let row = self.0.run(include_str!("save_progress.sql"), params).await?;
        Ok(row.is_some_and(|row| row.try_get(0).unwrap_or_default()))
    }

    /// Asks for the end of a visitor's running reply, and returns its turn; `None` if nothing is running.
    pub async fn stop_turn(&self, visitor: &Subject) -> Result<Option<Uuid>, HistoryError> {
        first_id(self.0.run(include_str!("stop_turn.sql"), &[(&visitor.phone_number(), Type::TEXT)]).await?)
    }

    /// Takes over a turn that has no reply and nobody at work on it; `None` when it is not to be had.
    pub async fn reopen_turn(
        &self,
        turn: Uuid,
        reservation: Option<&Reservation>,
    ) -> Result<Option<ReopenedTurn>, HistoryError> {
        let now = Timestamp::now();
        let (opened, lost) = (now.utc(), now.before(LOST_AFTER).utc());
        let payment = Payment::new(reservation);
        let mut params = payment.params();
        params.extend([(&turn as _, Type::UUID), (&opened as _, Type::TIMESTAMPTZ), (&lost as _, Type::TIMESTAMPTZ)]);
        let Some(row) = self.0.run(include_str!("reopen_turn.sql"), &params).await? else { return Ok(None) };
        Ok(Some(ReopenedTurn { attempt: row.try_get(0)?, refused_by: row.try_get(1)? }))
    }

    /// The turn that this repetition's key belongs to; `None` when that is another message's.
    pub async fn repeated_turn(&self, repetition: &NewTurn) -> Result<Option<Uuid>, HistoryError> {
        let message = &repetition.message;
        let params = &[
            (&repetition.phone_number as _, Type::TEXT),
            (&repetition.key.as_ref().map(IdempotencyKey::as_str) as _, Type::TEXT),
            (&repetition.ticket as _, Type::UUID),
            (&message.content as _, Type::TEXT),
            (&repetition.received.utc() as _, Type::TIMESTAMPTZ),
        ];
        let Some(row) = self.0.run(include_str!("repeated_turn.sql"), params).await? else { return Ok(None) };
        let attachments: Vec<(String, String)> =
            serde_json::from_slice(row.try_get::<_, &str>(1)?.as_bytes()).map_err(|_| HistoryError::Unexpected)?;
        let given = message
            .media_urls
            .iter()
            .map(|url| ("media", url))
            .chain(message.audio_urls.iter().map(|url| ("audio", url)));
        let is_same = attachments.iter().map(|(kind, url)| (kind.as_str(), url)).eq(given);
        Ok(if is_same { Some(row.try_get(0)?) } else { None })
    }

    /// A visitor's newest turn.
    pub async fn newest_turn(&self, visitor: &Subject) -> Result<Option<Uuid>, HistoryError> {
        first_id(self.0.run(include_str!("newest_turn.sql"), &[(&visitor.phone_number(), Type::TEXT)]).await?)
    }

    /// The turn that a ticket opens; the ticket is used up by it. Whoever has a session only opens their own.
    pub async fn redeem_ticket(&self, ticket: Uuid, by: Option<&Subject>) -> Result<Option<Uuid>, HistoryError> {
        let params = &[
            (&ticket as _, Type::UUID),
            (&Timestamp::now().before(TICKET_LIFE).utc() as _, Type::TIMESTAMPTZ),
            (&by.map(Subject::phone_number) as _, Type::TEXT),
        ];
        first_id(self.0.run(include_str!("redeem_ticket.sql"), params).await?)
    }

    /// Where a turn stands; `None` when there is no such turn.
    pub async fn watch_turn(&self, turn: Uuid) -> Result<Option<WatchedTurn>, HistoryError> {
        let Some(row) = self.0.run(include_str!("watch_turn.sql"), &[(&turn, Type::UUID)]).await? else {
            return Ok(None);
        };
        let state = TurnState::parse(row.try_get(0)?).ok_or(HistoryError::Unexpected)?;
        let alive_at: DateTime<Utc> = row.try_get(2)?;
        let is_lost = state == TurnState::Running && alive_at < Timestamp::now().before(LOST_AFTER).utc();
        Ok(Some(WatchedTurn { state, reply: row.try_get(1)?, is_lost }))
    }
}

fn first_id(row: Option<Row>) -> Result<Option<Uuid>, HistoryError> {
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}
