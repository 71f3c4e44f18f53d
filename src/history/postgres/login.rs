//! The conversation before the first statement.

use bytes::BytesMut;
use postgres_protocol::{
    authentication::{
        md5_hash,
        sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256},
    },
    message::{backend, frontend},
};

use super::{
    Error,
    incoming::{Message, refusal},
};

// What an authentication request asks for.
const OK: i32 = 0;
const CLEARTEXT_PASSWORD: i32 = 3;
const MD5_PASSWORD: i32 = 5;
const SASL: i32 = 10;
const SASL_CONTINUE: i32 = 11;
const SASL_FINAL: i32 = 12;

/// A login that is under way.
pub struct Login<'a> {
    user: &'a str,
    password: &'a str,
    step: Step,
}

enum Step {
    /// The server may ask for a proof, or do without.
    Started,
    /// In SCRAM both sides prove that they know the password.
    Scram(ScramSha256),
    /// Every proof has been given.
    Proven,
    /// The server tells about itself before it is ready.
    LoggedIn,
}

impl<'a> Login<'a> {
    /// Starts a login with the message that is to be sent.
    pub fn start(user: &'a str, password: &'a str, database: &str, out: &mut BytesMut) -> Result<Self, Error> {
        frontend::startup_message([("client_encoding", "UTF8"), ("user", user), ("database", database)], out)?;
        Ok(Self { user, password, step: Step::Started })
    }

    /// Takes a message of the server and writes the answer to it, if it wants one. Returns whether the server is ready.
    pub fn take(&mut self, message: Message<'_>, out: &mut BytesMut) -> Result<bool, Error> {
        match message.tag {
            backend::AUTHENTICATION_TAG => {
                let (kind, data) = message.body.split_first_chunk().ok_or(Error::Unexpected)?;
                self.authenticate(i32::from_be_bytes(*kind), data, out)?;
                Ok(false)
            }
            backend::READY_FOR_QUERY_TAG if matches!(self.step, Step::LoggedIn) => Ok(true),
            backend::BACKEND_KEY_DATA_TAG | backend::PARAMETER_STATUS_TAG | backend::NOTICE_RESPONSE_TAG => Ok(false),
            backend::ERROR_RESPONSE_TAG => Err(refusal(message.body)),
            _ => Err(Error::Unexpected),
        }
    }

