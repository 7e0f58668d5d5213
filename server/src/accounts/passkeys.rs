//! Passkeys (WebAuthn): adding, signing in and confirming. They are discoverable, so that no address is entered, and verify their user, so
//! that they are two factors at once. A ceremony begins and finishes in two requests; what the second is checked against is in Postgres.

use super::attempts::{self, Attempt};
use super::client::ClientInfo;
use super::rejection::Rejection;
use super::session::{self, Factors, NewToken};
use super::sign_in::{self, Completed, Proof};
use super::{activity, identities, tokens};
use crate::AppState;
use crate::failure::Failure;
use crate::mail::{self, Mail};
use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::text::{is_name_character, trim_name};
use domain::{Problem, SecurityEvent, UserId, Viewer};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use store::account::Removal;
use store::factor_challenge::{self, Ceremony, NewChallenge};
use store::passkey::{self, NewPasskey, PasskeyRow};
use time::Duration;
use tower_sessions::Session;
use uuid::Uuid;
use webauthn_rs::Webauthn;
use webauthn_rs::prelude::{
    AuthenticationResult, DiscoverableAuthentication, Passkey, PasskeyAuthentication, PasskeyRegistration,
    PublicKeyCredential, RegisterPublicKeyCredential, WebauthnError,
};

/// How long a ceremony can take. Browsers stop after five minutes.
const LIFETIME: Duration = Duration::minutes(5);
/// Maximum number of a user's passkeys.
const MAX: usize = 20;
/// Maximum length of a passkey's name in characters.
const MAX_NAME: usize = 60;

/// A ceremony that has begun: what the browser is called with, and the id to finish it with.
#[derive(Serialize)]
pub(crate) struct Begun {
    challenge_id: String,
    options: Value,
}

/// The end of a ceremony: its id, and the browser's response.
#[derive(Deserialize)]
pub(crate) struct Finish<T> {
    challenge_id: String,
    credential: T,
}

fn webauthn(app: &AppState) -> Result<&Webauthn, Failure> {
    app.relying_party.as_deref().ok_or_else(|| Problem::not_found("address").into())
}

/// Begins to add a passkey to the viewer's account.
///
/// # Errors
/// Returns a failure if the viewer has too many passkeys, or there were too many attempts.
pub(crate) async fn begin_registration(app: &AppState, client: &ClientInfo, viewer: &Viewer) -> Result<Begun, Failure> {
    let webauthn = webauthn(app)?;
    attempts::count_attempt(app, &client.origin, Attempt::Passkey).await?;
    let known = passkey::list(&app.db, viewer.user_id).await?;
    if known.len() >= MAX {
        return Err(Problem::invalid("", format!("You have {MAX} passkeys, the maximum. Remove one first.")).into());
    }
    let exclude = known.into_iter().map(|row| row.credential_id).collect();
    let (creation, state) = webauthn
        .start_passkey_registration(viewer.user_id.into(), &viewer.email, viewer.display_name(), Some(exclude))
        .context("a passkey can't be registered")?;
    let mut options = to_json(&creation)?;
    // The library leaves it to the authenticator whether a passkey is found without an address.
    if let Some(selection) = options.pointer_mut("/publicKey/authenticatorSelection").and_then(Value::as_object_mut) {
        selection.insert("residentKey".to_owned(), "required".into());
        selection.insert("requireResidentKey".to_owned(), true.into());
    }
    let challenge_id = keep(app, Ceremony::Register, Some(viewer.user_id), &state).await?;
    Ok(Begun { challenge_id, options })
}

/// Adds a passkey to the viewer's account. The session has then been proved with it, and all others end, because they were begun without it.
///
/// # Errors
/// Returns a rejection if the browser's response isn't valid, or the session has ended.
pub(crate) async fn finish_registration(
    app: &AppState,
    session: &Session,
    client: &ClientInfo,
    viewer: &Viewer,
    name: &str,
    finish: Finish<RegisterPublicKeyCredential>,
) -> Result<(), Rejection> {
    let webauthn = webauthn(app)?;
    let (user_id, now) = (viewer.user_id, AppState::now());
    let state: PasskeyRegistration = take(app, Ceremony::Register, Some(user_id), &finish.challenge_id).await?;
    let made = webauthn.finish_passkey_registration(&finish.credential, &state).map_err(|error| refused(&error))?;
    let name = match shortened(name) {
        name if name.is_empty() => "Passkey".to_owned(),
        name => name,
    };
    let new = NewPasskey {
        credential_id: made.cred_id(),
        passkey_id: Uuid::now_v7(),
        user_id,
        name: &name,
        credential: &to_json(&made)?,
        now,
    };
    let token = NewToken::draw(session).await?;
    let mut tx = store::begin(&app.db).await?;
    token.rotate(&mut tx, session, user_id, Factors::Two).await?;
    if !passkey::add(&mut tx, &new).await? {
        return Err(Rejection::invalid("", "This passkey belongs to an account already."));
    }
    store::session::end_others(&mut tx, user_id, &token.hash()).await?;
    let mail = Mail::FactorAdded { factor: factor(&name), at: now };
    mail::queue_to(&mut tx, user_id, &viewer.email, mail, now).await?;
    tx.commit().await?;
    token.store_in(session).await?;
    activity::record(app, Some(user_id), SecurityEvent::FactorAdded, client).await;
    Ok(())
}

