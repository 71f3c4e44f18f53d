//! Session tokens: what a visitor sends back to be known again. A token says whose it is and until when, and is signed,
//! so that nothing has to be looked up to trust it.

use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

use crate::{
    chat_request::UserId,
    clock::Timestamp,
    jws::{self, Key, Unverified},
};

/// Version of the claims; tokens of another one are refused.
const VERSION: u8 = 1;
/// How far the clocks of two machines may differ, in milliseconds.
const CLOCK_SKEW_MS: u64 = 60_000;
/// Shortest secret, in bytes: as long as the HMAC.
pub const MIN_SECRET_BYTES: usize = 32;
/// Id of the key that stands in `wrangler.toml` for everybody to read.
pub const DEVELOPMENT_KEY: &str = "development";

/// Whose session it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Subject {
    /// Somebody whom the service gave this random id.
    Visitor(Uuid),
    /// The user of this id, as the site has proved.
    User(UserId),
}

impl Subject {
    /// What `users.phone_number` holds: the guide's `chat_{user_id}`, where a visitor is `visitor_` and their id.
    pub fn phone_number(&self) -> String {
        match self {
            // No user id may begin like this.
            Self::Visitor(id) => format!("chat_visitor_{id}"),
            Self::User(id) => id.phone_number(),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Claims {
    v: u8,
    site: String,
    sub: Subject,
    /// Seconds since 1970.
    iat: u64,
    exp: u64,
}

/// Why a token was refused. All that a client can do about it is to go on without.
#[derive(Clone, Copy, Debug, Error, PartialEq)]
#[error("the session token is not valid, or not any more")]
pub struct InvalidToken;

/// A session that was presented.
#[derive(Clone, Debug, PartialEq)]
pub struct Session {
    /// Whose it is.
    pub subject: Subject,
    /// Whether more than half of its time is over, so that it should be replaced.
    pub is_old: bool,
    /// When it is over.
    pub expires: Timestamp,
}

/// Makes and checks tokens.
#[derive(Clone)]
pub struct Sessions {
    /// The first one signs, all of them verify.
    keys: Vec<(String, Key)>,
    site: String,
    /// Seconds.
    life: u64,
}

impl Sessions {
    /// `keys` is `SESSION_KEYS`: one or two `id:secret`, separated by a comma. The error is the end of a sentence that
    /// starts with the variable's name.
    pub fn new(keys: &str, site: String, days: u64) -> Result<Self, String> {
        let wrong = || {
            format!(
                "must be one or two keys such as 2026a:SECRET, separated by a comma, with secrets of at least \
                 {MIN_SECRET_BYTES} bytes; the first one signs"
            )
        };
        let key = |entry: &str| {
            let (id, secret) = entry.trim().split_once(':')?;
            (!id.is_empty() && secret.len() >= MIN_SECRET_BYTES).then_some(())?;
            Some((id.to_owned(), Key::new(secret)?))
        };
        let keys: Vec<_> = keys.split(',').map(key).collect::<Option<_>>().ok_or_else(wrong)?;
        match keys.as_slice() {
            [_] => {}
            [(first, _), (second, _)] if first != second => {}
            _ => return Err(wrong()),
        }
        Ok(Self { keys, site, life: days * 24 * 60 * 60 })
    }

    /// Whether tokens are signed with a key that everybody knows.
    pub fn are_for_development(&self) -> bool {
        self.keys.iter().any(|(id, _)| id == DEVELOPMENT_KEY)
    }

    /// How long a token is good, in seconds.
    pub const fn life(&self) -> u64 {
        self.life
    }

    /// When a token that is issued now expires.
    pub const fn expiry(&self, now: Timestamp) -> Timestamp {
        Timestamp::from_millis((now.seconds() + self.life) * 1000)
    }

    /// A new token.
    pub fn issue(&self, subject: &Subject, now: Timestamp) -> String {
        let (iat, exp) = (now.seconds(), self.expiry(now).seconds());
        let claims = Claims { v: VERSION, site: self.site.clone(), sub: subject.clone(), iat, exp };
        // There is always a first key.
        self.keys.first().map(|(id, key)| jws::encode(id, key, &claims)).unwrap_or_default()
    }

    /// Whose token this is.
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<Session, InvalidToken> {
        let token = Unverified::parse(token).ok_or(InvalidToken)?;
        let (_, key) = self.keys.iter().find(|(id, _)| Some(id) == token.key_id.as_ref()).ok_or(InvalidToken)?;
        let claims: Claims = token.verify(key).ok_or(InvalidToken)?;
        let is_valid = claims.v == VERSION
            && claims.site == self.site
            && claims.exp > now.seconds()
            && claims.iat <= now.seconds() + CLOCK_SKEW_MS / 1000;
        let is_old = now.seconds() > claims.iat.midpoint(claims.exp);
        let expires = Timestamp::from_millis(claims.exp.saturating_mul(1000));
        is_valid.then_some(Session { subject: claims.sub, is_old, expires }).ok_or(InvalidToken)
    }

    /// A name for something that must not be stored as it is. It cannot be turned back without the key.
    pub fn pseudonym(&self, text: &str) -> String {
        self.keys.first().map(|(_, key)| hex::encode(key.sign(text.as_bytes()))).unwrap_or_default()
    }
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sessions").field("site", &self.site).finish_non_exhaustive()
    }
}

#[cfg(test)]
pub mod tests {
    use proptest::prelude::*;

    use super::*;

    const OLD: &str = "a:0123456789abcdef0123456789abcdef";
    const NEW: &str = "b:fedcba9876543210fedcba9876543210";
    const NOW: Timestamp = Timestamp::from_millis(1_759_328_659_941);
    const DAY: u64 = 24 * 60 * 60 * 1000;

    pub fn sessions(keys: &str) -> Sessions {
        Sessions::new(keys, "clinic".to_owned(), 30).unwrap()
    }

    fn later(days: u64) -> Timestamp {
        Timestamp::from_millis(1_759_328_659_941 + days * DAY)
    }

    fn visitor() -> Subject {
        Subject::Visitor(Uuid::new_v4())
    }

    #[test]
    fn a_token_says_whose_it_is_until_it_expires() {
        let sessions = sessions(OLD);
        for subject in [visitor(), Subject::User(UserId::parse("jürgen \"x\" \u{202e}".to_owned()).unwrap())] {
            let token = sessions.issue(&subject, NOW);
            assert!(token.is_ascii() && token.len() < 400);
            let session = |at| sessions.verify(&token, at);
            let expires = sessions.expiry(NOW);
            assert_eq!(session(NOW), Ok(Session { subject: subject.clone(), is_old: false, expires }));
            assert_eq!(session(later(29)), Ok(Session { subject: subject.clone(), is_old: true, expires }));
            assert_eq!(session(later(30)), Err(InvalidToken));
        }
    }

    #[test]
    fn a_token_from_the_future_is_refused() {
        let sessions = sessions(OLD);
        assert_eq!(sessions.verify(&sessions.issue(&visitor(), later(1)), NOW), Err(InvalidToken));
    }

    #[test]
    fn keys_are_rotated_with_two_at_once() {
        let token = sessions(OLD).issue(&visitor(), NOW);
        let both = sessions(&format!("{NEW}, {OLD}"));
        assert!(both.verify(&token, NOW).is_ok());
        assert!(sessions(NEW).verify(&token, NOW).is_err());
        assert!(sessions(NEW).verify(&both.issue(&visitor(), NOW), NOW).is_ok());
        // Another secret by the same name.
        assert!(sessions("a:ffffffffffffffffffffffffffffffff").verify(&token, NOW).is_err());
    }

    #[test]
    fn a_token_of_another_site_or_version_is_refused() {
        let token = sessions(OLD).issue(&visitor(), NOW);
        let other = Sessions::new(OLD, "other".to_owned(), 30).unwrap();
        assert_eq!(other.verify(&token, NOW), Err(InvalidToken));
        let (id, key) = &sessions(OLD).keys[0];
        let claims = Claims { v: 2, site: "clinic".to_owned(), sub: visitor(), iat: 0, exp: u64::MAX };
        assert_eq!(sessions(OLD).verify(&jws::encode(id, key, &claims), NOW), Err(InvalidToken));
    }

    #[test]
    fn keys_that_cannot_be_used() {
        for keys in
            ["", "a", "a:short", ":0123456789abcdef0123456789abcdef", &format!("{OLD},{OLD}"), &format!("{OLD},")]
        {
            assert!(Sessions::new(keys, "clinic".to_owned(), 30).is_err(), "{keys}");
        }
        assert!(Sessions::new(&format!("{OLD},{NEW},c:{}", "x".repeat(32)), "clinic".to_owned(), 30).is_err());
        assert!(!format!("{:?}", sessions(OLD)).contains("0123"));
    }

    proptest! {
        #[test]
        fn no_text_is_a_session(token in "\\PC{0,200}") {
            prop_assert_eq!(sessions(OLD).verify(&token, NOW), Err(InvalidToken));
        }
    }
}
