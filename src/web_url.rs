//! URLs as browsers read them. In the Worker the runtime's own `URL` parses them: the tables for international domain
//! names alone would be a quarter of its compressed size. The tests on other machines have the `url` crate, which follows
//! the same standard. <https://url.spec.whatwg.org/>

use std::net::Ipv4Addr;

/// A URL, taken apart and normalised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebUrl {
    /// All of it.
    pub href: String,
    /// `https`, without the colon.
    pub scheme: String,
    /// A name in ASCII, an IPv4 address with its four numbers, or an IPv6 address in brackets.
    pub host: String,
    /// Scheme, host and port, as in the header `Origin`.
    pub origin: String,
    /// Path, query and fragment.
    pub rest: String,
    /// Whether there is a user name or a password in it.
    pub has_credentials: bool,
}

impl WebUrl {
    /// Parses an http or https URL; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        imp::parse(text).filter(|url| matches!(url.scheme.as_str(), "http" | "https") && !url.host.is_empty())
    }

    /// Whether the host is an address and not a name.
    pub fn is_host_address(&self) -> bool {
        self.host.starts_with('[') || self.host.parse::<Ipv4Addr>().is_ok()
    }
}

/// The origin of a URL that is normalised already, such as a request's.
pub fn origin(href: &str) -> &str {
    split(href).0
}

/// Its path.
pub fn path(href: &str) -> &str {
    let rest = split(href).1;
    rest.split(['?', '#']).next().unwrap_or_default()
}

/// Its query, without the question mark.
pub fn query(href: &str) -> &str {
    let rest = split(href).1.split('#').next().unwrap_or_default();
    rest.split_once('?').map_or("", |(_, query)| query)
}

fn split(href: &str) -> (&str, &str) {
    let host = href.find("://").map_or(0, |at| at + 3);
    let length = href.get(host..).and_then(|rest| rest.find(['/', '?', '#'])).unwrap_or(href.len() - host);
    href.split_at_checked(host + length).unwrap_or((href, ""))
}

#[cfg(target_arch = "wasm32")]
mod imp {
    use wasm_bindgen::prelude::wasm_bindgen;

    use super::WebUrl;

    #[wasm_bindgen]
    extern "C" {
        type URL;

        #[wasm_bindgen(static_method_of = URL)]
        fn parse(text: &str) -> Option<URL>;
        #[wasm_bindgen(method, getter)]
        fn href(this: &URL) -> String;
        #[wasm_bindgen(method, getter)]
        fn protocol(this: &URL) -> String;
        #[wasm_bindgen(method, getter)]
        fn hostname(this: &URL) -> String;
        #[wasm_bindgen(method, getter)]
        fn origin(this: &URL) -> String;
        #[wasm_bindgen(method, getter)]
        fn username(this: &URL) -> String;
        #[wasm_bindgen(method, getter)]
        fn password(this: &URL) -> String;
    }

    pub fn parse(text: &str) -> Option<WebUrl> {
        let url = URL::parse(text)?;
        let href = url.href();
        Some(WebUrl {
            scheme: url.protocol().trim_end_matches(':').to_owned(),
            host: url.hostname(),
            origin: url.origin(),
            rest: super::split(&href).1.to_owned(),
            has_credentials: !(url.username().is_empty() && url.password().is_empty()),
            href,
        })
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod imp {
    use super::WebUrl;

    pub fn parse(text: &str) -> Option<WebUrl> {
        let url = url::Url::parse(text).ok()?;
        Some(WebUrl {
            scheme: url.scheme().to_owned(),
            host: url.host_str().unwrap_or_default().to_owned(),
            origin: url.origin().ascii_serialization(),
            rest: super::split(url.as_str()).1.to_owned(),
            has_credentials: !(url.username().is_empty() && url.password().is_none_or(str::is_empty)),
            href: url.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_taken_apart() {
        let url = WebUrl::parse("HTTPS://u:p@BÜCHER.example:8443/ü?a=b#c").unwrap();
        assert_eq!((url.scheme.as_str(), url.host.as_str()), ("https", "xn--bcher-kva.example"));
        assert_eq!((url.origin.as_str(), url.rest.as_str()), ("https://xn--bcher-kva.example:8443", "/%C3%BC?a=b#c"));
        assert!(url.has_credentials && !url.is_host_address());
        for address in
            ["http://127.1/", "http://0x7f.1", "http://2130706433", "http://[::1]:80/", "http://１２７.0.0.1"]
        {
            assert!(WebUrl::parse(address).unwrap().is_host_address(), "{address}");
        }
        for text in
            ["", "a", "/a", "ftp://a.test", "data:,a", "javascript:1", "https://", "https://a b/", "http://1.2.3.4.5/"]
        {
            assert_eq!(WebUrl::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_parts_of_a_requests_url() {
        for (href, parts) in [
            ("https://a.test/chat/?x=1&y#z", ("https://a.test", "/chat/", "x=1&y")),
            ("http://127.0.0.1:8787/", ("http://127.0.0.1:8787", "/", "")),
            ("http://a.test/?u=https://b.test/", ("http://a.test", "/", "u=https://b.test/")),
            ("https://a.test", ("https://a.test", "", "")),
            ("", ("", "", "")),
        ] {
            assert_eq!((origin(href), path(href), query(href)), parts, "{href}");
        }
    }
}
