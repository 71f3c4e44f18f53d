//! Who is speaking, as far as it can be proved: the session that comes with a request, and what the site says of its
//! user in the body.

use serde::Deserialize;
use thiserror::Error;
use uuid::Uuid;

use crate::{
    chat_request::UserId,
    clock::Timestamp,
    jws::{Key, Unverified},
    session::{InvalidToken, Sessions, Subject},
    visitor::{Visitor, session_cookie},
};

/// How far the clocks of the site and of this service may differ, in seconds.
const CLOCK_SKEW: u64 = 60;

/// What a body says of the visitor.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Credentials {
    /// Who the site says is speaking.
    pub user_id: Option<UserId>,
    /// HMAC-SHA256 over `user_id` with the site's secret, in hexadecimal digits.
    pub user_hash: Option<String>,
    /// In their place, a JSON Web Token (`HS256`) with `sub` and `exp`, signed with the site's secret.
    pub user_token: Option<String>,
    /// What Cloudflare Turnstile gave the page.
    pub turnstile_token: Option<String>,
}

/// Why nobody believes a body.
#[derive(Clone, Copy, Debug, Error, PartialEq)]
pub enum IdentityError {
    /// `IDENTITY=verified`, and nothing proves the id.
    #[error("This service wants proof of a `user_id`: send `user_hash` or `user_token`, or leave out all three.")]
    Unproven,
    /// The hash is of something else.
    #[error("`user_hash` must be the HMAC-SHA256 of `user_id` with the site's secret, as 64 hexadecimal digits.")]
    WrongHash,
    /// The token is not the site's, or not valid any more.
    #[error(
        "`user_token` must be a JSON Web Token, signed with HS256 and the site's secret, with `sub` (the user's id) and \
         an `exp` that is not over."
    )]
    WrongToken,
    /// The token is another user's.
    #[error("`user_token` is for another user than `user_id`.")]
    AnotherUser,
    /// There is nothing to check a proof with.
    #[error("This service has no `IDENTITY_SECRETS` to check `user_hash` or `user_token` with: leave them out.")]
    NoSecrets,
}

/// How users are told apart: `IDENTITY` and `IDENTITY_SECRETS`.
#[derive(Clone, Default)]
pub struct IdentityPolicy {
    /// Whether a `user_id` that nothing proves is refused.
    pub is_proof_required: bool,
    /// The site's secrets; each of them is good.
    pub secrets: Vec<Key>,
}

impl std::fmt::Debug for IdentityPolicy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IdentityPolicy").field("is_proof_required", &self.is_proof_required).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct UserClaims {
    sub: String,
    exp: f64,
    #[serde(default)]
    nbf: f64,
}

impl IdentityPolicy {
    /// The user whom the body proves; `None` if it does not try to.
    fn prove(&self, credentials: &Credentials, now: Timestamp) -> Result<Option<UserId>, IdentityError> {
        if credentials.user_hash.is_none() && credentials.user_token.is_none() {
            return Ok(None);
        }
        if self.secrets.is_empty() {
            return Err(IdentityError::NoSecrets);
        }
        let mut proved = None;
        if let Some(token) = &credentials.user_token {
            let user = self.token_user(token, now).ok_or(IdentityError::WrongToken)?;
            if credentials.user_id.as_ref().is_some_and(|id| *id != user) {
                return Err(IdentityError::AnotherUser);
            }
            proved = Some(user);
        }
        if let Some(hash) = &credentials.user_hash {
            let user = credentials.user_id.as_ref().ok_or(IdentityError::WrongHash)?;
            let hash = hex::decode(hash).map_err(|_| IdentityError::WrongHash)?;
            if !self.secrets.iter().any(|key| key.verifies(user.as_str().as_bytes(), &hash)) {
                return Err(IdentityError::WrongHash);
            }
            proved = Some(user.clone());
        }
        Ok(proved)
    }

    fn token_user(&self, token: &str, now: Timestamp) -> Option<UserId> {
        let token = Unverified::parse(token)?;
        let claims: UserClaims = self.secrets.iter().find_map(|key| token.verify(key))?;
        let (now, skew) = (now.seconds() as f64, CLOCK_SKEW as f64);
        (claims.exp > now - skew && claims.nbf <= now + skew).then_some(())?;
        UserId::parse(claims.sub).ok()
    }
}