    fn authenticate(&mut self, kind: i32, data: &[u8], out: &mut BytesMut) -> Result<(), Error> {
        match (&mut self.step, kind) {
            (Step::Started | Step::Proven, OK) => self.step = Step::LoggedIn,
            (Step::Started, CLEARTEXT_PASSWORD) => {
                frontend::password_message(self.password.as_bytes(), out)?;
                self.step = Step::Proven;
            }
            (Step::Started, MD5_PASSWORD) => {
                let salt = data.try_into().map_err(|_| Error::Unexpected)?;
                let hash = md5_hash(self.user.as_bytes(), self.password.as_bytes(), salt);
                frontend::password_message(hash.as_bytes(), out)?;
                self.step = Step::Proven;
            }
            (Step::Started, SASL) => {
                if !data.split(|&byte| byte == 0).any(|mechanism| mechanism == SCRAM_SHA_256.as_bytes()) {
                    return Err(Error::Unexpected);
                }
                // Channels are bound by TLS, and the Worker's side of Hyperdrive has none.
                let scram = ScramSha256::new(self.password.as_bytes(), ChannelBinding::unsupported());
                frontend::sasl_initial_response(SCRAM_SHA_256, scram.message(), out)?;
                self.step = Step::Scram(scram);
            }
            (Step::Scram(scram), SASL_CONTINUE) => {
                scram.update(data)?;
                frontend::sasl_response(scram.message(), out)?;
            }
            (Step::Scram(scram), SASL_FINAL) => {
                scram.finish(data)?;
                self.step = Step::Proven;
            }
            _ => return Err(Error::Unexpected),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn start(out: &mut BytesMut) -> Login<'static> {
        Login::start("md5_user", "password", "chat", out).unwrap()
    }

    fn ask(login: &mut Login<'_>, kind: i32, data: &[u8]) -> Result<BytesMut, Error> {
        let mut out = BytesMut::new();
        let body = [&kind.to_be_bytes(), data].concat();
        login.take(Message { tag: backend::AUTHENTICATION_TAG, body: &body }, &mut out).map(|ready| {
            assert!(!ready);
            out
        })
    }

    fn ready(login: &mut Login<'_>) -> Result<bool, Error> {
        login.take(Message { tag: backend::READY_FOR_QUERY_TAG, body: b"I" }, &mut BytesMut::new())
    }

    #[test]
    fn it_says_who_comes() {
        let mut out = BytesMut::new();
        start(&mut out);
        assert_eq!(&out[..], b"\0\0\0\x3A\0\x03\0\0client_encoding\0UTF8\0user\0md5_user\0database\0chat\0\0");
    }

    #[test]
    fn trust_and_passwords() {
        let mut login = start(&mut BytesMut::new());
        assert!(ask(&mut login, OK, b"").unwrap().is_empty());
        assert!(!login.take(Message { tag: b'S', body: b"TimeZone\0GMT\0" }, &mut BytesMut::new()).unwrap());
        assert!(!login.take(Message { tag: b'K', body: b"12345678" }, &mut BytesMut::new()).unwrap());
        assert!(ready(&mut login).unwrap());

        let mut login = start(&mut BytesMut::new());
        assert_eq!(&ask(&mut login, CLEARTEXT_PASSWORD, b"").unwrap()[..], b"p\0\0\0\x0Dpassword\0");
        ask(&mut login, OK, b"").unwrap();
        assert!(ready(&mut login).unwrap());

        let mut login = start(&mut BytesMut::new());
        let answer = ask(&mut login, MD5_PASSWORD, &[0x2A, 0x3D, 0x8F, 0xE0]).unwrap();
        assert_eq!(&answer[..], b"p\0\0\0\x28md562af4dd09bbb41884907a838a3233294\0");
        ask(&mut login, OK, b"").unwrap();
        assert!(ready(&mut login).unwrap());
    }

    #[test]
    fn scram_wants_the_servers_proof() {
        let mut login = start(&mut BytesMut::new());
        let answer = ask(&mut login, SASL, b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0").unwrap();
        let nonce = std::str::from_utf8(&answer).unwrap().split("r=").nth(1).unwrap().to_owned();
        let first = format!("r={nonce}more,s=QSXCR+Q6sek8bf92,i=16");
        assert!(ask(&mut login, SASL_CONTINUE, first.as_bytes()).unwrap().starts_with(b"p"));
        assert!(matches!(ask(&mut login, OK, b""), Err(Error::Unexpected)));
        assert!(matches!(ready(&mut login), Err(Error::Unexpected)));
        assert!(matches!(ask(&mut login, SASL_FINAL, b"v=AAAA"), Err(Error::Invalid(_))));
        assert!(matches!(ask(&mut login, OK, b""), Err(Error::Unexpected)));
    }

    #[test]
    fn what_has_no_place_is_refused() {
        for (kind, data) in
            [(SASL, b"SCRAM-SHA-512\0\0".as_slice()), (MD5_PASSWORD, b"123"), (SASL_FINAL, b""), (7, b"")]
        {
            assert!(matches!(ask(&mut start(&mut BytesMut::new()), kind, data), Err(Error::Unexpected)));
        }
        let mut login = start(&mut BytesMut::new());
        assert!(matches!(ready(&mut login), Err(Error::Unexpected)));
        let refused = login.take(Message { tag: b'E', body: b"SFATAL\0C28P01\0\0" }, &mut BytesMut::new());
        assert!(matches!(refused, Err(Error::Refused(state)) if state == "28P01"));
        assert!(matches!(Login::start("nobody\0", "", "", &mut BytesMut::new()), Err(Error::Invalid(_))));
    }

    proptest! {
        #[test]
        fn no_messages_panic(
            messages in proptest::collection::vec(
                (prop_oneof![Just(b'R'), any::<u8>()], 0i32..13, proptest::collection::vec(any::<u8>(), 0..40)),
                0..6,
            ),
        ) {
            let mut login = start(&mut BytesMut::new());
            for (tag, kind, data) in messages {
                let body = [kind.to_be_bytes().as_slice(), &data].concat();
                let _ = login.take(Message { tag, body: &body }, &mut BytesMut::new());
            }
        }
    }
}
