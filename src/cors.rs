//! Which sites may call the service from a browser, and the headers that tell the browser so.
//! <https://fetch.spec.whatwg.org/#http-cors-protocol>

use crate::web_url::{self, WebUrl};

/// Request headers that pages on other origins may send.
pub const ALLOWED_HEADERS: &str = "Content-Type, Idempotency-Key, Last-Event-ID, X-Chat-Token";
/// Response headers that pages on other origins may read.
pub const EXPOSED_HEADERS: &str = "X-Chat-Token, X-Chat-Ticket, X-Request-Id, Retry-After";
/// How long a browser may remember a preflight, in seconds: Chromium's upper bound.
pub const PREFLIGHT_MAX_AGE: &str = "7200";

/// `ALLOWED_ORIGINS`: any origin, or a list of exact ones and of wildcards for subdomains.
#[derive(Clone, Debug, PartialEq)]
pub enum AllowedOrigins {
    /// `*`: every site, without credentials.
    Any,
    /// The listed sites, with credentials.
    Listed(Vec<OriginPattern>),
}

/// `https://www.example.com`, or `https://*.example.com` for every name below `example.com` (not itself).
#[derive(Clone, Debug, PartialEq)]
pub enum OriginPattern {
    /// This origin alone.
    Exact(String),
    /// Every host that ends with `suffix` (dot included), under the same scheme and port.
    Subdomains {
        /// Scheme with `://`.
        scheme: String,
        /// `.example.com`, or `.example.com:8443`.
        suffix: String,
    },
}

/// What the service answers to the `Origin` of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Grant {
    /// No `Origin`, or the service's own: CORS does not apply.
    NotNeeded,
    /// `Access-Control-Allow-Origin: *`.
    Anyone,
    /// This origin, with credentials.
    Origin(String),
    /// Not on the list.
    Refused,
}

impl AllowedOrigins {
    /// Parses `*` or a comma-separated list. The error is the end of a sentence that starts with the variable's name.
    pub fn parse(list: &str) -> Result<Self, String> {
        if list.trim() == "*" {
            return Ok(Self::Any);
        }
        list.split(',').map(|entry| OriginPattern::parse(entry.trim())).collect::<Result<_, _>>().map(Self::Listed)
    }

    /// Decides about a request to `own` (its URL) that carries `origin`.
    pub fn grant(&self, origin: Option<&str>, own: &str) -> Grant {
        let Some(origin) = origin else { return Grant::NotNeeded };
        if web_url::origin(own) == origin {
            return Grant::NotNeeded;
        }
        match self {
            Self::Any => Grant::Anyone,
            Self::Listed(patterns) if patterns.iter().any(|pattern| pattern.matches(origin)) => {
                Grant::Origin(origin.to_owned())
            }
            Self::Listed(_) => Grant::Refused,
        }
    }
}

impl OriginPattern {
    fn parse(entry: &str) -> Result<Self, String> {
        let wrong = || {
            "must be * or a comma-separated list of origins such as https://www.example.com or https://*.example.com"
                .to_owned()
        };
        let probe = entry.replacen("://*.", "://any.", 1);
        let url = WebUrl::parse(&probe).ok_or_else(wrong)?;
        if probe.contains('*') || url.rest != "/" || url.has_credentials {
            return Err(wrong());
        }
        if probe == entry {
            return Ok(Self::Exact(url.origin));
        }
        let (scheme, host) = url.origin.split_once("://any").ok_or_else(wrong)?;
        Ok(Self::Subdomains { scheme: format!("{scheme}://"), suffix: host.to_owned() })
    }

    fn matches(&self, origin: &str) -> bool {
        match self {
            Self::Exact(exact) => exact == origin,
            Self::Subdomains { scheme, suffix } => origin
                .strip_prefix(scheme.as_str())
                .and_then(|host| host.strip_suffix(suffix.as_str()))
                .is_some_and(|name| !name.is_empty() && !name.contains(['/', '@', ':'])),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "https://chat.example.com/chat/";

    #[test]
    fn any_origin_gets_a_star_and_no_credentials() {
        let origins = AllowedOrigins::parse("*").unwrap();
        assert_eq!(origins.grant(Some("https://a.test"), OWN), Grant::Anyone);
        assert_eq!(origins.grant(Some("null"), OWN), Grant::Anyone);
    }

    #[test]
    fn the_services_own_pages_and_other_programs_need_no_grant() {
        let origins = AllowedOrigins::parse("https://www.example.com").unwrap();
        assert_eq!(origins.grant(None, OWN), Grant::NotNeeded);
        assert_eq!(origins.grant(Some("https://chat.example.com"), OWN), Grant::NotNeeded);
        assert_eq!(origins.grant(Some("http://chat.example.com"), OWN), Grant::Refused);
    }

    #[test]
    fn listed_origins_match_exactly() {
        let origins = AllowedOrigins::parse("https://www.example.com/, http://localhost:3000").unwrap();
        for origin in ["https://www.example.com", "http://localhost:3000"] {
            assert_eq!(origins.grant(Some(origin), OWN), Grant::Origin(origin.to_owned()));
        }
        for origin in ["https://www.example.com.evil.test", "https://example.com", "http://localhost:3001", "null", ""]
        {
            assert_eq!(origins.grant(Some(origin), OWN), Grant::Refused, "{origin}");
        }
    }

    #[test]
    fn a_wildcard_stands_for_subdomains_only() {
        let origins = AllowedOrigins::parse("https://*.example.com").unwrap();
        for origin in ["https://www.example.com", "https://a.b.example.com"] {
            assert_eq!(origins.grant(Some(origin), OWN), Grant::Origin(origin.to_owned()), "{origin}");
        }
        for origin in [
            "https://example.com",
            "https://evilexample.com",
            "http://www.example.com",
            "https://www.example.com:8443",
            "https://user@www.example.com",
            "https://evil.test/.example.com",
            "https://.example.com",
        ] {
            assert_eq!(origins.grant(Some(origin), OWN), Grant::Refused, "{origin}");
        }
    }

    #[test]
    fn entries_that_are_no_origins_are_refused() {
        for entry in ["example.com", "https://example.com/chat", "https://a*.example.com", "", "https://u@example.com"]
        {
            assert!(AllowedOrigins::parse(entry).is_err(), "{entry}");
        }
    }
}
