//! As much of PostgreSQL's protocol as this service needs: one statement at a time, unnamed, its types known to the
//! caller, at most one row in the answer. <https://www.postgresql.org/docs/current/protocol.html>
//!
//! A general client runs beside the request as a task of its own and knows every type there is: a sixth of the Worker's
//! code. Here the request itself reads the answer that it waits for.

mod incoming;
mod login;
mod session;
mod statement;
mod value;

use std::io;

use thiserror::Error;

pub use session::Session;
pub use statement::Row;
pub use value::{ToSql, Type};

/// Why there is no answer, or not the one that was asked for.
#[derive(Debug, Error)]
pub enum Error {
    /// The stream broke, or could not be opened.
    #[error("the stream broke: {0}")]
    Broken(String),
    /// The server ended the stream.
    #[error("the server ended the connection")]
    Ended,
    /// The server answered with an error of this SQLSTATE.
    #[error("the server refused: SQLSTATE {0}")]
    Refused(String),
    /// Something cannot be sent, or the server does not prove that it knows the password.
    #[error("the protocol has no place for this: {0}")]
    Invalid(#[from] io::Error),
    /// The server sent a message that is malformed or has no place here.
    #[error("the server sent an unexpected message")]
    Unexpected,
    /// The row has no such column, or its value is of another type.
    #[error("the row has another shape")]
    Shape,
}

/// A statement's parameter and its type.
pub type Param<'a> = (&'a dyn ToSql, Type);
