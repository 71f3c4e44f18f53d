//! The `Idempotency-Key` header: a request and its repetitions carry the same one.
//! <https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/>

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The header's name.
pub const IDEMPOTENCY_KEY_HEADER: &str = "Idempotency-Key";
/// Longest key, in characters.
pub const MAX_KEY_CHARS: usize = 255;

/// Why a key was refused.
#[derive(Debug, Error, PartialEq)]
#[error("`Idempotency-Key` must be 1 to {MAX_KEY_CHARS} printable ASCII characters, quoted or bare.")]
pub struct IdempotencyKeyError;

/// A key that a client chose for one message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// The draft's quoted string, or the bare key that most clients send. `"a"` and `a` are the same key.
    pub fn parse(header: &str) -> Result<Self, IdempotencyKeyError> {
        let header = header.trim();
        let key = match header.strip_prefix('"') {
            Some(rest) => unescape(rest.strip_suffix('"').ok_or(IdempotencyKeyError)?)?,
            None => header.to_owned(),
        };
        let fits =
            !key.is_empty() && key.len() <= MAX_KEY_CHARS && key.bytes().all(|byte| (0x20..0x7F).contains(&byte));
        if fits { Ok(Self(key)) } else { Err(IdempotencyKeyError) }
    }

    /// The same key of somebody who only names a user: none that the user could have chosen.
    pub fn of_unproven(self) -> Self {
        Self(format!("\n{}", self.0))
    }

    /// The key itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The inside of a structured field string. <https://www.rfc-editor.org/rfc/rfc8941#section-3.3.3>
fn unescape(inside: &str) -> Result<String, IdempotencyKeyError> {
    let mut key = String::with_capacity(inside.len());
    let mut chars = inside.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => return Err(IdempotencyKeyError),
            '\\' => key.push(chars.next().filter(|c| matches!(c, '"' | '\\')).ok_or(IdempotencyKeyError)?),
            c => key.push(c),
        }
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_or_bare() {
        for header in [
            "8e03978e-40d5-43dd-bc93-6894a57f9324",
            "\"8e03978e-40d5-43dd-bc93-6894a57f9324\"",
            " 8e03978e-40d5-43dd-bc93-6894a57f9324 ",
        ] {
            assert_eq!(IdempotencyKey::parse(header).unwrap().as_str(), "8e03978e-40d5-43dd-bc93-6894a57f9324");
        }
        assert_eq!(IdempotencyKey::parse(r#""a\"\\b""#).unwrap().as_str(), r#"a"\b"#);
        assert!(IdempotencyKey::parse(&"x".repeat(MAX_KEY_CHARS)).is_ok());
    }

    #[test]
    fn others_are_refused() {
        let long = "x".repeat(MAX_KEY_CHARS + 1);
        for header in ["", "\"\"", "\"", "\"a", "\"a\"b\"", r#""a\n""#, "ä", "a\tb", &long] {
            assert_eq!(IdempotencyKey::parse(header), Err(IdempotencyKeyError), "{header}");
        }
    }
}
