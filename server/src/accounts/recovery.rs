//! Recovery codes: ten codes for when the authenticator app is lost. Each works once.

use super::activity;
use super::client::ClientInfo;
use super::rejection::Rejection;
use super::session;
use crate::AppState;
use crate::mail::{self, Mail};
use data_encoding::BASE32_NOPAD;
use domain::{SecurityEvent, UserId, Viewer};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use store::{Tx, recovery_code};
use tower_sessions::Session;

/// Number of codes.
const CODES: usize = 10;
/// Characters of a code: 40 random bits.
const CHARS: usize = 8;

/// Replaces a user's recovery codes by new ones, and returns them as they are shown: two groups of four characters.
pub(super) async fn replace(app: &AppState, tx: &mut Tx, user_id: UserId) -> anyhow::Result<Vec<String>> {
    let codes: Vec<String> = (0..CODES).map(|_| BASE32_NOPAD.encode(&rand::random::<[u8; 5]>())).collect();
    let hashes =
        codes.iter().map(|code| hash(&app.config.codes_key, user_id, code)).collect::<anyhow::Result<Vec<_>>>()?;
    recovery_code::replace(tx, user_id, &hashes, AppState::now()).await?;
    Ok(codes.iter().map(|code| shown(code)).collect())
}

/// Gives a user with an authenticator app new recovery codes. The earlier ones no longer work.
///
/// # Errors
/// Returns a rejection if the user has no authenticator app, or the session has ended.
pub(crate) async fn regenerate(
    app: &AppState,
    session: &Session,
    client: &ClientInfo,
    viewer: &Viewer,
) -> Result<Vec<String>, Rejection> {
    let now = AppState::now();
    let mut tx = store::begin(&app.db).await?;
    session::lock(&mut tx, session, viewer.user_id).await?;
    if !store::totp::is_confirmed(&mut tx, viewer.user_id).await? {
        return Err(Rejection::invalid("", "Set up an authenticator app first."));
    }
    let codes = replace(app, &mut tx, viewer.user_id).await?;
    let mail = Mail::FactorAdded { factor: "New recovery codes".to_owned(), at: now };
    mail::queue_to(&mut tx, viewer.user_id, &viewer.email, mail, now).await?;
    tx.commit().await?;
    activity::record(app, Some(viewer.user_id), SecurityEvent::FactorAdded, client).await;
    Ok(codes)
}

/// Uses a recovery code, as [`entered`] returns it, and announces it by mail. Returns false if it is wrong or was used before.
pub(super) async fn take(app: &AppState, user_id: UserId, code: &str) -> anyhow::Result<bool> {
    let hashes = app.config.codes_keys().map(|key| hash(key, user_id, code)).collect::<anyhow::Result<Vec<_>>>()?;
    let now = AppState::now();
    let mut tx = store::begin(&app.db).await?;
    if !recovery_code::take(&mut tx, user_id, &hashes, now).await? {
        return Ok(false);
    }
    let left = recovery_code::count_left(&mut tx, user_id).await?;
    mail::queue(&mut tx, user_id, &Mail::RecoveryCodeUsed { left, at: now }, "", now).await?;
    tx.commit().await?;
    Ok(true)
}

/// Returns the code as typed, in upper case without spaces and hyphens; `None` if it can't be a recovery code. Digits that no code has are
/// read as the letters that they resemble.
pub(super) fn entered(typed: &str) -> Option<String> {
    let code: String = typed
        .chars()
        .filter(|c| !c.is_whitespace() && *c != '-')
        .map(|c| match c.to_ascii_uppercase() {
            '0' => 'O',
            '1' => 'I',
            '8' => 'B',
            other => other,
        })
        .take(CHARS + 1)
        .collect();
    let is_code = code.chars().count() == CHARS && BASE32_NOPAD.decode(code.as_bytes()).is_ok();
    is_code.then_some(code)
}

fn shown(code: &str) -> String {
    match code.split_at_checked(CHARS / 2) {
        Some((first, second)) => format!("{first}-{second}"),
        None => code.to_owned(),
    }
}

/// HMAC-SHA256 of a user's code. It is keyed, because 40 bits could be brute-forced.
fn hash(key: &[u8], user_id: UserId, code: &str) -> anyhow::Result<[u8; 32]> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key)?;
    mac.update(format!("recovery|{user_id}|{code}").as_bytes());
    Ok(mac.finalize().into_bytes().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use uuid::Uuid;

    #[test]
    fn codes_are_read_in_any_form_and_belong_to_their_user() {
        for typed in ["ABCD-EFGH", "abcdefgh", " abcd efgh ", "AB CD-EF GH"] {
            assert_eq!(entered(typed).as_deref(), Some("ABCDEFGH"), "{typed}");
        }
        assert_eq!(entered("0B18-AAAA").as_deref(), Some("OBIBAAAA"));
        for other in ["", "ABCD-EFG", "ABCD-EFGHI", "ABCD-EFG9", "ABCD-EFGÄ"] {
            assert_eq!(entered(other), None, "{other}");
        }
        let (ann, bob) = (UserId::from(Uuid::from_u128(1)), UserId::from(Uuid::from_u128(2)));
        let hash = |user_id, code| hash(&[7; 32], user_id, code).unwrap();
        assert_eq!(hash(ann, "ABCDEFGH"), hash(ann, "ABCDEFGH"));
        assert!(hash(ann, "ABCDEFGH") != hash(bob, "ABCDEFGH") && hash(ann, "ABCDEFGH") != hash(ann, "ABCDEFGA"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn every_code_is_read_as_it_is_shown(bytes in any::<[u8; 5]>()) {
            let code = BASE32_NOPAD.encode(&bytes);
            prop_assert_eq!(entered(&shown(&code)), Some(code));
        }

        #[test]
        fn any_text_is_read(typed in "\\PC{0,20}") {
            prop_assert!(entered(&typed).is_none_or(|code| code.len() == CHARS));
        }
    }
}
