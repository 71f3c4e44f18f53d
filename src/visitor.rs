//! Whose turn it is, and how they carry their session.

use uuid::Uuid;

use crate::{chat_request::UserId, session::Subject};

/// Carries the session token to pages (response) and back (request).
pub const SESSION_HEADER: &str = "X-Chat-Token";

/// Carries the ticket that opens a reply once, for a page that can send neither header nor cookie.
pub const TICKET_HEADER: &str = "X-Chat-Ticket";

/// Whose turn this is.
#[derive(Clone, Debug, PartialEq)]
pub enum Visitor {
    /// The request named this user, and nothing proves it: they can add to the conversation but are shown nothing of it.
    Named(UserId),
    /// Somebody who has proved who they are.
    Known(Subject),
    /// Somebody without a session; this is the id they get.
    New(Uuid),
}

impl Visitor {
    /// What `users.phone_number` holds for this visitor.
    pub fn phone_number(&self) -> String {
        match self {
            Self::Named(user_id) => user_id.phone_number(),
            Self::Known(subject) => subject.phone_number(),
            Self::New(id) => Subject::Visitor(*id).phone_number(),
        }
    }

    /// Whether what this visitor writes is certainly theirs, and what is stored of it may be shown to them.
    pub const fn is_proven(&self) -> bool {
        !matches!(self, Self::Named(_))
    }

    /// Whose conversation this visitor may read.
    pub const fn reader(&self) -> Option<&Subject> {
        match self {
            Self::Known(subject) => Some(subject),
            Self::Named(_) | Self::New(_) => None,
        }
    }
}

/// By HTTPS and by plain http. The `__Host-` prefix makes a browser refuse the cookie from anywhere but this very host.
const COOKIE_NAMES: [&str; 2] = ["__Host-edge_chat", "edge_chat"];

/// What may be session tokens in a `Cookie` header. Another page of the site can set cookies with the unprefixed name, so
/// that one counts by plain http only; and it can set several, so that each is to be tried.
pub fn session_cookies(cookies: &str, is_secure: bool) -> impl Iterator<Item = &str> {
    let name = if is_secure { COOKIE_NAMES[0] } else { COOKIE_NAMES[1] };
    let pairs = cookies.split(';').filter_map(|pair| pair.trim().split_once('='));
    pairs.filter(move |(found, _)| *found == name).map(|(_, value)| value)
}

/// The `Set-Cookie` header that makes a browser keep a session token for so many seconds; with 0, forget it.
pub fn set_cookie(token: &str, seconds: u64, is_secure: bool) -> String {
    // A page on another site sends only `SameSite=None` cookies, which must be `Secure`; plain http is for localhost.
    let (name, flags) = match (is_secure, COOKIE_NAMES) {
        (true, [name, _]) => (name, "Secure; SameSite=None; Partitioned"),
        (false, [_, name]) => (name, "SameSite=Lax"),
    };
    format!("{name}={token}; Path=/; Max-Age={seconds}; HttpOnly; {flags}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_that_scripts_cannot_read() {
        assert_eq!(
            set_cookie("t", 60, true),
            "__Host-edge_chat=t; Path=/; Max-Age=60; HttpOnly; Secure; SameSite=None; Partitioned"
        );
        assert_eq!(set_cookie("t", 60, false), "edge_chat=t; Path=/; Max-Age=60; HttpOnly; SameSite=Lax");
    }

    #[test]
    fn who_is_stored_as_what() {
        let id = Uuid::nil();
        let user = UserId::parse("user_123".to_owned()).unwrap();
        let visitor = "chat_visitor_00000000-0000-0000-0000-000000000000";
        assert_eq!(Visitor::New(id).phone_number(), visitor);
        assert_eq!(Visitor::Known(Subject::Visitor(id)).phone_number(), visitor);
        assert_eq!(Visitor::Known(Subject::User(user.clone())).phone_number(), "chat_user_123");
        assert_eq!(Visitor::Named(user.clone()).phone_number(), "chat_user_123");
        assert!(!Visitor::Named(user).is_proven());
    }
}
