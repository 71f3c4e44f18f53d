//! The manager agent: who Anna is, what she knows of the visitor, and what she says when no model is there to ask.

mod name;
mod prompt;
pub mod scripted;

pub use name::given_name;
pub use prompt::{HistoryMessage, Message, Prompt, instructions};
pub use scripted::out_of_budget;
