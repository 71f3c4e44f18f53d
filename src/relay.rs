//! Time in a turn: silence that is bridged, a model that fell silent, a visitor who left, and progress that is saved.

use std::{
    task::{Context, Poll},
    time::Duration,
};

use crate::{clock::Timestamp, history::SIGN_OF_LIFE, js::Alarm, llm::ModelError, settings::Settings, turn::Outlet};

/// How often progress is saved once the visitor has left.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(700);

/// Why a turn goes on.
pub enum Wake<T> {
    /// What it waited for.
    Ready(T),
    /// The visitor has just left.
    Left,
    /// What is held back is to be shown now.
    Due,
    /// Some time has passed.
    Tick,
}

/// The clocks of one turn, all on one timer that is set anew only when it fires: a timer for each token would cost more
/// than the token.
pub struct Relay {
    heartbeat: Duration,
    idle: Duration,
    grace: Duration,
    timer: Alarm,
    /// Set while the outlet holds back what comes.
    held: Alarm,
    /// Whether it has just gone off.
    is_due: bool,
    /// When the model last said something, and how much it had said by then.
    heard: (Timestamp, usize),
    bridged: Timestamp,
    left: Option<Timestamp>,
    /// When progress was last saved, and how much of it.
    saved: (Timestamp, usize),
}

impl Relay {
    /// Starts the clocks.
    pub fn new(settings: &Settings) -> Self {
        let now = Timestamp::now();
        let mut timer = Alarm::default();
        timer.set(settings.heartbeat.min(settings.idle_timeout));
        Self {
            heartbeat: settings.heartbeat,
            idle: settings.idle_timeout,
            grace: settings.disconnect_grace,
            timer,
            held: Alarm::default(),
            is_due: false,
            heard: (now, 0),
            bridged: now,
            left: None,
            saved: (now, 0),
        }
    }

    /// Waits for `ready`, for the visitor to leave, or for the timer. `ready` is told whether what comes is held back
    /// anyway, so that nobody has to be woken for it.
    pub async fn wake<T, O: Outlet>(
        &mut self,
        outlet: &mut O,
        mut ready: impl FnMut(&mut Context<'_>, bool) -> Poll<T>,
    ) -> Wake<T> {
        self.is_due = false;
        std::future::poll_fn(|cx| {
            self.is_due |= self.held.poll(cx).is_ready();
            if let Poll::Ready(value) = ready(cx, self.held.is_set()) {
                return Poll::Ready(Wake::Ready(value));
            }
            if self.left.is_none() && outlet.poll_gone(cx).is_ready() {
                self.left = Some(Timestamp::now());
                self.timer.set(PROGRESS_INTERVAL);
                return Poll::Ready(Wake::Left);
            }
            if self.is_due {
                return Poll::Ready(Wake::Due);
            }
            self.timer.poll(cx).map(|()| Wake::Tick)
        })
        .await
    }

    /// Shows the reply so far, now or when the outlet wants to.
    pub fn show<O: Outlet>(&mut self, outlet: &mut O, reply: &str) {
        match outlet.show(reply, self.is_due) {
            Some(period) if !self.held.is_set() => self.held.repeat(period),
            None if self.is_due => self.held.clear(),
            _ => {}
        }
    }

    /// Notes how much the model has said; `true` if that is more than before.
    pub fn heard(&mut self, bytes: usize) -> bool {
        let is_news = bytes > self.heard.1;
        if is_news {
            self.heard = (Timestamp::now(), bytes);
        }
        is_news
    }

    /// Whether the visitor has left.
    pub const fn has_left(&self) -> bool {
        self.left.is_some()
    }

    /// Whether so much of the reply should be saved now; if so, it counts as saved.
    pub fn is_save_due(&mut self, bytes: usize) -> bool {
        let interval = if self.has_left() { PROGRESS_INTERVAL } else { SIGN_OF_LIFE };
        let now = Timestamp::now();
        let just_left = self.left.is_some_and(|left| left >= self.saved.0);
        let is_due = bytes > self.saved.1 && (just_left || now.since(self.saved.0) >= interval);
        if is_due {
            self.saved = (now, bytes);
        }
        is_due
    }

    /// An error if the model has been silent for too long.
    pub fn check_silence(&self) -> Result<(), ModelError> {
        if Timestamp::now().since(self.heard.0) >= self.idle { Err(ModelError::IdleTimeout) } else { Ok(()) }
    }

    /// Bridges the silence if it is time to, and sets the timer. An error when the visitor has been gone for too long.
    pub fn bridge<O: Outlet>(&mut self, outlet: &mut O, reply: &str) -> Result<(), ModelError> {
        let now = Timestamp::now();
        let idle_left = self.idle.saturating_sub(now.since(self.heard.0));
        let mut wait = if idle_left.is_zero() { self.heartbeat } else { idle_left };
        match self.left {
            Some(left) if now.since(left) >= self.grace => return Err(ModelError::OutOfTime),
            Some(_) => wait = wait.min(PROGRESS_INTERVAL),
            None => {
                let mut quiet = self.heartbeat.saturating_sub(now.since(self.heard.0.max(self.bridged)));
                if quiet.is_zero() {
                    outlet.bridge(reply);
                    self.bridged = now;
                    quiet = self.heartbeat;
                }
                wait = wait.min(quiet);
            }
        }
        self.timer.set(wait);
        Ok(())
    }
}
