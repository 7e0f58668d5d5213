//! Verification of ID tokens ([OpenID Connect Core, 3.1.3.7](https://openid.net/specs/openid-connect-core-1_0.html#IDTokenValidation)).

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation, decode, decode_header};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use time::{Duration, OffsetDateTime};

/// Maximum difference between the issuer's clock and ours.
const LEEWAY: Duration = Duration::seconds(60);
/// Maximum length of a subject ([Core, 2](https://openid.net/specs/openid-connect-core-1_0.html#IDToken)).
const MAX_SUBJECT: usize = 255;

/// The expected values of a token's claims.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected<'a> {
    pub issuer: &'a str,
    pub client_id: &'a str,
    pub nonce: &'a str,
    pub now: OffsetDateTime,
    /// The user must have proved to the issuer who they are since then. Only checked if the issuer reports when that was.
    pub since: Option<OffsetDateTime>,
}

/// The claims about a user in a token, or from the userinfo endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Claims {
    pub sub: String,
    #[serde(default)]
    pub email: Option<String>,
    /// Whether the issuer has verified the address.
    #[serde(default, rename = "email_verified", deserialize_with = "is_true")]
    pub is_email_verified: bool,
    #[serde(default)]
    pub name: Option<String>,
}

/// What a verified token proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verified {
    pub claims: Claims,
    /// Whether the issuer reports that the user has signed in to it since [`Expected::since`].
    pub is_fresh: bool,
}

/// Reads a boolean, which some issuers send as a text. Anything else is false.
fn is_true<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    let value = Value::deserialize(deserializer)?;
    Ok(value == Value::Bool(true) || value.as_str() == Some("true"))
}

/// Why a token isn't accepted.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum TokenError {
    /// None of the keys can have signed it. The issuer may have new ones.
    UnknownKey,
    /// It is forged, expired, or for someone else.
    Invalid(String),
}

impl From<jsonwebtoken::errors::Error> for TokenError {
    fn from(error: jsonwebtoken::errors::Error) -> Self {
        Self::Invalid(error.to_string())
    }
}

/// The claims that are checked here.
#[derive(Deserialize)]
struct Checked {
    aud: Audience,
    azp: Option<String>,
    exp: i64,
    iat: i64,
    nbf: Option<i64>,
    nonce: Option<String>,
    auth_time: Option<i64>,
    #[serde(flatten)]
    claims: Claims,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

/// Verifies a token and returns what it proves about its user.
pub(super) fn verify(token: &str, keys: &[Jwk], expected: &Expected<'_>) -> Result<Verified, TokenError> {
    // An unknown algorithm, such as "none", can't be parsed.
    let header = decode_header(token)?;
    if !matches!(header.alg, Algorithm::RS256 | Algorithm::ES256 | Algorithm::EdDSA) {
        return Err(TokenError::Invalid(format!("the algorithm {:?} isn't accepted", header.alg)));
    }
    let key = find_key(&header, keys).ok_or(TokenError::UnknownKey)?;
    let mut validation = Validation::new(header.alg);
    validation.set_issuer(&[expected.issuer]);
    validation.set_audience(&[expected.client_id]);
    validation.set_required_spec_claims(&["iss", "aud", "sub", "exp"]);
    // Checked below by our clock.
    validation.validate_exp = false;
    let checked = decode::<Checked>(token, &DecodingKey::from_jwk(key)?, &validation)?.claims;
    check(&checked, expected).map_err(|reason| TokenError::Invalid(reason.to_owned()))?;
    let is_fresh = is_proved_since(&checked, expected) == Some(true);
    Ok(Verified { claims: checked.claims, is_fresh })
}

/// Returns the key that a token names, or if it names none, the only one of its algorithm.
fn find_key<'a>(header: &Header, keys: &'a [Jwk]) -> Option<&'a Jwk> {
    let mut fitting = keys.iter().filter(|key| is_for(key, header.alg));
    match &header.kid {
        Some(kid) => fitting.find(|key| key.common.key_id.as_ref() == Some(kid)),
        None => {
            let only = fitting.next()?;
            fitting.next().is_none().then_some(only)
        }
    }
}

