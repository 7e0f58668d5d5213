//! Encryption of secrets that must be read again, such as those of authenticator apps: ChaCha20-Poly1305 with a key that is derived from
//! `CODES_KEY`. The user's id is authenticated with the text, so that one user's secret is useless in another's row.

use anyhow::Context as _;
use domain::UserId;
use hmac::{Hmac, KeyInit as _, Mac as _};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use sha2::Sha256;

/// Encrypts a user's secret. Returns a random nonce, the ciphertext and its tag.
///
/// # Errors
/// Returns an error if the key can't be used.
pub(super) fn seal(codes_key: &[u8], user_id: UserId, secret: &[u8]) -> anyhow::Result<Vec<u8>> {
    let nonce = rand::random::<[u8; NONCE_LEN]>();
    let mut text = secret.to_vec();
    key(codes_key)?
        .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad(user_id), &mut text)
        .ok()
        .context("the secret can't be encrypted")?;
    Ok([nonce.as_slice(), &text].concat())
}

/// Decrypts a user's secret.
///
/// # Errors
/// Returns an error if it was encrypted with another key or for another user, or was changed.
pub(super) fn open(codes_key: &[u8], user_id: UserId, sealed: &[u8]) -> anyhow::Result<Vec<u8>> {
    let (nonce, text) = sealed.split_at_checked(NONCE_LEN).context("an encrypted secret is too short")?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok().context("an encrypted secret has no nonce")?;
    let mut text = text.to_vec();
    let secret = key(codes_key)?.open_in_place(nonce, aad(user_id), &mut text);
    Ok(secret
        .ok()
        .context("a secret can't be decrypted: was CODES_KEY or SECRET_KEY changed without CODES_KEY_PREVIOUS?")?
        .to_vec())
}

fn key(codes_key: &[u8]) -> anyhow::Result<LessSafeKey> {
    let mut mac = Hmac::<Sha256>::new_from_slice(codes_key)?;
    mac.update(b"encryption of factors");
    let derived = mac.finalize().into_bytes();
    let key = UnboundKey::new(&CHACHA20_POLY1305, &derived).ok().context("the derived key can't be used")?;
    Ok(LessSafeKey::new(key))
}

fn aad(user_id: UserId) -> Aad<Vec<u8>> {
    Aad::from(user_id.to_string().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use uuid::Uuid;

    const KEY: [u8; 32] = [7; 32];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_secret_is_read_only_with_its_key_and_by_its_user(secret in proptest::collection::vec(any::<u8>(), 0..40)) {
            let (ann, bob) = (UserId::from(Uuid::from_u128(1)), UserId::from(Uuid::from_u128(2)));
            let sealed = seal(&KEY, ann, &secret).unwrap();
            prop_assert_ne!(&sealed, &seal(&KEY, ann, &secret).unwrap());
            prop_assert_eq!(open(&KEY, ann, &sealed).unwrap(), secret);
            prop_assert!(open(&KEY, bob, &sealed).is_err() && open(&[8; 32], ann, &sealed).is_err());
        }

        #[test]
        fn no_bytes_make_decryption_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            prop_assert!(open(&KEY, UserId::from(Uuid::nil()), &bytes).is_err());
        }
    }
}
