//! Compact JSON Web Tokens signed with HMAC-SHA256 (`HS256`), and nothing else: no other algorithm is understood, so
//! that no token can choose one. <https://www.rfc-editor.org/rfc/rfc7515#section-7.1>

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL};
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use sha2::Sha256;

/// Longest token that is looked at, in bytes.
const MAX_TOKEN_BYTES: usize = 4096;

/// A secret to sign with.
#[derive(Clone)]
pub struct Key(Hmac<Sha256>);

impl Key {
    /// A key from a secret of any length.
    pub fn new(secret: &str) -> Option<Self> {
        Hmac::new_from_slice(secret.as_bytes()).ok().map(Self)
    }

    /// The HMAC-SHA256 of a message.
    pub fn sign(&self, message: &[u8]) -> [u8; 32] {
        self.0.clone().chain_update(message).finalize().into_bytes().into()
    }

    /// Whether this is the HMAC-SHA256 of the message; takes the same time whatever is wrong with it.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.0.clone().chain_update(message).verify_slice(signature).is_ok()
    }
}

#[derive(Serialize, Deserialize)]
struct Header {
    alg: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kid: Option<String>,
    /// Extensions that must be understood; none is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    crit: Option<Value>,
}

const ALGORITHM: &str = "HS256";

/// A token with these claims, signed with the key of this id.
pub fn encode(key_id: &str, key: &Key, claims: &impl Serialize) -> String {
    let header = Header { alg: ALGORITHM.to_owned(), kid: Some(key_id.to_owned()), crit: None };
    // Strings and numbers always serialise.
    let part = |json: serde_json::Result<Vec<u8>>| BASE64URL.encode(json.unwrap_or_default());
    let signed = format!("{}.{}", part(serde_json::to_vec(&header)), part(serde_json::to_vec(claims)));
    let signature = BASE64URL.encode(key.sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

/// A token whose signature nobody has checked.
pub struct Unverified<'a> {
    /// Which key it says it was signed with.
    pub key_id: Option<String>,
    signed: &'a str,
    claims: &'a str,
    signature: Vec<u8>,
}

impl<'a> Unverified<'a> {
    /// Takes a token apart; `None` if it is none, or not an `HS256` one.
    pub fn parse(token: &'a str) -> Option<Self> {
        let token = Some(token).filter(|token| token.len() <= MAX_TOKEN_BYTES)?;
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let header: Header = serde_json::from_slice(&BASE64URL.decode(header).ok()?).ok()?;
        let signature = BASE64URL.decode(signature).ok()?;
        (header.alg == ALGORITHM && header.crit.is_none()).then_some(Self {
            key_id: header.kid,
            signed,
            claims,
            signature,
        })
    }

    /// The claims, if the key's owner signed them.
    pub fn verify<C: DeserializeOwned>(&self, key: &Key) -> Option<C> {
        if !key.verifies(self.signed.as_bytes(), &self.signature) {
            return None;
        }
        serde_json::from_slice(&BASE64URL.decode(self.claims).ok()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn verify(token: &str, key: &Key) -> Option<Value> {
        Unverified::parse(token)?.verify(key)
    }

    /// <https://www.rfc-editor.org/rfc/rfc4231#section-4.3>
    #[test]
    fn the_hmac_of_the_specification() {
        let key = Key::new("Jefe").unwrap();
        let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(hex::encode(key.sign(b"what do ya want for nothing?")), expected);
    }

    /// The example that jwt.io shows.
    #[test]
    fn a_token_of_another_programs_making() {
        let token = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.\
                     eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIiwiaWF0IjoxNTE2MjM5MDIyfQ.\
                     SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c";
        let claims = verify(token, &Key::new("your-256-bit-secret").unwrap()).unwrap();
        assert_eq!(claims["name"], "John Doe");
        assert_eq!(verify(token, &Key::new("another-secret").unwrap()), None);
    }

    #[test]
    fn only_hs256_is_understood() {
        let key = Key::new("secret").unwrap();
        let part = |json: Value| BASE64URL.encode(json.to_string());
        for header in [
            json!({"alg": "none"}),
            json!({"alg": "HS512"}),
            json!({"alg": "hs256"}),
            json!({}),
            json!({"alg": "HS256", "crit": ["x"]}),
        ] {
            let signed = format!("{}.{}", part(header), part(json!({"sub": "a"})));
            let signature = BASE64URL.encode(key.sign(signed.as_bytes()));
            assert_eq!(verify(&format!("{signed}.{signature}"), &key), None);
            assert_eq!(verify(&format!("{signed}."), &key), None);
        }
    }

    proptest! {
        #[test]
        fn no_text_panics_or_passes(token in "\\PC{0,300}") {
            prop_assert_eq!(verify(&token, &Key::new("secret").unwrap()), None);
        }

        #[test]
        fn a_token_with_any_byte_changed_is_refused(sub in "\\PC{0,60}", place in any::<prop::sample::Index>(), new: u8) {
            let key = Key::new("secret").unwrap();
            let token = encode("a", &key, &json!({"sub": sub}));
            prop_assert_eq!(&verify(&token, &key).unwrap()["sub"], sub.as_str());
            let mut bytes = token.clone().into_bytes();
            let place = place.index(bytes.len());
            bytes[place] = new;
            // The same byte again is no change, and the spare bits of the last character must be zero.
            if let Ok(changed) = String::from_utf8(bytes) && changed != token {
                prop_assert_eq!(verify(&changed, &key), None);
            }
        }

        #[test]
        fn a_token_cut_short_is_refused(cut in 0usize..100) {
            let key = Key::new("secret").unwrap();
            let token = encode("a", &key, &json!({"sub": "user"}));
            let cut = cut.min(token.len() - 1);
            prop_assert_eq!(verify(token.get(..cut).unwrap(), &key), None);
        }
    }
}
