//! API keys of the signed-in user: creating, changing, pausing and revoking them. The secret is shown once and stored as a hash.

use super::activity;
use super::client::ClientInfo;
use super::rejection::Rejection;
use super::session;
use crate::AppState;
use crate::mail::{self, Mail};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::money::count;
use domain::text::{is_name_character, trim_name};
use domain::{ApiKeyId, Problem, SecurityEvent, Viewer, brand};
use sha2::{Digest as _, Sha256};
use store::api_key::{self, Creation, KeyScope, NewApiKey};
use time::{Duration, OffsetDateTime};
use tower_sessions::Session;

/// Maximum length of a key's name in characters.
const MAX_NAME: usize = 60;
/// Random bytes of a secret.
const SECRET_BYTES: usize = 32;
/// Characters of their base64url.
const SECRET_CHARS: usize = 43;
/// Random characters of a secret that lists show.
const SHOWN_CHARS: usize = 4;
/// Maximum number of characters of the brand in a secret.
const BRAND_CHARS: usize = 8;

/// Returns what all secrets of this deployment begin with, such as `sk-quotient-`, so that one that leaked into code can be found.
#[must_use]
pub(crate) fn secret_prefix() -> String {
    let brand: String = brand::NAME.chars().filter(char::is_ascii_alphanumeric).take(BRAND_CHARS).collect();
    match brand.to_ascii_lowercase().as_str() {
        "" => "sk-".to_owned(),
        brand => format!("sk-{brand}-"),
    }
}

/// Returns the stored hash of a secret; `None` if the text can't be one of this deployment.
pub(crate) fn secret_hash(secret: &str) -> Option<[u8; 32]> {
    let random = secret.strip_prefix(&secret_prefix())?;
    let is_random = random.len() == SECRET_CHARS && URL_SAFE_NO_PAD.decode(random).is_ok();
    is_random.then(|| Sha256::digest(secret).into())
}

/// Creates a secret.
fn new_secret() -> String {
    format!("{}{}", secret_prefix(), URL_SAFE_NO_PAD.encode(rand::random::<[u8; SECRET_BYTES]>()))
}

/// Returns the characters of a secret that lists show.
fn shown(secret: &str) -> String {
    secret.chars().take(secret_prefix().len() + SHOWN_CHARS).collect()
}

/// The fields of a key's form.
pub(crate) struct KeyForm {
    /// The name as it was typed.
    pub name: String,
    /// The key's scope and caps.
    pub scope: KeyScope,
}

impl KeyForm {
    /// Returns the name as it is stored.
    fn checked_name(&self) -> Result<String, Rejection> {
        let name: String = self.name.chars().filter(|c| is_name_character(*c)).collect();
        let name = trim_name(&name).to_owned();
        match name.chars().count() {
            0 => Err(Rejection::invalid("name", "Enter a name that says where you use the key.")),
            1..=MAX_NAME => Ok(name),
            _ => Err(Rejection::invalid("name", format!("Enter a name of up to {MAX_NAME} characters."))),
        }
    }
}

/// Creates a key for the viewer. Returns its name and its secret, which nothing can show again.
///
/// # Errors
/// Returns a rejection if the name is invalid, the viewer has as many keys as the plan allows, or the session has ended.
pub(crate) async fn create(
    app: &AppState,
    session: &Session,
    client: &ClientInfo,
    viewer: &Viewer,
    form: &KeyForm,
    lifetime: Option<Duration>,
) -> Result<(String, String), Rejection> {
    let (name, secret, now) = (form.checked_name()?, new_secret(), AppState::now());
    let hash = Sha256::digest(&secret).into();
    let new = NewApiKey {
        id: ApiKeyId::at(now),
        user_id: viewer.user_id,
        name: &name,
        prefix: &shown(&secret),
        secret_hash: &hash,
        scope: &form.scope,
        expires_at: lifetime.map(|lifetime| now + lifetime),
        now,
    };
    let mut tx = store::begin(&app.db).await?;
    session::lock(&mut tx, session, viewer.user_id).await?;
    match api_key::create(&mut tx, &new).await? {
        Creation::Created => {}
        Creation::TooMany(0) => {
            return Err(Rejection::invalid("", "Your plan doesn't include API keys. Upgrade to create one."));
        }
        Creation::TooMany(max) => {
            let message = format!(
                "Your plan allows {}. Revoke one first, or upgrade.",
                count(max.unsigned_abs().into(), "API key", "API keys")
            );
            return Err(Rejection::invalid("", message));
        }
        Creation::TooOften => {
            return Err(Rejection::invalid("", "You created many API keys today. Try again tomorrow."));
        }
    }
    let mail = Mail::ApiKeyCreated { key: name.clone(), at: now };
    mail::queue_to(&mut tx, viewer.user_id, &viewer.email, mail, now).await?;
    tx.commit().await?;
    activity::record(app, Some(viewer.user_id), SecurityEvent::ApiKeyCreated, client).await;
    Ok((name, secret))
}

