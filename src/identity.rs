//! Who is speaking, as far as it can be proved: the session that comes with a request, and what the site says of its
//! user in the body.

use serde::Deserialize;
use thiserror::Error;
use uuid::Uuid;

use crate::{
    chat_request::UserId,
    clock::Timestamp,
    jws::{Key, Unverified},
    session::{InvalidToken, Session, Sessions, Subject},
    visitor::{Visitor, session_cookies},
};

/// How far the clocks of the site and of this service may differ, in seconds.
const CLOCK_SKEW: u64 = 60;

/// What a body says of the visitor.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Credentials {
    /// Who the site says is speaking.
    pub user_id: Option<UserId>,
    /// HMAC-SHA256 over `user_id` with the site's secret for hashes, in hexadecimal digits.
    pub user_hash: Option<String>,
    /// In their place, a JSON Web Token (`HS256`) with `sub` and `exp`, signed with the site's secret for tokens.
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
    #[error("This service has no `{1}` to check {0} with: leave it out.")]
    NoSecrets(&'static str, &'static str),
}

/// How users are told apart: `IDENTITY`, `USER_HASH_SECRETS` and `USER_TOKEN_SECRETS`.
#[derive(Clone, Default)]
pub struct IdentityPolicy {
    /// Whether a `user_id` that nothing proves is refused.
    pub is_proof_required: bool,
    /// The site's secrets for `user_hash`; each of them is good.
    pub hash_secrets: Vec<Key>,
    /// Those for `user_token`. They are others: where users choose their ids, the hash of one could be a token's signature.
    pub token_secrets: Vec<Key>,
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
        let mut proved = None;
        if let Some(token) = &credentials.user_token {
            if self.token_secrets.is_empty() {
                return Err(IdentityError::NoSecrets("`user_token`", "USER_TOKEN_SECRETS"));
            }
            let user = self.token_user(token, now).ok_or(IdentityError::WrongToken)?;
            if credentials.user_id.as_ref().is_some_and(|id| *id != user) {
                return Err(IdentityError::AnotherUser);
            }
            proved = Some(user);
        }
        if let Some(hash) = &credentials.user_hash {
            if self.hash_secrets.is_empty() {
                return Err(IdentityError::NoSecrets("`user_hash`", "USER_HASH_SECRETS"));
            }
            let user = credentials.user_id.as_ref().ok_or(IdentityError::WrongHash)?;
            let hash = hex::decode(hash).map_err(|_| IdentityError::WrongHash)?;
            if !self.hash_secrets.iter().any(|key| key.verifies(user.as_str().as_bytes(), &hash)) {
                return Err(IdentityError::WrongHash);
            }
            proved = Some(user.clone());
        }
        Ok(proved)
    }

    fn token_user(&self, token: &str, now: Timestamp) -> Option<UserId> {
        let token = Unverified::parse(token)?;
        let claims: UserClaims = self.token_secrets.iter().find_map(|key| token.verify(key))?;
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
    /// The session that came with it.
    pub session: Option<Session>,
}

