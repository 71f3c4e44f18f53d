//! The server's messages, cut out of its bytes.

use super::Error;

/// A message of the server: its tag, as `postgres_protocol::message::backend` names them, and what follows its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// Its kind.
    pub tag: u8,
    /// Its content.
    pub body: &'a [u8],
}

/// Bytes that have come, and how many of them have been taken.
///
/// `postgres_protocol`'s own parser is not used for them: it panics on some lengths.
#[derive(Debug, Default)]
pub struct Incoming {
    bytes: Vec<u8>,
    taken: usize,
}

impl Incoming {
    /// What the next bytes are to be appended to.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        self.bytes.drain(..self.taken);
        self.taken = 0;
        &mut self.bytes
    }

    /// Takes the next message, if all of it is there.
    pub fn next(&mut self) -> Result<Option<Message<'_>>, Error> {
        let Some((&[tag, ref length @ ..], rest)) = self.bytes.split_at(self.taken).1.split_first_chunk::<5>() else {
            return Ok(None);
        };
        // The length counts itself.
        let length = u32::from_be_bytes(*length).checked_sub(4).ok_or(Error::Unexpected)? as usize;
        let Some(body) = rest.get(..length) else { return Ok(None) };
        self.taken += 5 + length;
        Ok(Some(Message { tag, body }))
    }
}

/// The error that an ErrorResponse stands for.
pub fn refusal(body: &[u8]) -> Error {
    // Each field is the letter of its kind and a text that ends with a zero.
    let state = body.split(|&byte| byte == 0).find_map(|field| field.strip_prefix(b"C"));
    match state {
        // Nothing else gets into the log.
        Some(state) if state.len() == 5 && state.iter().all(u8::is_ascii_alphanumeric) => {
            Error::Refused(String::from_utf8_lossy(state).into_owned())
        }
        _ => Error::Unexpected,
    }
}

#[cfg(test)]
pub mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A message as the server sends it.
    pub fn message(tag: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap();
        [&[tag], length.to_be_bytes().as_slice(), body].concat()
    }

    #[test]
    fn an_error_is_its_sqlstate() {
        assert!(
            matches!(refusal(b"SERROR\0VERROR\0C40001\0MCome again\0\0"), Error::Refused(state) if state == "40001")
        );
        for malformed in [b"".as_slice(), b"\0", b"SERROR\0\0", b"C4000\0\0", b"C4000\xFF\0\0"] {
            assert!(matches!(refusal(malformed), Error::Unexpected));
        }
    }

    #[test]
    fn a_length_below_its_own_is_refused() {
        let mut incoming = Incoming::default();
        incoming.buffer().extend_from_slice(b"Z\0\0\0\x03");
        assert!(matches!(incoming.next(), Err(Error::Unexpected)));
    }

    #[test]
    fn an_endless_length_waits_for_its_bytes() {
        let mut incoming = Incoming::default();
        incoming.buffer().extend_from_slice(b"D\xFF\xFF\xFF\xFFabc");
        assert!(matches!(incoming.next(), Ok(None)));
    }

    proptest! {
        #[test]
        fn how_bytes_are_split_changes_nothing(
            messages in proptest::collection::vec((any::<u8>(), proptest::collection::vec(any::<u8>(), 0..20)), 0..8),
            sizes in proptest::collection::vec(1usize..12, 1..40),
        ) {
            let bytes: Vec<u8> = messages.iter().flat_map(|(tag, body)| message(*tag, body)).collect();
            let (mut incoming, mut seen, mut rest) = (Incoming::default(), Vec::new(), bytes.as_slice());
            for size in sizes.iter().cycle() {
                let (chunk, later) = rest.split_at((*size).min(rest.len()));
                rest = later;
                incoming.buffer().extend_from_slice(chunk);
                while let Some(Message { tag, body }) = incoming.next().unwrap() {
                    seen.push((tag, body.to_vec()));
                }
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(seen, messages);
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut incoming = Incoming::default();
            incoming.buffer().extend_from_slice(&bytes);
            while let Ok(Some(message)) = incoming.next() {
                let _ = refusal(message.body);
            }
            let _ = refusal(&bytes);
        }
    }
}
