//! Who is speaking: the user the site names, or a visitor with a session of their own.

use uuid::Uuid;

use crate::chat_request::UserId;

/// Carries the session id to pages on other origins (response) and back (request).
pub const SESSION_HEADER: &str = "X-Chat-Token";

/// Carries the ticket that opens a reply once, for a page that can send neither header nor cookie.
pub const TICKET_HEADER: &str = "X-Chat-Ticket";

/// Whose turn this is.
#[derive(Clone, Debug, PartialEq)]
pub enum Visitor {
    /// The request named this user, and nothing proves it: they can add to the conversation but are shown nothing of it.
    Named(UserId),
    /// Somebody who presented their session id.
    Returning(Uuid),
    /// Somebody without one; this is the id they get.
    New(Uuid),
}

impl Visitor {
    /// The body's `user_id` goes first, then the session of the header, then that of the cookie.
    pub fn identify(user_id: Option<UserId>, header: Option<&str>, cookies: Option<&str>) -> Self {
        if let Some(user_id) = user_id {
            return Self::Named(user_id);
        }
        let from_cookie = || {
            let mut pairs = cookies?.split(';').filter_map(|pair| pair.trim().split_once('='));
            pairs.find_map(|(name, value)| COOKIE_NAMES.contains(&name).then(|| session(value)).flatten())
        };
        match header.and_then(session).or_else(from_cookie) {
            Some(id) => Self::Returning(id),
            None => Self::New(Uuid::new_v4()),
        }
    }

    /// What `users.phone_number` holds for this visitor: the guide's `chat_{user_id}`, where a visitor without one is
    /// `visitor_` and their session id.
    pub fn phone_number(&self) -> String {
        match self {
            Self::Named(user_id) => user_id.phone_number(),
            // The prefix keeps visitors apart from users whose site names them by UUIDs.
            Self::Returning(id) | Self::New(id) => format!("chat_visitor_{id}"),
        }
    }

    /// Whether earlier messages may be used for this visitor's reply. Anybody can name a user; only a session's owner
    /// knows its id.
    pub const fn may_read_history(&self) -> bool {
        matches!(self, Self::Returning(_))
    }

    /// Whether this visitor has a session, and so can come back for what was said.
    pub const fn has_session(&self) -> bool {
        !matches!(self, Self::Named(_))
    }

    /// The `X-Chat-Token` header of the response, for visitors who have a session.
    pub fn session_header(&self) -> Option<String> {
        match self {
            Self::Named(_) => None,
            Self::Returning(id) | Self::New(id) => Some(id.to_string()),
        }
    }

    /// The `Set-Cookie` header of the response, for a new visitor. `secure` tells whether the request came by HTTPS.
    pub fn set_cookie(&self, secure: bool) -> Option<String> {
        let Self::New(id) = self else { return None };
        // A page on another site sends only `SameSite=None` cookies, which must be `Secure`; plain http is for localhost.
        let (name, flags) = match (secure, COOKIE_NAMES) {
            (true, [name, _]) => (name, "Secure; SameSite=None; Partitioned"),
            (false, [_, name]) => (name, "SameSite=Lax"),
        };
        Some(format!("{name}={id}; Path=/; Max-Age={COOKIE_SECONDS}; HttpOnly; {flags}"))
    }
}

/// By HTTPS and by plain http. The `__Host-` prefix makes a browser refuse the cookie from anywhere but this very host.
const COOKIE_NAMES: [&str; 2] = ["__Host-edge_chat", "edge_chat"];

/// How long a browser remembers its visitor: a year.
const COOKIE_SECONDS: u32 = 365 * 24 * 60 * 60;

/// Only ids that this service can have made: random UUIDs.
fn session(text: &str) -> Option<Uuid> {
    Uuid::try_parse(text).ok().filter(|id| id.get_version_num() == 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "7d8f0f5e-3f0c-4b6e-9c39-0b9f0c2f4c11";

    #[test]
    fn the_sites_user_goes_first() {
        let user = UserId::parse("user_123".to_owned()).unwrap();
        let visitor = Visitor::identify(Some(user), Some(ID), None);
        assert_eq!(visitor.phone_number(), "chat_user_123");
        assert!(!visitor.may_read_history());
        assert_eq!((visitor.session_header(), visitor.set_cookie(true)), (None, None));
    }

    #[test]
    fn a_session_comes_back_by_header_or_cookie() {
        for (header, cookies) in [
            (Some(ID), None),
            (None, Some(format!("a=b; edge_chat={ID}"))),
            (None, Some(format!("__Host-edge_chat={ID}"))),
            (Some("nonsense"), Some(format!("edge_chat=; edge_chat={ID}"))),
        ] {
            let visitor = Visitor::identify(None, header, cookies.as_deref());
            assert_eq!(visitor.phone_number(), format!("chat_visitor_{ID}"));
            assert!(visitor.may_read_history());
            assert_eq!(visitor.set_cookie(true), None);
        }
    }

    #[test]
    fn a_new_visitor_gets_a_cookie_that_scripts_cannot_read() {
        let visitor = Visitor::identify(None, Some("' OR 1=1"), Some("edge_chat=x"));
        let id = visitor.session_header().unwrap();
        assert!(!visitor.may_read_history());
        assert_eq!(
            visitor.set_cookie(true).unwrap(),
            format!("__Host-edge_chat={id}; Path=/; Max-Age=31536000; HttpOnly; Secure; SameSite=None; Partitioned")
        );
        assert_eq!(
            visitor.set_cookie(false).unwrap(),
            format!("edge_chat={id}; Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax")
        );
    }

    #[test]
    fn an_id_that_was_not_made_here_is_no_session() {
        let visitor = Visitor::identify(None, Some("00000000-0000-0000-0000-000000000000"), None);
        assert!(matches!(visitor, Visitor::New(_)));
    }
}