/// Who sends a request, and what their answer has to bring them.
#[derive(Debug, PartialEq)]
pub struct Identified {
    /// Who it is.
    pub visitor: Visitor,
    /// Whose new session token the answer carries, if any.
    pub issue: Option<Subject>,
    /// Whether neither a session nor a proof came with it.
    pub is_first_contact: bool,
}

impl Identified {
    const fn known(subject: Subject, issue: Option<Subject>) -> Self {
        Self { visitor: Visitor::Known(subject), issue, is_first_contact: false }
    }
}

/// Why a request was refused for who sent it.
#[derive(Clone, Copy, Debug, Error, PartialEq)]
pub enum Unidentified {
    /// The token in the header.
    #[error(transparent)]
    Token(#[from] InvalidToken),
    /// The body's claims.
    #[error(transparent)]
    Body(#[from] IdentityError),
}

/// What the body proves goes first, then the session of the header, then that of the cookie. A cookie that is not valid
/// is no error: a page cannot take it back.
pub fn identify(
    credentials: &Credentials,
    header: Option<&str>,
    cookies: Option<&str>,
    policy: &IdentityPolicy,
    sessions: &Sessions,
    now: Timestamp,
) -> Result<Identified, Unidentified> {
    if let Some(user) = policy.prove(credentials, now)? {
        let subject = Subject::User(user);
        return Ok(Identified::known(subject.clone(), Some(subject)));
    }
    let session = match header {
        Some(token) => Some(sessions.verify(token, now)?),
        None => cookies.and_then(session_cookie).and_then(|token| sessions.verify(token, now).ok()),
    };
    match (&credentials.user_id, session) {
        (Some(user), Some(session)) if session.subject == Subject::User(user.clone()) => {
            Ok(Identified::known(session.subject, None))
        }
        (Some(_), _) if policy.is_proof_required => Err(IdentityError::Unproven.into()),
        (Some(user), session) => {
            Ok(Identified { visitor: Visitor::Named(user.clone()), issue: None, is_first_contact: session.is_none() })
        }
        (None, Some(session)) => {
            // A user's session is renewed by the proof that made it.
            let issue = Some(&session.subject).filter(|s| session.is_old && matches!(s, Subject::Visitor(_))).cloned();
            Ok(Identified::known(session.subject, issue))
        }
        (None, None) => {
            let id = Uuid::new_v4();
            Ok(Identified { visitor: Visitor::New(id), issue: Some(Subject::Visitor(id)), is_first_contact: true })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{jws, session::tests::sessions};
    use serde_json::json;

    const KEYS: &str = "a:0123456789abcdef0123456789abcdef";
    const NOW: Timestamp = Timestamp::from_millis(1_759_328_659_941);
    const SECRET: &str = "the site's secret";

    fn policy(is_proof_required: bool) -> IdentityPolicy {
        let secrets = ["an older one", SECRET].iter().filter_map(|secret| Key::new(secret)).collect();
        IdentityPolicy { is_proof_required, secrets }
    }

    fn user(id: &str) -> UserId {
        UserId::parse(id.to_owned()).unwrap()
    }

    fn named(id: &str) -> Credentials {
        Credentials { user_id: Some(user(id)), ..Credentials::default() }
    }

    fn hash(id: &str) -> String {
        hex::encode(Key::new(SECRET).unwrap().sign(id.as_bytes()))
    }

    fn token(claims: serde_json::Value) -> Credentials {
        let token = jws::encode("", &Key::new(SECRET).unwrap(), &claims);
        Credentials { user_token: Some(token), ..Credentials::default() }
    }

    fn run(credentials: &Credentials, header: Option<&str>, cookies: Option<&str>) -> Result<Identified, Unidentified> {
        identify(credentials, header, cookies, &policy(false), &sessions(KEYS), NOW)
    }

    #[test]
    fn a_hash_or_a_token_proves_a_user() {
        let subject = Subject::User(user("jürgen@a.test"));
        let proved = Identified::known(subject.clone(), Some(subject));
        let hashed = Credentials { user_hash: Some(hash("jürgen@a.test")), ..named("jürgen@a.test") };
        assert_eq!(run(&hashed, None, None), Ok(proved));
        let in_capitals = Credentials { user_hash: Some(hash("a").to_uppercase()), ..named("a") };
        assert!(run(&in_capitals, None, None).is_ok());
        let exp = NOW.seconds() + 60;
        for claims in [json!({"sub": "a", "exp": exp}), json!({"sub": "a", "exp": exp as f64 + 0.5, "nbf": 0, "x": []})]
        {
            let Ok(Identified { visitor, .. }) = run(&token(claims), None, None) else { panic!() };
            assert_eq!(visitor.phone_number(), "chat_a");
            assert!(visitor.is_proven());
        }
    }

    #[test]
    fn a_wrong_proof_is_refused_and_not_ignored() {
        use IdentityError::*;
        let exp = NOW.seconds() + 600;
        for (credentials, error) in [
            (Credentials { user_hash: Some(hash("b")), ..named("a") }, WrongHash),
            (Credentials { user_hash: Some(hash("a")[..62].to_owned()), ..named("a") }, WrongHash),
            (Credentials { user_hash: Some(String::new()), ..named("a") }, WrongHash),
            (Credentials { user_hash: Some("nonsense".to_owned()), ..named("a") }, WrongHash),
            (token(json!({"sub": "a"})), WrongToken),
            (token(json!({"exp": exp})), WrongToken),
            (token(json!({"sub": "", "exp": exp})), WrongToken),
            (token(json!({"sub": "a", "exp": NOW.seconds() - 61})), WrongToken),
            (token(json!({"sub": "a", "exp": exp, "nbf": exp})), WrongToken),
            (Credentials { user_id: Some(user("b")), ..token(json!({"sub": "a", "exp": exp})) }, AnotherUser),
            (
                Credentials { user_token: Some(sessions(KEYS).issue(&Subject::User(user("a")), NOW)), ..named("a") },
                WrongToken,
            ),
        ] {
            assert_eq!(run(&credentials, None, None), Err(error.into()), "{credentials:?}");
        }
        let none = IdentityPolicy::default();
        let hashed = Credentials { user_hash: Some(hash("a")), ..named("a") };
        assert_eq!(identify(&hashed, None, None, &none, &sessions(KEYS), NOW), Err(NoSecrets.into()));
    }

    #[test]
    fn an_unproven_user_is_only_named_or_refused() {
        let session = sessions(KEYS).issue(&Subject::User(user("a")), NOW);
        let strict = |header| identify(&named("a"), header, None, &policy(true), &sessions(KEYS), NOW);
        assert_eq!(run(&named("a"), None, None).unwrap().visitor, Visitor::Named(user("a")));
        assert_eq!(strict(None), Err(IdentityError::Unproven.into()));
        // The session that an earlier proof made is proof too, of this user alone.
        assert!(strict(Some(&session)).unwrap().visitor.is_proven());
        assert_eq!(run(&named("b"), Some(&session), None).unwrap().visitor, Visitor::Named(user("b")));
    }

    #[test]
    fn a_session_comes_back_by_header_or_cookie() {
        let subject = Subject::Visitor(Uuid::new_v4());
        let token = sessions(KEYS).issue(&subject, NOW);
        let nobody = Credentials::default();
        for (header, cookies) in [
            (Some(token.as_str()), None),
            (None, Some(format!("a=b; edge_chat={token}"))),
            (None, Some(format!("__Host-edge_chat={token}"))),
        ] {
            let identified = run(&nobody, header, cookies.as_deref());
            assert_eq!(identified, Ok(Identified::known(subject.clone(), None)));
        }
        assert_eq!(run(&nobody, Some("x"), Some(&format!("edge_chat={token}"))), Err(InvalidToken.into()));
        for cookie in ["edge_chat=", "edge_chat=x", "edge_chat"] {
            assert!(matches!(run(&nobody, None, Some(cookie)).unwrap().visitor, Visitor::New(_)));
        }
    }

    #[test]
    fn a_visitors_token_is_renewed_in_time() {
        let subject = Subject::Visitor(Uuid::new_v4());
        let later = Timestamp::from_millis((NOW.seconds() + 20 * 24 * 60 * 60) * 1000);
        let run = |subject: &Subject| {
            let token = sessions(KEYS).issue(subject, NOW);
            identify(&Credentials::default(), Some(&token), None, &policy(false), &sessions(KEYS), later).unwrap()
        };
        assert_eq!(run(&subject).issue, Some(subject));
        assert_eq!(run(&Subject::User(user("a"))).issue, None);
    }
}