/// Begins to sign in with a passkey.
///
/// # Errors
/// Returns a 429 problem if there were too many attempts.
pub(crate) async fn begin_sign_in(app: &AppState, client: &ClientInfo) -> Result<Begun, Failure> {
    let webauthn = webauthn(app)?;
    attempts::count_attempt(app, &client.origin, Attempt::Passkey).await?;
    let (request, state) = webauthn.start_discoverable_authentication().context("a sign-in can't begin")?;
    let challenge_id = keep(app, Ceremony::SignIn, None, &state).await?;
    Ok(Begun { challenge_id, options: to_json(&request)? })
}

/// Signs in with a passkey.
///
/// # Errors
/// Returns a rejection if the browser's response isn't valid or the passkey isn't known.
pub(crate) async fn finish_sign_in(
    app: &AppState,
    session: &Session,
    client: &ClientInfo,
    finish: Finish<PublicKeyCredential>,
) -> Result<Completed, Rejection> {
    let webauthn = webauthn(app)?;
    let state: DiscoverableAuthentication = take(app, Ceremony::SignIn, None, &finish.challenge_id).await?;
    let (user_id, credential_id) =
        webauthn.identify_discoverable_authentication(&finish.credential).map_err(|error| refused(&error))?;
    // Before the passkey, so that what ends sessions and removes passkeys meanwhile also stops this sign-in.
    let user = store::account::credentials_of(&app.db, user_id.into()).await?.ok_or_else(unknown)?;
    let row = passkey::by_credential(&app.db, user_id.into(), credential_id).await?.ok_or_else(unknown)?;
    let known: Passkey = from_json(row.credential)?;
    let checked = webauthn.finish_discoverable_authentication_v2(&finish.credential, state, &known);
    match checked {
        Ok(result) => mark_used(app, known, &result).await?,
        Err(error) => {
            activity::record(app, Some(user_id.into()), SecurityEvent::SignInFailed, client).await;
            return Err(refused(&error));
        }
    }
    sign_in::complete(app, session, client, &user, Proof::Passkey).await
}

/// Begins to confirm the viewer's identity with one of their passkeys.
///
/// # Errors
/// Returns a failure if the viewer has no passkey, or there were too many attempts.
pub(crate) async fn begin_confirmation(app: &AppState, client: &ClientInfo, viewer: &Viewer) -> Result<Begun, Failure> {
    let webauthn = webauthn(app)?;
    attempts::count_attempt(app, &client.origin, Attempt::Passkey).await?;
    let known = of_user(app, viewer.user_id).await?;
    if known.is_empty() {
        return Err(Problem::invalid("", "You have no passkey yet. Confirm another way.").into());
    }
    let (request, state) = webauthn.start_passkey_authentication(&known).context("a confirmation can't begin")?;
    let challenge_id = keep(app, Ceremony::Confirm, Some(viewer.user_id), &state).await?;
    Ok(Begun { challenge_id, options: to_json(&request)? })
}

/// Confirms the viewer's identity with one of their passkeys. An identity at another service that waits for it is connected.
///
/// # Errors
/// Returns a rejection if the browser's response isn't valid, or the session has ended.
pub(crate) async fn finish_confirmation(
    app: &AppState,
    session: &Session,
    client: &ClientInfo,
    viewer: &Viewer,
    finish: Finish<PublicKeyCredential>,
) -> Result<(), Rejection> {
    let webauthn = webauthn(app)?;
    let user_id = viewer.user_id;
    let state: PasskeyAuthentication = take(app, Ceremony::Confirm, Some(user_id), &finish.challenge_id).await?;
    let result = webauthn.finish_passkey_authentication(&finish.credential, &state).map_err(|error| refused(&error))?;
    // It may have been removed meanwhile.
    let row = passkey::by_credential(&app.db, user_id, result.cred_id()).await?.ok_or_else(unknown)?;
    mark_used(app, from_json(row.credential)?, &result).await?;
    session::reauthenticate(app, session, user_id, Factors::Two).await?;
    Ok(identities::connect_kept(app, session, client, (user_id, viewer.email.as_str())).await?)
}

/// Renames one of the viewer's passkeys.
///
/// # Errors
/// Returns a rejection if the name is empty, or the viewer has no such passkey.
pub(crate) async fn rename(app: &AppState, viewer: &Viewer, passkey_id: Uuid, name: &str) -> Result<(), Rejection> {
    let name = shortened(name);
    if name.is_empty() {
        return Err(Rejection::invalid("", "Enter a name for the passkey."));
    }
    match passkey::rename(&app.db, viewer.user_id, passkey_id, &name).await? {
        true => Ok(()),
        false => Err(Problem::not_found("passkey").into()),
    }
}

