//! Sign-up: checks what was entered, counts the attempt and creates the account.

use super::attempts::{self, Attempt};
use super::{email, password};
use crate::AppState;
use crate::failure::Failure;
use domain::UserId;
use secrecy::{ExposeSecret as _, SecretString};
use store::account::{Created, NewAccount};

/// What a visitor entered to create an account.
pub(crate) struct SignUp<'a> {
    /// Email, trimmed.
    pub email: &'a str,
    /// Display name, trimmed; may be empty.
    pub name: &'a str,
    /// Password.
    pub password: SecretString,
}

/// The result of a sign-up.
pub(crate) enum SignUpOutcome {
    /// The account was created.
    Created(UserId),
    /// Fields are invalid: their names, each with an error message.
    Invalid(Vec<(&'static str, String)>),
    /// Too many attempts.
    Refused(Failure),
}

/// Returns the invalid fields, each with an error message.
fn check(new: &SignUp<'_>) -> Vec<(&'static str, String)> {
    let mut errors = Vec::new();
    if let Err(sentence) = email::check(new.email) {
        errors.push(("email", sentence.to_owned()));
    }
    if new.name.chars().count() > 80 || new.name.chars().any(char::is_control) {
        errors.push(("name", "Use at most 80 characters.".to_owned()));
    }
    let secret = new.password.expose_secret();
    if secret.chars().count() < password::MIN_CHARS {
        errors.push(("password", format!("Use at least {} characters.", password::MIN_CHARS)));
    } else if secret.len() > password::MAX_BYTES {
        errors.push(("password", "This password is too long.".to_owned()));
    }
    errors
}

/// Creates an account. `origin` is the keyed hash of the visitor's address.
pub(crate) async fn sign_up(app: &AppState, origin: &str, new: SignUp<'_>) -> Result<SignUpOutcome, Failure> {
    let errors = check(&new);
    if !errors.is_empty() {
        return Ok(SignUpOutcome::Invalid(errors));
    }
    if let Err(refused) = attempts::count_attempt(app, origin, Attempt::SignUp).await {
        return Ok(SignUpOutcome::Refused(refused));
    }
    let password_hash = app.passwords.hash(new.password).await?;
    let account = NewAccount {
        user_id: UserId::at(AppState::now()),
        email: new.email,
        name: new.name,
        password_hash: &password_hash,
        subject: &app.subject(new.email)?,
        // Anyone can enter any address, so it makes an admin only on the developer's own machine.
        is_admin: app.config.is_loopback() && app.config.admin_emails.contains(&new.email.to_lowercase()),
    };
    Ok(match store::account::create(&app.db, &account).await? {
        Created::Yes => SignUpOutcome::Created(account.user_id),
        Created::EmailTaken => {
            let message = "An account with this email already exists. Sign in instead.";
            SignUpOutcome::Invalid(vec![("email", message.to_owned())])
        }
    })
}