impl Identified {
    /// Whether neither a session nor a proof came with it.
    pub const fn is_first_contact(&self) -> bool {
        self.session.is_none() && !matches!(self.visitor, Visitor::Known(_))
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

/// What a request's headers say of its visitor.
#[derive(Clone, Copy, Default)]
pub struct Presented<'a> {
    /// `X-Chat-Token`.
    pub header: Option<&'a str>,
    /// `Cookie`.
    pub cookies: Option<&'a str>,
    /// Whether it came by HTTPS.
    pub is_secure: bool,
}

/// What the body proves goes first, then the session of the header, then that of the cookie. A cookie that is not valid
/// is no error: a page cannot take it back.
pub fn identify(
    credentials: &Credentials,
    presented: Presented<'_>,
    policy: &IdentityPolicy,
    sessions: &Sessions,
    now: Timestamp,
) -> Result<Identified, Unidentified> {
    if let Some(user) = policy.prove(credentials, now)? {
        let subject = Subject::User(user);
        return Ok(Identified { visitor: Visitor::Known(subject.clone()), issue: Some(subject), session: None });
    }
    let session = match (presented.header, presented.cookies) {
        (Some(token), _) => Some(sessions.verify(token, now)?),
        (None, Some(cookies)) => {
            session_cookies(cookies, presented.is_secure).find_map(|token| sessions.verify(token, now).ok())
        }
        (None, None) => None,
    };
    let (visitor, issue) = match (&credentials.user_id, &session) {
        (Some(user), Some(session)) if session.subject == Subject::User(user.clone()) => {
            (Visitor::Known(session.subject.clone()), None)
        }
        (Some(_), _) if policy.is_proof_required => return Err(IdentityError::Unproven.into()),
        (Some(user), _) => (Visitor::Named(user.clone()), None),
        (None, Some(session)) => {
            // A user's session is renewed by the proof that made it.
            let issue = Some(&session.subject).filter(|s| session.is_old && matches!(s, Subject::Visitor(_))).cloned();
            (Visitor::Known(session.subject.clone()), issue)
        }
        (None, None) => {
            let id = Uuid::new_v4();
            (Visitor::New(id), Some(Subject::Visitor(id)))
        }
    };
    Ok(Identified { visitor, issue, session })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{jws, session::tests::sessions};
    use serde_json::json;

    const KEYS: &str = "a:0123456789abcdef0123456789abcdef";
    const NOW: Timestamp = Timestamp::from_millis(1_759_328_659_941);
    const SECRET: &str = "the site's secret";
    const TOKEN_SECRET: &str = "the site's secret for tokens";

    fn policy(is_proof_required: bool) -> IdentityPolicy {
        let keys = |secrets: [&str; 2]| secrets.iter().filter_map(|secret| Key::new(secret)).collect();
        let (hash_secrets, token_secrets) = (keys(["an older one", SECRET]), keys(["another one", TOKEN_SECRET]));
        IdentityPolicy { is_proof_required, hash_secrets, token_secrets }
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
        let token = jws::encode("", &Key::new(TOKEN_SECRET).unwrap(), &claims);
        Credentials { user_token: Some(token), ..Credentials::default() }
    }

    fn run(credentials: &Credentials, header: Option<&str>, cookies: Option<&str>) -> Result<Identified, Unidentified> {
        let presented = Presented { header, cookies, is_secure: true };
        identify(credentials, presented, &policy(false), &sessions(KEYS), NOW)
    }

    #[test]
    fn a_hash_or_a_token_proves_a_user() {
        let subject = Subject::User(user("jürgen@a.test"));
        let hashed = Credentials { user_hash: Some(hash("jürgen@a.test")), ..named("jürgen@a.test") };
        let proved = run(&hashed, None, None).unwrap();
        assert_eq!((proved.visitor, proved.issue), (Visitor::Known(subject.clone()), Some(subject)));
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
        let refused = identify(&hashed, Presented::default(), &none, &sessions(KEYS), NOW);
        assert_eq!(refused, Err(NoSecrets("`user_hash`", "USER_HASH_SECRETS").into()));
    }

    #[test]
    fn an_unproven_user_is_only_named_or_refused() {
        let session = sessions(KEYS).issue(&Subject::User(user("a")), NOW);
        let strict = |header| {
            let presented = Presented { header, ..Presented::default() };
            identify(&named("a"), presented, &policy(true), &sessions(KEYS), NOW)
        };
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
            (None, Some(format!("a=b; __Host-edge_chat={token}"))),
            (None, Some(format!("__Host-edge_chat=stale; __Host-edge_chat={token}"))),
        ] {
            let identified = run(&nobody, header, cookies.as_deref()).unwrap();
            assert_eq!((identified.visitor, identified.issue), (Visitor::Known(subject.clone()), None));
        }
        // By HTTPS, anybody on a neighbouring host could have set this one.
        let cookies = format!("edge_chat={token}");
        assert!(matches!(run(&nobody, None, Some(&cookies)).unwrap().visitor, Visitor::New(_)));
        let by_http = Presented { cookies: Some(&cookies), ..Presented::default() };
        let identified = identify(&nobody, by_http, &policy(false), &sessions(KEYS), NOW).unwrap();
        assert_eq!(identified.visitor, Visitor::Known(subject.clone()));
        assert_eq!(run(&nobody, Some("x"), Some(&format!("__Host-edge_chat={token}"))), Err(InvalidToken.into()));
        for cookie in ["__Host-edge_chat=", "__Host-edge_chat=x", "__Host-edge_chat"] {
            assert!(matches!(run(&nobody, None, Some(cookie)).unwrap().visitor, Visitor::New(_)));
        }
    }

    #[test]
    fn a_visitors_token_is_renewed_in_time() {
        let subject = Subject::Visitor(Uuid::new_v4());
        let later = Timestamp::from_millis((NOW.seconds() + 20 * 24 * 60 * 60) * 1000);
        let run = |subject: &Subject| {
            let token = sessions(KEYS).issue(subject, NOW);
            let presented = Presented { header: Some(&token), ..Presented::default() };
            identify(&Credentials::default(), presented, &policy(false), &sessions(KEYS), later).unwrap()
        };
        assert_eq!(run(&subject).issue, Some(subject));
        assert_eq!(run(&Subject::User(user("a"))).issue, None);
    }
}
