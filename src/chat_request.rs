//! The body of `POST /chat/` and `POST /chat/stream`: parsed once, valid ever after.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;
use url::Url;

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
    #[error("`user_id` must have 1 to {MAX_USER_ID_CHARS} characters and no control characters.")]
    UserId,
}

/// A name that the site gives its visitor: a session id, an e-mail-like id, a UUID.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserId(String);

impl UserId {
    /// 1 to [`MAX_USER_ID_CHARS`] characters, none of them a control character.
    pub fn parse(id: String) -> Result<Self, ChatRequestError> {
        let fits = !id.is_empty() && id.chars().count() <= MAX_USER_ID_CHARS && !id.chars().any(char::is_control);
        if fits { Ok(Self(id)) } else { Err(ChatRequestError::UserId) }
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
    /// Who the site says is speaking.
    pub user_id: Option<UserId>,
}

/// The fields as they come; unknown ones are ignored, doubled ones an error.
#[derive(Deserialize)]
struct Wire {
    content: Option<Value>,
    media_urls: Option<Value>,
    audio_urls: Option<Value>,
    user_id: Option<Value>,
}

impl ChatRequest {
    /// Parses and checks a body of at most [`MAX_BODY_BYTES`].
    pub fn parse(body: &[u8]) -> Result<Self, ChatRequestError> {
        let not_object = body.iter().find(|byte| !byte.is_ascii_whitespace()).is_some_and(|&byte| byte != b'{');
        let wire: Wire = match serde_json::from_slice(body) {
            // The derived parser would also take an array of four values.
            Ok(_) if not_object => return Err(ChatRequestError::NotAnObject),
            Ok(wire) => wire,
            Err(error) if error.is_data() && not_object => return Err(ChatRequestError::NotAnObject),
            Err(error) => return Err(ChatRequestError::Json(error.to_string())),
        };
        let request = Self {
            content: text("content", wire.content)?.unwrap_or_default(),
            media_urls: urls("media_urls", wire.media_urls)?,
            audio_urls: urls("audio_urls", wire.audio_urls)?,
            user_id: text("user_id", wire.user_id)?.map(UserId::parse).transpose()?,
        };
        if request.content.contains('\0') {
            return Err(ChatRequestError::Nul("content"));
        }
        if request.content.trim().is_empty() && request.media_urls.is_empty() && request.audio_urls.is_empty() {
            return Err(ChatRequestError::Empty);
        }
        Ok(request)
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
    url.len() <= MAX_URL_BYTES
        && !url.chars().any(char::is_control)
        && Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn parse(body: &str) -> Result<ChatRequest, ChatRequestError> {
        ChatRequest::parse(body.as_bytes())
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
        assert_eq!(request.user_id, None);
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
            (r#"{"content":"a\u0000b"}"#, Nul("content")),
        ] {
            assert_eq!(parse(body), Err(error), "{body}");
        }
        for body in ["", "{", r#"{"content":"a"} x"#, r#"{"content":"a","content":"b"}"#, r#"{"content":"\ud800"}"#] {
            assert!(matches!(parse(body), Err(Json(_))), "{body}");
        }
        assert!(matches!(ChatRequest::parse(b"{\"content\":\"\xff\"}"), Err(Json(_))));
        let many = json!({"content": "a", "media_urls": vec!["https://a.test"; MAX_URLS + 1]}).to_string();
        assert_eq!(parse(&many), Err(TooManyUrls("media_urls")));
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
            let _ = ChatRequest::parse(&body);
        }

        #[test]
        fn nearly_json_never_panics(body in r#"[\[{]?"(content|media_urls|user_id)": ?["\[{0-9a\\u]{0,40}[\]}]?"#) {
            let _ = ChatRequest::parse(body.as_bytes());
        }

        #[test]
        fn what_was_said_arrives_unchanged(content in "\\PC{0,200}[a-z]", id in "\\PC{1,128}") {
            let body = json!({"content": content, "user_id": id}).to_string();
            let request = ChatRequest::parse(body.as_bytes()).unwrap();
            prop_assert_eq!(request.content, content);
            prop_assert_eq!(request.user_id.unwrap().phone_number(), format!("chat_{id}"));
        }
    }
}
