//! The body of `POST /chat/` and `POST /chat/stream`: parsed once, valid ever after.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;
use uuid::Uuid;

use crate::{identity::Credentials, web_url::WebUrl};

/// Largest request body, in bytes.
pub const MAX_BODY_BYTES: usize = 64 * 1024;
/// Most URLs in each of `media_urls` and `audio_urls`.
pub const MAX_URLS: usize = 20;
/// Longest URL, in bytes.
pub const MAX_URL_BYTES: usize = 2048;
/// Longest `user_id`, in characters.
pub const MAX_USER_ID_CHARS: usize = 128;

/// Why a body was refused; each message says what to change.
#[derive(Debug, Error, PartialEq)]
pub enum ChatRequestError {
    /// Not JSON at all. The parser's message has a position and no text of the body.
    #[error("The body is not valid JSON: {0}.")]
    Json(String),
    /// JSON, but not an object.
    #[error("The body must be a JSON object such as {{\"content\": \"Hello\"}}.")]
    NotAnObject,
    /// A field of another type.
    #[error("`{0}` must be {1}.")]
    Type(&'static str, &'static str),
    /// Nothing was said.
    #[error("`content` is missing or empty: send some text, or at least one URL in `media_urls` or `audio_urls`.")]
    Empty,
    /// PostgreSQL's text cannot hold it.
    #[error("`{0}` must not contain the character U+0000.")]
    Nul(&'static str),
    /// Not something a browser would load.
    #[error("`{field}[{index}]` must be an http or https URL of at most {MAX_URL_BYTES} bytes.")]
    Url {
        /// `media_urls` or `audio_urls`.
        field: &'static str,
        /// Position in the array, from 0.
        index: usize,
    },
    /// A list that is too long.
    #[error("`{0}` must have at most {MAX_URLS} URLs.")]
    TooManyUrls(&'static str),
    /// An id that cannot name a visitor.
    #[error(
        "`user_id` must have 1 to {MAX_USER_ID_CHARS} characters, no control characters, and not be `visitor_` and a UUID."
    )]
    UserId,
    /// A hash, and nothing that it is of.
    #[error("`user_hash` proves a `user_id`: send that as well.")]
    HashAlone,
    /// More text than `MAX_MESSAGE_CHARS`.
    #[error("`content` must have at most {0} characters: send a shorter message.")]
    TooLong(usize),
}

/// A name that the site gives its visitor: a session id, an e-mail-like id, a UUID.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserId(String);

impl UserId {
    /// 1 to [`MAX_USER_ID_CHARS`] characters, none of them a control character, and no id of a session's visitor.
    pub fn parse(id: String) -> Result<Self, ChatRequestError> {
        let fits = !id.is_empty() && id.chars().count() <= MAX_USER_ID_CHARS && !id.chars().any(char::is_control);
        let is_visitor = id.strip_prefix("visitor_").is_some_and(|id| Uuid::try_parse(id).is_ok());
        if fits && !is_visitor { Ok(Self(id)) } else { Err(ChatRequestError::UserId) }
    }

    /// As the site gave it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The guide's key for chat users: what `users.phone_number` holds.
    pub fn phone_number(&self) -> String {
        format!("chat_{}", self.0)
    }
}

/// One message of a visitor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChatRequest {
    /// What they wrote; empty only when there is a URL.
    pub content: String,
    /// Images and other media, as given.
    pub media_urls: Vec<String>,
    /// Voice messages, as given.
    pub audio_urls: Vec<String>,
}

/// The fields as they come; unknown ones are ignored, doubled ones an error.
#[derive(Deserialize)]
struct Wire {
    content: Option<Value>,
    media_urls: Option<Value>,
    audio_urls: Option<Value>,
    user_id: Option<Value>,
    user_hash: Option<Value>,
    user_token: Option<Value>,
    turnstile_token: Option<Value>,
}

