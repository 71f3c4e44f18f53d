//! Stands in for the crate of this name in the one place where this build has it: `postgres-protocol` prepares passwords
//! with it, and sends those that it cannot prepare as they are. Hyperdrive's passwords are ASCII, which is prepared as it
//! is; the Unicode tables for all others would be a good part of the Worker's compressed size.

#![forbid(unsafe_code)]

use std::borrow::Cow;

/// The text has characters that would have to be looked up.
#[derive(Debug)]
pub struct Error;

/// SASLprep of printable ASCII. <https://www.rfc-editor.org/rfc/rfc4013>
pub fn saslprep(text: &str) -> Result<Cow<'_, str>, Error> {
    let is_plain = text.bytes().all(|byte| (0x20..0x7F).contains(&byte));
    if is_plain { Ok(Cow::Borrowed(text)) } else { Err(Error) }
}