/// Removes one of the viewer's passkeys. Without another second factor, their sessions count as proved with one from then on.
///
/// # Errors
/// Returns a rejection if it is the viewer's only way to sign in, the viewer has no such passkey, or the session has ended.
pub(crate) async fn remove(
    app: &AppState,
    session: &Session,
    client: &ClientInfo,
    viewer: &Viewer,
    passkey_id: Uuid,
) -> Result<(), Rejection> {
    let (user_id, now) = (viewer.user_id, AppState::now());
    let mut tx = store::begin(&app.db).await?;
    session::lock(&mut tx, session, user_id).await?;
    let name = match passkey::remove(&mut tx, user_id, passkey_id).await? {
        Removal::Removed(name) => name,
        Removal::Unknown => return Err(Problem::not_found("passkey").into()),
        Removal::LastWayIn => {
            return Err(Rejection::invalid("", "This passkey is your only way to sign in. Set a password first."));
        }
    };
    store::session::forget_second_factor(&mut tx, user_id).await?;
    let mail = Mail::FactorRemoved { factor: factor(&name), at: now };
    mail::queue_to(&mut tx, user_id, &viewer.email, mail, now).await?;
    tx.commit().await?;
    activity::record(app, Some(user_id), SecurityEvent::FactorRemoved, client).await;
    Ok(())
}

async fn of_user(app: &AppState, user_id: UserId) -> Result<Vec<Passkey>, Failure> {
    let rows: Vec<PasskeyRow> = passkey::list(&app.db, user_id).await?;
    Ok(rows.into_iter().map(|row| from_json(row.credential)).collect::<anyhow::Result<_>>()?)
}

/// Stores the counter of a passkey that was just used. A passkey whose counter doesn't increase is refused before, because it was copied.
async fn mark_used(app: &AppState, mut used: Passkey, result: &AuthenticationResult) -> Result<(), Failure> {
    used.update_credential(result);
    passkey::mark_used(&app.db, used.cred_id(), &to_json(&used)?, AppState::now()).await?;
    Ok(())
}

/// Stores what the response of a ceremony is checked against, and returns the ceremony's id.
async fn keep<T: Serialize>(
    app: &AppState,
    ceremony: Ceremony,
    user_id: Option<UserId>,
    state: &T,
) -> Result<String, Failure> {
    let challenge_id = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
    let challenge_hash = tokens::token_hash(&challenge_id).context("an id that can't be read")?;
    let now = AppState::now();
    let new = NewChallenge {
        challenge_hash: &challenge_hash,
        ceremony,
        user_id,
        state: &to_json(state)?,
        now,
        expires_at: now + LIFETIME,
    };
    factor_challenge::begin(&app.db, &new).await?;
    Ok(challenge_id)
}

/// Takes what the response of a ceremony is checked against.
async fn take<T: DeserializeOwned>(
    app: &AppState,
    ceremony: Ceremony,
    user_id: Option<UserId>,
    challenge_id: &str,
) -> Result<T, Rejection> {
    let expired = || Rejection::invalid("", "This took too long. Try again.");
    let hash = tokens::token_hash(challenge_id).ok_or_else(expired)?;
    let state = factor_challenge::take(&app.db, &hash, ceremony, user_id, AppState::now()).await?;
    Ok(from_json(state.ok_or_else(expired)?)?)
}

fn to_json<T: Serialize>(value: &T) -> anyhow::Result<Value> {
    serde_json::to_value(value).context("a passkey's data can't be stored")
}

fn from_json<T: DeserializeOwned>(value: Value) -> anyhow::Result<T> {
    serde_json::from_value(value).context("a passkey's data can't be read")
}

fn refused(error: &WebauthnError) -> Rejection {
    tracing::warn!(target: "security", event = "passkey_refused", %error, "passkey refused");
    Rejection::invalid("", "This passkey wasn't accepted. Try again, or sign in another way.")
}

fn unknown() -> Rejection {
    Rejection::invalid("", "This passkey isn't registered here. It may have been removed. Sign in another way.")
}

/// Returns the name of a passkey in mails.
fn factor(name: &str) -> String {
    format!("The passkey \"{name}\"")
}

/// Returns a name as it is stored.
fn shortened(name: &str) -> String {
    let name: String = trim_name(name).chars().filter(|c| is_name_character(*c)).take(MAX_NAME).collect();
    trim_name(&name).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_one_line_and_sixty_characters() {
        assert_eq!(shortened("  My\nlaptop "), "Mylaptop");
        assert_eq!(shortened(&"ä".repeat(80)).chars().count(), 60);
        assert_eq!(shortened(" \n "), "");
        assert_eq!(shortened("My \u{202e}laptop"), "My laptop");
        assert_eq!(shortened("\u{200d} \u{202e}\u{200d}"), "");
    }
}