impl Wire {
    /// Takes a body of at most [`MAX_BODY_BYTES`].
    fn parse(body: &[u8]) -> Result<Self, ChatRequestError> {
        let not_object = body.iter().find(|byte| !byte.is_ascii_whitespace()).is_some_and(|&byte| byte != b'{');
        match serde_json::from_slice(body) {
            // The derived parser would also take an array with a value for each field.
            Ok(_) if not_object => Err(ChatRequestError::NotAnObject),
            Ok(wire) => Ok(wire),
            Err(error) if error.is_data() && not_object => Err(ChatRequestError::NotAnObject),
            Err(error) => Err(ChatRequestError::Json(error.to_string())),
        }
    }

    fn credentials(&mut self) -> Result<Credentials, ChatRequestError> {
        let credentials = Credentials {
            user_id: text("user_id", self.user_id.take())?.map(UserId::parse).transpose()?,
            user_hash: text("user_hash", self.user_hash.take())?,
            user_token: text("user_token", self.user_token.take())?,
            turnstile_token: text("turnstile_token", self.turnstile_token.take())?,
        };
        let is_hash_alone = credentials.user_hash.is_some() && credentials.user_id.is_none();
        if is_hash_alone { Err(ChatRequestError::HashAlone) } else { Ok(credentials) }
    }
}

/// The body of a request that only says who is there.
pub fn parse_credentials(body: &[u8]) -> Result<Credentials, ChatRequestError> {
    Wire::parse(body)?.credentials()
}

impl ChatRequest {
    /// Parses and checks a body of at most [`MAX_BODY_BYTES`], of which the text may have so many characters.
    pub fn parse(body: &[u8], max_chars: usize) -> Result<(Self, Credentials), ChatRequestError> {
        let mut wire = Wire::parse(body)?;
        let credentials = wire.credentials()?;
        let request = Self {
            content: text("content", wire.content)?.unwrap_or_default(),
            media_urls: urls("media_urls", wire.media_urls)?,
            audio_urls: urls("audio_urls", wire.audio_urls)?,
        };
        if request.content.contains('\0') {
            return Err(ChatRequestError::Nul("content"));
        }
        if request.content.chars().count() > max_chars {
            return Err(ChatRequestError::TooLong(max_chars));
        }
        if request.content.trim().is_empty() && request.media_urls.is_empty() && request.audio_urls.is_empty() {
            return Err(ChatRequestError::Empty);
        }
        Ok((request, credentials))
    }
}

fn text(field: &'static str, value: Option<Value>) -> Result<Option<String>, ChatRequestError> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(ChatRequestError::Type(field, "a string")),
    }
}

fn urls(field: &'static str, value: Option<Value>) -> Result<Vec<String>, ChatRequestError> {
    let list = match value {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(list)) => list,
        Some(_) => return Err(ChatRequestError::Type(field, "an array of URLs")),
    };
    if list.len() > MAX_URLS {
        return Err(ChatRequestError::TooManyUrls(field));
    }
    list.into_iter()
        .enumerate()
        .map(|(index, value)| match value {
            Value::String(url) if is_web_url(&url) => Ok(url),
            _ => Err(ChatRequestError::Url { field, index }),
        })
        .collect()
}

