//! The secrets of mailed links and codes. Each is derived from a random seed and `CODES_KEY`: the queued mail holds only the seed, and the
//! table only hashes, so neither opens an account without the key.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::UserId;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use store::account_token::TokenKind;

/// Digits of a code.
const CODE_DIGITS: usize = 6;

/// The random part of a link and its code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Seed(String);

impl Seed {
    /// Creates a random seed.
    pub(crate) fn new() -> Self {
        Self(hex::encode(rand::random::<[u8; 16]>()))
    }

    /// Returns the token of the link: 32 bytes in base64url.
    ///
    /// # Errors
    /// Returns an error if the key can't be used.
    pub(crate) fn token(&self, key: &[u8], kind: TokenKind) -> anyhow::Result<String> {
        Ok(URL_SAFE_NO_PAD.encode(mac(key, &["link", kind.as_str(), &self.0])?))
    }

    /// Returns the code that can be entered instead of following the link: six digits.
    ///
    /// # Errors
    /// Returns an error if the key can't be used.
    pub(crate) fn code(&self, key: &[u8], kind: TokenKind) -> anyhow::Result<String> {
        let [a, b, c, d, e, f, g, h, ..] = mac(key, &["code", kind.as_str(), &self.0])?;
        let number = u64::from_be_bytes([a, b, c, d, e, f, g, h]) % 10_u64.pow(6);
        Ok(format!("{number:0CODE_DIGITS$}"))
    }
}

/// Returns the stored hash of a link's token; `None` if the text can't be a token.
pub(crate) fn token_hash(token: &str) -> Option<[u8; 32]> {
    let bytes = URL_SAFE_NO_PAD.decode(token.trim()).ok().filter(|bytes| bytes.len() == 32)?;
    Some(Sha256::digest(bytes).into())
}

/// Returns the stored hash of a user's code. It is keyed, because a plain hash of six digits is reversed at once.
///
/// # Errors
/// Returns an error if the key can't be used.
pub(crate) fn code_hash(key: &[u8], kind: TokenKind, user_id: UserId, code: &str) -> anyhow::Result<[u8; 32]> {
    mac(key, &["code_hash", kind.as_str(), &user_id.to_string(), code])
}

/// Returns the code as typed, without spaces and hyphens; `None` if it can't be a code.
pub(crate) fn entered_code(typed: &str) -> Option<String> {
    let code: String = typed.chars().filter(|c| !c.is_whitespace() && *c != '-').collect();
    (code.len() == CODE_DIGITS && code.bytes().all(|byte| byte.is_ascii_digit())).then_some(code)
}

/// HMAC-SHA256 over the parts, of which none contains the separator.
fn mac(key: &[u8], parts: &[&str]) -> anyhow::Result<[u8; 32]> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key)?;
    mac.update(parts.join("|").as_bytes());
    Ok(mac.finalize().into_bytes().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use time::macros::datetime;

    const KEY: [u8; 32] = [7; 32];

    #[test]
    fn a_seed_always_has_the_same_token_and_code() {
        let seed = Seed::new();
        let (token, code) = (seed.token(&KEY, TokenKind::VerifyEmail), seed.code(&KEY, TokenKind::VerifyEmail));
        let (token, code) = (token.unwrap(), code.unwrap());
        assert_eq!(seed.token(&KEY, TokenKind::VerifyEmail).unwrap(), token);
        assert_ne!(seed.token(&[8; 32], TokenKind::VerifyEmail).unwrap(), token, "needs the key");
        assert_ne!(seed.token(&KEY, TokenKind::ResetPassword).unwrap(), token, "is of one kind");
        assert_ne!(Seed::new().token(&KEY, TokenKind::VerifyEmail).unwrap(), token);
        assert!(token_hash(&token).is_some() && entered_code(&code).as_deref() == Some(code.as_str()));
        assert!(!serde_json::to_string(&seed).unwrap().contains(&token));
    }

    #[test]
    fn a_code_belongs_to_one_user() {
        let now = datetime!(2026-11-27 12:00 UTC);
        let (ann, ben) = (UserId::at(now), UserId::at(now));
        let hash = |user| code_hash(&KEY, TokenKind::VerifyEmail, user, "123456").unwrap();
        assert_eq!(hash(ann), hash(ann));
        assert_ne!(hash(ann), hash(ben));
    }

    #[test]
    fn codes_may_be_typed_with_spaces() {
        assert_eq!(entered_code(" 123 456 ").as_deref(), Some("123456"));
        assert_eq!(entered_code("123-456").as_deref(), Some("123456"));
        for bad in ["", "12345", "1234567", "12345a", "１２３４５６"] {
            assert_eq!(entered_code(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_parsing_panic(text in "\\PC{0,80}") {
            prop_assert!(token_hash(&text).is_none() || text.trim().len() == 43);
            prop_assert!(entered_code(&text).is_none_or(|code| code.len() == 6));
        }
    }
}
