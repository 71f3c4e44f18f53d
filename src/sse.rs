//! The events that a visitor's page receives: the guide's three fields on one `data:` line.
//! <https://html.spec.whatwg.org/multipage/server-sent-events.html>

use serde::Serialize;
use uuid::Uuid;

use crate::clock::Timestamp;

/// A comment: keeps the connection open and reaches no event handler.
pub const COMMENT: &[u8] = b":\n\n";

/// A fault that a client is told about, in a stream's last event or in a problem document.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Fault {
    /// Short name for programs.
    pub code: &'static str,
    /// A sentence for people.
    pub message: String,
    /// Whether the same request may succeed later.
    pub retryable: bool,
}

#[derive(Serialize)]
struct Event<'a> {
    content: &'a str,
    timestamp: Timestamp,
    is_final: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a Fault>,
}

/// Writes the events of one reply. An event's `id` is the id of the message it answers, and the length of the reply up
/// to and with the event in bytes of UTF-8, or `end`: a client that comes back with it says what it has already seen.
#[derive(Debug)]
pub struct EventEncoder {
    turn: Uuid,
    sent: usize,
    buffer: Vec<u8>,
}

impl EventEncoder {
    /// An encoder for the reply to this incoming message.
    pub fn new(turn: Uuid) -> Self {
        Self { turn, sent: 0, buffer: Vec::with_capacity(512) }
    }

    /// An encoder that goes on behind the first `sent` bytes of the reply.
    pub fn resume(turn: Uuid, sent: usize) -> Self {
        Self { sent, ..Self::new(turn) }
    }

    /// How much of the reply was sent, in bytes.
    pub const fn sent(&self) -> usize {
        self.sent
    }

    /// An event with the next piece of the reply.
    pub fn text(&mut self, content: &str, timestamp: Timestamp) -> &[u8] {
        self.sent += content.len();
        let sent = self.sent.to_string();
        self.encode(&sent, &Event { content, timestamp, is_final: false, error: None })
    }

    /// The last event, with what went wrong if anything did.
    pub fn last(&mut self, timestamp: Timestamp, error: Option<&Fault>) -> &[u8] {
        self.encode("end", &Event { content: "", timestamp, is_final: true, error })
    }

    fn encode(&mut self, id: &str, event: &Event<'_>) -> &[u8] {
        use std::io::Write;
        self.buffer.clear();
        // Writing to a `Vec` cannot fail, and neither can serialising strings and booleans.
        let _ = write!(self.buffer, "id: {}.{id}\ndata: ", self.turn);
        let _ = serde_json::to_writer(&mut self.buffer, event);
        self.buffer.extend_from_slice(b"\n\n");
        &self.buffer
    }
}

/// The only event of a stream that is refused: it ends with it, and a browser that comes back by itself waits so many
/// seconds. It has no id, so that what was seen before is not forgotten.
pub fn refusal(fault: &Fault, timestamp: Timestamp, seconds: u32) -> Vec<u8> {
    let mut bytes = format!("retry: {}\ndata: ", seconds.saturating_mul(1000)).into_bytes();
    let _ = serde_json::to_writer(&mut bytes, &Event { content: "", timestamp, is_final: true, error: Some(fault) });
    bytes.extend_from_slice(b"\n\n");
    bytes
}

/// What a client has seen, as its `Last-Event-ID` says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seen {
    /// The reply it saw.
    pub turn: Uuid,
    /// How much of it, in bytes; `None` for all of it with its end.
    pub bytes: Option<usize>,
}

impl Seen {
    /// Parses an event's id; `None` if it is none of ours.
    pub fn parse(id: &str) -> Option<Self> {
        let (turn, place) = id.split_once('.')?;
        let turn = Uuid::try_parse(turn).ok()?;
        if place == "end" {
            return Some(Self { turn, bytes: None });
        }
        place.parse().ok().map(|bytes| Self { turn, bytes: Some(bytes) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_759_328_659_941);

    fn text(bytes: &[u8]) -> &str {
        std::str::from_utf8(bytes).unwrap()
    }

    #[test]
    fn an_event_has_the_guides_fields_on_one_line() {
        let mut encoder = EventEncoder::new(Uuid::nil());
        assert_eq!(
            text(encoder.text("Merhaba \"ü\"\r\n\u{2028}", NOW)),
            "id: 00000000-0000-0000-0000-000000000000.17\n\
             data: {\"content\":\"Merhaba \\\"ü\\\"\\r\\n\u{2028}\",\
             \"timestamp\":\"2025-10-01T14:24:19.941000+00:00\",\"is_final\":false}\n\n"
        );
        assert!(text(encoder.text("ab", NOW)).starts_with("id: 00000000-0000-0000-0000-000000000000.19\n"));
    }

    #[test]
    fn a_refusal_is_a_whole_stream() {
        let fault = Fault { code: "rate_limited", message: "Wait.".to_owned(), retryable: true };
        assert_eq!(
            text(&refusal(&fault, NOW, 60)),
            "retry: 60000\ndata: {\"content\":\"\",\"timestamp\":\"2025-10-01T14:24:19.941000+00:00\",\"is_final\":true,\
             \"error\":{\"code\":\"rate_limited\",\"message\":\"Wait.\",\"retryable\":true}}\n\n"
        );
    }

    #[test]
    fn a_client_says_what_it_has_seen() {
        let turn = Uuid::nil();
        assert_eq!(Seen::parse(&format!("{turn}.17")), Some(Seen { turn, bytes: Some(17) }));
        assert_eq!(Seen::parse(&format!("{turn}.end")), Some(Seen { turn, bytes: None }));
        for id in ["", "17", ".", "x.17", &format!("{turn}"), &format!("{turn}."), &format!("{turn}.-1")] {
            assert_eq!(Seen::parse(id), None, "{id}");
        }
    }

    #[test]
    fn the_last_event_is_empty_and_may_carry_an_error() {
        let mut encoder = EventEncoder::new(Uuid::nil());
        assert!(text(encoder.last(NOW, None)).starts_with("id: 00000000-0000-0000-0000-000000000000.end\n"));
        assert!(text(encoder.last(NOW, None)).ends_with(
            "data: {\"content\":\"\",\"timestamp\":\"2025-10-01T14:24:19.941000+00:00\",\"is_final\":true}\n\n"
        ));
        let fault = Fault { code: "reply_interrupted", message: "Stopped.".to_owned(), retryable: true };
        assert!(text(encoder.last(NOW, Some(&fault))).ends_with(
            "\"is_final\":true,\"error\":{\"code\":\"reply_interrupted\",\"message\":\"Stopped.\",\"retryable\":true}}\n\n"
        ));
    }
}