fn is_web_url(url: &str) -> bool {
    url.len() <= MAX_URL_BYTES && !url.chars().any(char::is_control) && WebUrl::parse(url).is_some()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const MAX_CHARS: usize = 100;

    fn parse(body: &str) -> Result<ChatRequest, ChatRequestError> {
        ChatRequest::parse(body.as_bytes(), MAX_CHARS).map(|(request, _)| request)
    }

    #[test]
    fn the_guides_request() {
        let request = parse(
            r#"{
              "content": "Hello, I want to schedule an appointment",
              "media_urls": ["https://example.com/image.jpg"],
              "audio_urls": ["https://example.com/audio.mp3"]
            }"#,
        )
        .unwrap();
        assert_eq!(request.content, "Hello, I want to schedule an appointment");
        assert_eq!(request.media_urls, ["https://example.com/image.jpg"]);
        assert_eq!(request.audio_urls, ["https://example.com/audio.mp3"]);
    }

    #[test]
    fn missing_null_and_unknown_fields_are_fine() {
        let request = parse(r#"{"content":"a","media_urls":null,"user_id":null,"extra":{"b":[1]}}"#).unwrap();
        assert_eq!(request.media_urls, Vec::<String>::new());
        assert!(parse(r#"{"audio_urls":["http://a.test/b.mp3"]}"#).is_ok());
        assert!(parse(r#"{"media_urls":["https://bücher.example/ü.jpg", "https://مثال.إختبار/"]}"#).is_ok());
    }

    #[test]
    fn each_mistake_has_its_own_answer() {
        use ChatRequestError::*;
        for (body, error) in [
            ("[]", NotAnObject),
            ("7", NotAnObject),
            (r#"["a", null, null, null]"#, NotAnObject),
            ("{}", Empty),
            (r#"{"content":" \n"}"#, Empty),
            (r#"{"content":5}"#, Type("content", "a string")),
            (r#"{"content":"a","media_urls":"https://a.test"}"#, Type("media_urls", "an array of URLs")),
            (r#"{"content":"a","media_urls":["ftp://a.test"]}"#, Url { field: "media_urls", index: 0 }),
            (r#"{"content":"a","audio_urls":["https://a.test",3]}"#, Url { field: "audio_urls", index: 1 }),
            (r#"{"content":"a","user_id":7}"#, Type("user_id", "a string")),
            (r#"{"content":"a","user_id":""}"#, UserId),
            (r#"{"content":"a","user_id":"a\nb"}"#, UserId),
            (r#"{"content":"a","user_id":"visitor_7d8f0f5e-3f0c-4b6e-9c39-0b9f0c2f4c11"}"#, UserId),
            (r#"{"content":"a","user_id":"visitor_7D8F0F5E3F0C4B6E9C390B9F0C2F4C11"}"#, UserId),
            (r#"{"content":"a","user_hash":"00"}"#, HashAlone),
            (r#"{"content":"a","user_id":"a","user_hash":7}"#, Type("user_hash", "a string")),
            (r#"{"content":"a\u0000b"}"#, Nul("content")),
        ] {
            assert_eq!(parse(body), Err(error), "{body}");
        }
        for body in ["", "{", r#"{"content":"a"} x"#, r#"{"content":"a","content":"b"}"#, r#"{"content":"\ud800"}"#] {
            assert!(matches!(parse(body), Err(Json(_))), "{body}");
        }
        assert!(matches!(ChatRequest::parse(b"{\"content\":\"\xff\"}", MAX_CHARS), Err(Json(_))));
        let many = json!({"content": "a", "media_urls": vec!["https://a.test"; MAX_URLS + 1]}).to_string();
        assert_eq!(parse(&many), Err(TooManyUrls("media_urls")));
        let text = |chars| json!({"content": "ü".repeat(chars)}).to_string();
        assert!(parse(&text(MAX_CHARS)).is_ok());
        assert_eq!(parse(&text(MAX_CHARS + 1)), Err(TooLong(MAX_CHARS)));
    }

    #[test]
    fn a_user_id_may_be_long_but_not_too_long() {
        let id = "ü".repeat(MAX_USER_ID_CHARS);
        assert_eq!(UserId::parse(id.clone()).unwrap().phone_number(), format!("chat_{id}"));
        assert_eq!(UserId::parse(id + "x"), Err(ChatRequestError::UserId));
    }

    proptest! {
        #[test]
        fn no_body_panics(body in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = ChatRequest::parse(&body, MAX_CHARS);
        }

        #[test]
        fn nearly_json_never_panics(body in r#"[\[{]?"(content|media_urls|user_id|user_token)": ?["\[{0-9a\\u]{0,40}[\]}]?"#) {
            let _ = parse(&body);
        }

        #[test]
        fn what_was_said_arrives_unchanged(content in "\\PC{0,200}[a-z]", id in "\\PC{1,128}") {
            let body = json!({"content": content, "user_id": id}).to_string();
            let (request, credentials) = ChatRequest::parse(body.as_bytes(), 1000).unwrap();
            prop_assert_eq!(request.content, content);
            prop_assert_eq!(credentials.user_id.unwrap().phone_number(), format!("chat_{id}"));
        }
    }
}
