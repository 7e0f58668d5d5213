//! Sign-up: checks what was entered, counts the attempt and creates the account with the mail that verifies its address.

use super::attempts::{self, Attempt};
use super::client::ClientInfo;
use super::password::Checked;
use super::rejection::Rejection;
use super::session::{self, Factors};
use super::{activity, breached_passwords, captcha, email, password_rules, profile, sign_in, verify};
use crate::AppState;
use domain::{SecurityEvent, UserId, brand};
use secrecy::SecretString;
use store::account::{self, Created, NewAccount};
use time::Duration;
use tower_sessions::Session;

/// Age up to which an account is signed in to by the form that created it: two submissions at once both succeed (field note 72).
const JUST_CREATED: Duration = Duration::minutes(1);

/// What a visitor entered to create an account.
pub(crate) struct SignUp<'a> {
    /// Email, as [`email::entered`] returns it.
    pub email: &'a str,
    /// Display name, trimmed; may be empty.
    pub name: &'a str,
    /// Password.
    pub password: SecretString,
    /// The version of the terms that the form's page showed; empty if the form had none.
    pub terms: &'a str,
    /// What the captcha's widget returned; empty without one.
    pub captcha: &'a str,
    /// The path of the plan that was chosen before; the link in the mail leads on to it.
    pub chosen_plan: Option<&'a str>,
}

/// Creates an account and signs in.
///
/// # Errors
/// Returns a rejection if fields are invalid, the address has an account, or there were too many attempts.
pub(crate) async fn sign_up(
    app: &AppState,
    session: &Session,
    client: &ClientInfo,
    new: SignUp<'_>,
) -> Result<(), Rejection> {
    let errors = check(&new);
    if !errors.is_empty() {
        return Err(Rejection::Invalid(errors));
    }
    attempts::count_attempt(app, &client.origin, Attempt::SignUp).await?;
    captcha::check(app.captcha.as_deref(), new.captcha).await?;
    breached_passwords::check(app.breached_passwords.as_deref(), &new.password).await?;
    let password_hash = app.passwords.hash(new.password.clone()).await?;
    let user_id = match create(app, client, &new, &password_hash).await? {
        Some(user_id) => user_id,
        None => created_just_now(app, client, &new).await?.ok_or_else(taken)?,
    };
    session::begin(app, session, user_id, client, Factors::One).await?;
    sign_in::remember_browser(app, client, user_id).await?;
    activity::record(app, Some(user_id), SecurityEvent::SignIn, client).await;
    Ok(())
}

/// Returns the invalid fields, each with an error message.
fn check(new: &SignUp<'_>) -> Vec<(&'static str, String)> {
    let mut errors = Vec::new();
    if new.terms != brand::TERMS_VERSION {
        errors.push(("", terms_changed("create the account again")));
    }
    if let Err(sentence) = email::check_new(new.email) {
        errors.push(("email", sentence.to_owned()));
    }
    if let Err(sentence) = profile::check_name(new.name) {
        errors.push(("name", sentence.to_owned()));
    }
    if let Err(sentence) = password_rules::check(&new.password, new.email) {
        errors.push(("password", sentence));
    }
    errors
}

/// Returns the sentence for a visitor whose page showed another version of the terms than the current one, with what to do after reading it.
pub(super) fn terms_changed(next_step: &str) -> String {
    format!(
        "The terms have changed since this page was opened. Read the version of {}, then {next_step}.",
        brand::TERMS_VERSION
    )
}

/// Creates the account. Returns `None` if the address has one.
async fn create(
    app: &AppState,
    client: &ClientInfo,
    new: &SignUp<'_>,
    password_hash: &str,
) -> Result<Option<UserId>, Rejection> {
    let user_id = UserId::at(AppState::now());
    let account = NewAccount {
        user_id,
        email: new.email,
        name: new.name,
        password_hash: Some(password_hash),
        // Until the address is verified.
        subject: &app.own_subject(user_id)?,
        // Anyone can enter any address, so it makes an admin only on the developer's own machine.
        is_admin: app.config.is_loopback() && app.config.admin_emails.contains(&new.email.to_lowercase()),
        email_verified_at: None,
        address_hash: &app.subject(new.email)?,
        sign_up_block: Some(&client.block),
        accepted_terms: Some((new.terms, AppState::now())),
    };
    let mut tx = store::begin(&app.db).await?;
    match account::create(&mut tx, &account).await? {
        Created::Yes => {}
        Created::EmailTaken => return Ok(None),
    }
    verify::send(app, &mut tx, user_id, new.email, new.chosen_plan).await?;
    tx.commit().await?;
    Ok(Some(user_id))
}

/// Returns the account of the address if the same form created it a moment ago: the password fits.
async fn created_just_now(app: &AppState, client: &ClientInfo, new: &SignUp<'_>) -> Result<Option<UserId>, Rejection> {
    let found = account::credentials(&app.db, new.email).await?;
    let Some(found) = found.filter(|found| AppState::now() - found.created_at < JUST_CREATED) else {
        return Ok(None);
    };
    // A check of a password like any other.
    let attempt = Attempt::Password { user_id: found.user_id };
    attempts::count_attempt(app, &client.origin, attempt).await?;
    let checked = app.passwords.check(new.password.clone(), found.password_hash).await?;
    let is_right =
        matches!(checked, Checked::Right { .. }) && !store::totp::is_confirmed(&app.db, found.user_id).await?;
    Ok(is_right.then_some(found.user_id))
}

fn taken() -> Rejection {
    Rejection::invalid("email", "An account with this email already exists. Sign in instead.")
}