/// Returns whether a key signs with an algorithm.
fn is_for(key: &Jwk, algorithm: Algorithm) -> bool {
    let is_kind = match (&key.algorithm, algorithm) {
        (AlgorithmParameters::RSA(_), Algorithm::RS256) => true,
        (AlgorithmParameters::EllipticCurve(key), Algorithm::ES256) => key.curve == EllipticCurve::P256,
        (AlgorithmParameters::OctetKeyPair(key), Algorithm::EdDSA) => key.curve == EllipticCurve::Ed25519,
        _ => false,
    };
    let signs = key.common.public_key_use.as_ref().is_none_or(|use_| *use_ == PublicKeyUse::Signature);
    let named = key.common.key_algorithm.as_ref().map(ToString::to_string);
    is_kind && signs && named.is_none_or(|name| name == format!("{algorithm:?}"))
}

/// Returns whether the user has proved to the issuer who they are since the expected time; `None` if the issuer doesn't report it, or no
/// time is expected.
fn is_proved_since(token: &Checked, expected: &Expected<'_>) -> Option<bool> {
    let (since, at) = (expected.since?, token.auth_time?);
    Some(at.saturating_add(LEEWAY.whole_seconds()) >= since.unix_timestamp())
}

fn check(token: &Checked, expected: &Expected<'_>) -> Result<(), &'static str> {
    let (now, leeway) = (expected.now.unix_timestamp(), LEEWAY.whole_seconds());
    let audiences = match &token.aud {
        Audience::One(only) => std::slice::from_ref(only),
        Audience::Many(all) => all.as_slice(),
    };
    if audiences.len() > 1 && token.azp.is_none() {
        return Err("it has several audiences and no authorized party");
    }
    if token.azp.as_ref().is_some_and(|azp| azp != expected.client_id) {
        return Err("it is for another authorized party");
    }
    if token.exp.saturating_add(leeway) <= now {
        return Err("it has expired");
    }
    if token.iat > now.saturating_add(leeway) || token.nbf.is_some_and(|nbf| nbf > now.saturating_add(leeway)) {
        return Err("it is from the future");
    }
    if token.nonce.as_deref() != Some(expected.nonce) {
        return Err("its nonce is wrong");
    }
    if is_proved_since(token, expected) == Some(false) {
        return Err("the user hasn't signed in to the issuer again");
    }
    let subject = &token.claims.sub;
    if subject.is_empty() || subject.len() > MAX_SUBJECT || subject.contains('\0') {
        return Err("its subject is empty or too long, or has a NUL");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use proptest::prelude::*;
    use serde_json::json;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-11-27 12:00 UTC);
    const EXPECTED: Expected<'_> =
        Expected { issuer: "https://id.example", client_id: "app", nonce: "n", now: NOW, since: None };

    fn checked(change: &[(&str, Value)]) -> Result<(), &'static str> {
        checked_with(change, &EXPECTED)
    }

    fn checked_with(change: &[(&str, Value)], expected: &Expected<'_>) -> Result<(), &'static str> {
        check(&token(change), expected)
    }

    fn token(change: &[(&str, Value)]) -> Checked {
        let now = NOW.unix_timestamp();
        let mut claims = json!({"sub": "1", "aud": "app", "exp": now + 60, "iat": now, "nonce": "n"});
        for (name, value) in change {
            claims[*name] = value.clone();
        }
        serde_json::from_value(claims).unwrap()
    }

    #[test]
    fn times_have_sixty_seconds_of_leeway() {
        let now = NOW.unix_timestamp();
        assert_eq!(checked(&[]), Ok(()));
        for (name, good, bad) in [("exp", now - 59, now - 60), ("iat", now + 60, now + 61), ("nbf", now + 60, now + 61)]
        {
            assert_eq!(checked(&[(name, json!(good))]), Ok(()), "{name}");
            assert!(checked(&[(name, json!(bad))]).is_err(), "{name}");
        }
        for extreme in [i64::MAX, i64::MIN] {
            assert!(checked(&[("exp", json!(extreme)), ("iat", json!(extreme))]).is_err());
        }
    }

    #[test]
    fn tokens_for_others_are_refused() {
        for bad in [
            ("nonce", json!("other")),
            ("nonce", Value::Null),
            ("azp", json!("other")),
            ("aud", json!(["app", "other"])),
            ("sub", json!("")),
            ("sub", json!("x".repeat(256))),
            ("sub", json!("1\0")),
        ] {
            assert!(checked(std::slice::from_ref(&bad)).is_err(), "{bad:?}");
        }
        assert_eq!(checked(&[("aud", json!(["app", "other"])), ("azp", json!("app"))]), Ok(()));
        assert_eq!(checked(&[("aud", json!(["app"]))]), Ok(()));
    }

    #[test]
    fn an_old_sign_in_at_the_issuer_confirms_nothing() {
        let expected = Expected { since: Some(NOW), ..EXPECTED };
        let at = |at: OffsetDateTime| checked_with(&[("auth_time", json!(at.unix_timestamp()))], &expected);
        assert!(at(NOW).is_ok() && at(NOW - LEEWAY).is_ok());
        assert!(at(NOW - LEEWAY - Duration::SECOND).is_err());
        assert_eq!(checked_with(&[], &expected), Ok(()), "an issuer that doesn't say");
        let says_now = token(&[("auth_time", json!(NOW.unix_timestamp()))]);
        assert_eq!(is_proved_since(&says_now, &expected), Some(true));
        assert_eq!(is_proved_since(&says_now, &EXPECTED), None, "a sign-in expects no time");
        assert_eq!(is_proved_since(&token(&[]), &expected), None);
    }

    #[test]
    fn an_address_is_verified_only_if_the_issuer_says_so() {
        for (value, is_verified) in [
            (json!(true), true),
            (json!("true"), true),
            (json!(false), false),
            (json!("false"), false),
            (json!(1), false),
            (Value::Null, false),
        ] {
            let claims: Claims = serde_json::from_value(json!({"sub": "1", "email_verified": value})).unwrap();
            assert_eq!(claims.is_email_verified, is_verified, "{value}");
        }
        let claims: Claims = serde_json::from_value(json!({"sub": "1"})).unwrap();
        assert!(!claims.is_email_verified);
    }

    #[test]
    fn only_three_algorithms_are_accepted() {
        let keys: Vec<Jwk> = vec![serde_json::from_value(json!({"kty": "oct", "k": "c2VjcmV0", "kid": "1"})).unwrap()];
        for algorithm in ["none", "NONE", "HS256", "HS512", "RS512", "PS256", "ES384"] {
            let header = URL_SAFE_NO_PAD.encode(json!({"alg": algorithm, "kid": "1"}).to_string());
            let token = format!("{header}.{}.", URL_SAFE_NO_PAD.encode("{}"));
            assert!(matches!(verify(&token, &keys, &EXPECTED), Err(TokenError::Invalid(_))), "{algorithm}");
        }
        let header = URL_SAFE_NO_PAD.encode(json!({"alg": "RS256", "kid": "1"}).to_string());
        let token = format!("{header}.{}.", URL_SAFE_NO_PAD.encode("{}"));
        assert_eq!(verify(&token, &keys, &EXPECTED), Err(TokenError::UnknownKey), "the key is of another kind");
    }

    proptest! {
        #[test]
        fn no_text_is_a_token(text in "[a-zA-Z0-9_.-]{0,120}") {
            prop_assert!(verify(&text, &[], &EXPECTED).is_err());
        }
    }
}
