//! An incremental decoder for server-sent events as models send them: split anywhere, with any line ending.
//! <https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream>

use super::ModelError;

/// Longest event, in bytes, before the stream is taken for garbage.
const MAX_EVENT_BYTES: usize = 1 << 20;

/// Turns bytes into the `data` of events. Event names, ids and comments mean nothing to a model's stream.
#[derive(Debug, Default)]
pub struct SseDecoder {
    /// The start of a line whose end has not come yet.
    line: Vec<u8>,
    /// The data of the event so far, with `\n` after each line.
    data: Vec<u8>,
    /// The last byte was a CR: an LF that follows belongs to it.
    after_cr: bool,
    started: bool,
}

impl SseDecoder {
    /// Takes the next bytes and calls `event` with the data of each event that they complete.
    pub fn feed(
        &mut self,
        mut bytes: &[u8],
        mut event: impl FnMut(&[u8]) -> Result<(), ModelError>,
    ) -> Result<(), ModelError> {
        while !bytes.is_empty() {
            if std::mem::take(&mut self.after_cr)
                && let Some(rest) = bytes.strip_prefix(b"\n")
            {
                bytes = rest;
                continue;
            }
            let end = bytes.iter().position(|&byte| byte == b'\n' || byte == b'\r');
            let Some((head, &[terminator, ref rest @ ..])) = end.and_then(|end| bytes.split_at_checked(end)) else {
                self.line.extend_from_slice(bytes);
                return self.check_size();
            };
            self.after_cr = terminator == b'\r';
            bytes = rest;
            if self.line.is_empty() {
                self.take_line(head, &mut event)?;
            } else {
                self.line.extend_from_slice(head);
                let line = std::mem::take(&mut self.line);
                self.take_line(&line, &mut event)?;
                self.line = line;
                self.line.clear();
            }
            self.check_size()?;
        }
        Ok(())
    }

    /// Takes the end of the stream. The standard drops an event that no blank line ended; models that end without one
    /// still mean it.
    pub fn end(&mut self, mut event: impl FnMut(&[u8]) -> Result<(), ModelError>) -> Result<(), ModelError> {
        let line = std::mem::take(&mut self.line);
        self.take_line(&line, &mut event)?;
        self.take_line(b"", &mut event)
    }

    fn take_line(
        &mut self,
        mut line: &[u8],
        event: &mut impl FnMut(&[u8]) -> Result<(), ModelError>,
    ) -> Result<(), ModelError> {
        if !std::mem::replace(&mut self.started, true) {
            line = line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line);
        }
        if line.is_empty() {
            let outcome = match self.data.split_last() {
                Some((_, data)) => event(data),
                None => Ok(()),
            };
            self.data.clear();
            return outcome;
        }
        if let Some(value) = line.strip_prefix(b"data:") {
            self.data.extend_from_slice(value.strip_prefix(b" ").unwrap_or(value));
            self.data.push(b'\n');
        } else if line == b"data" {
            self.data.push(b'\n');
        }
        Ok(())
    }

    fn check_size(&self) -> Result<(), ModelError> {
        if self.line.len().max(self.data.len()) > MAX_EVENT_BYTES { Err(ModelError::Garbage) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decode(chunks: &[&[u8]]) -> Vec<String> {
        let mut events = Vec::new();
        let mut keep = |data: &[u8]| {
            events.push(String::from_utf8(data.to_vec()).unwrap());
            Ok(())
        };
        let mut decoder = SseDecoder::default();
        for chunk in chunks {
            decoder.feed(chunk, &mut keep).unwrap();
        }
        decoder.end(&mut keep).unwrap();
        events
    }

    #[test]
    fn the_standards_examples() {
        assert_eq!(decode(&[b"data: YHOO\ndata: +2\ndata: 10\n\n"]), ["YHOO\n+2\n10"]);
        assert_eq!(
            decode(&[b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n"]),
            ["first event", "second event", " third event"]
        );
        assert_eq!(decode(&[b"data\n\ndata\ndata\n\ndata:\n\n"]), ["", "\n", ""]);
    }

    #[test]
    fn a_byte_order_mark_and_a_missing_last_line_end_do_no_harm() {
        assert_eq!(decode(&[b"\xEF\xBB\xBFdata: a\r\rdata: [DONE]"]), ["a", "[DONE]"]);
    }

    #[test]
    fn an_endless_event_is_garbage() {
        let mut decoder = SseDecoder::default();
        let kilobyte = [b'x'; 1024];
        let outcome = (0..2000).try_for_each(|_| decoder.feed(&kilobyte, |_| Ok(())));
        assert!(matches!(outcome, Err(ModelError::Garbage)));
    }

    proptest! {
        #[test]
        fn how_bytes_are_split_changes_nothing(
            lines in proptest::collection::vec("(data: ?[a-zü€😀]{0,8}|: ?x|id: 1|)", 0..12),
            terminators in proptest::collection::vec(prop_oneof![Just("\n"), Just("\r\n"), Just("\r")], 12),
            cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..8),
        ) {
            let text: String = lines.iter().zip(&terminators).flat_map(|(line, end)| [line.as_str(), end]).collect();
            // "\r" before a line that starts a new terminator "\n" is one terminator, in one piece as in many.
            let bytes = text.as_bytes();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.sort_unstable();
            let mut chunks = Vec::new();
            let mut from = 0;
            for cut in cuts {
                chunks.push(&bytes[from..cut]);
                from = cut;
            }
            chunks.push(&bytes[from..]);
            prop_assert_eq!(decode(&chunks), decode(&[bytes]));
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut decoder = SseDecoder::default();
            let _ = decoder.feed(&bytes, |_| Ok(()));
            let _ = decoder.end(|_| Ok(()));
        }
    }
}