/// Sets the name and the scope of one of the viewer's keys.
///
/// # Errors
/// Returns a rejection if the name is invalid or the viewer has no such key.
pub(crate) async fn update(app: &AppState, viewer: &Viewer, id: ApiKeyId, form: &KeyForm) -> Result<(), Rejection> {
    let name = form.checked_name()?;
    found(api_key::update(&app.db, viewer.user_id, id, &name, &form.scope).await?)
}

/// Pauses one of the viewer's keys.
///
/// # Errors
/// Returns a rejection if the viewer has no such key.
pub(crate) async fn pause(app: &AppState, viewer: &Viewer, id: ApiKeyId) -> Result<(), Rejection> {
    found(api_key::pause(&app.db, viewer.user_id, id, None, AppState::now()).await?)
}

/// Ends the pause of one of the viewer's keys.
///
/// # Errors
/// Returns a rejection if the viewer has no such key.
pub(crate) async fn resume(app: &AppState, viewer: &Viewer, id: ApiKeyId) -> Result<(), Rejection> {
    found(api_key::resume(&app.db, viewer.user_id, id).await?)
}

/// Revokes one of the viewer's keys permanently.
///
/// # Errors
/// Returns a rejection if the viewer has no such key.
pub(crate) async fn revoke(
    app: &AppState,
    client: &ClientInfo,
    viewer: &Viewer,
    id: ApiKeyId,
) -> Result<(), Rejection> {
    found(api_key::revoke(&app.db, viewer.user_id, id, AppState::now()).await?.is_some())?;
    activity::record(app, Some(viewer.user_id), SecurityEvent::ApiKeyRevoked, client).await;
    Ok(())
}

fn found(is_found: bool) -> Result<(), Rejection> {
    if is_found { Ok(()) } else { Err(Problem::not_found("API key").into()) }
}

/// Returns whether a key's last use is old enough to be recorded again.
pub(crate) fn is_use_due(last_used_at: Option<OffsetDateTime>, now: OffsetDateTime) -> bool {
    last_used_at.is_none_or(|at| now - at >= Duration::MINUTE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_secret_is_recognized_and_its_prefix_shows_only_its_first_characters() {
        let (secret, other) = (new_secret(), new_secret());
        assert_ne!(secret_hash(&secret).unwrap(), secret_hash(&other).unwrap());
        assert!(secret.starts_with(&secret_prefix()) && secret.starts_with(&shown(&secret)));
        assert_eq!(shown(&secret).len(), secret_prefix().len() + SHOWN_CHARS);
        for bad in ["", "sk-", &secret[1..], &secret[..secret.len() - 1], &format!("{secret}A"), &format!("{secret} ")]
        {
            assert_eq!(secret_hash(bad), None, "{bad}");
        }
    }

    #[test]
    fn names_have_one_to_sixty_characters() {
        let form = |name: &str| KeyForm { name: name.to_owned(), scope: KeyScope::default() };
        assert_eq!(form(" My\neditor ").checked_name().ok().as_deref(), Some("Myeditor"));
        for bad in ["", " \n ", &"ä".repeat(61)] {
            assert!(form(bad).checked_name().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_recognizing_a_secret_panic(text in "\\PC{0,80}") {
            let _ = secret_hash(&text);
            let _ = secret_hash(&format!("{}{text}", secret_prefix()));
        }
    }
}
