//! Authenticator apps: time-based codes of six digits (TOTP, RFC 6238), with SHA-1 and steps of 30 seconds, which is what all apps support.
//! A code is accepted one step early or late, and each step only once.

use super::attempts::{self, Attempt};
use super::client::ClientInfo;
use super::rejection::Rejection;
use super::session::{self, Factors, NewToken};
use super::{activity, cipher, recovery, tokens};
use crate::AppState;
use crate::failure::Failure;
use crate::mail::{self, Mail};
use anyhow::Context as _;
use app::view::factors::{QrCode, TotpSetup};
use domain::{Problem, SecurityEvent, UserId, Viewer, brand};
use form_urlencoded::byte_serialize;
use std::fmt::Write as _;
use time::{Duration, OffsetDateTime};
use totp_rs::{Builder, Secret, Totp};
use tower_sessions::Session;

/// Bytes of a secret: as many as SHA-1 has, as RFC 4226 recommends.
const SECRET_BYTES: usize = 20;
/// Secrets that are encrypted again per query.
const BATCH: i64 = 500;
/// Time after which a secret that wasn't confirmed is replaced when the page is opened again in the same session.
const UNCONFIRMED: Duration = Duration::hours(1);
/// Name of the factor in mails.
const FACTOR: &str = "An authenticator app";

/// Returns the secret for the viewer's authenticator app, as a text and a QR code. `None` if they have an app already. The secret belongs
/// to this session; another session gets another secret.
///
/// # Errors
/// Returns a 401 problem if the session has ended, and a failure if the secret's key is no longer known.
pub(crate) async fn begin(app: &AppState, session: &Session, viewer: &Viewer) -> Result<Option<TotpSetup>, Failure> {
    let (user_id, now) = (viewer.user_id, AppState::now());
    if store::totp::is_confirmed(&app.db, user_id).await? {
        return Ok(None);
    }
    let token_hash = session::current_hash(session).ok_or_else(Problem::sign_in_required)?;
    let new = cipher::seal(&app.config.codes_key, user_id, &rand::random::<[u8; SECRET_BYTES]>())?;
    let begun = store::totp::begin(&app.db, user_id, &token_hash, &new, now - UNCONFIRMED, now).await?;
    let begun = begun.ok_or_else(Problem::sign_in_required)?;
    let secret = Secret::from(open(app, user_id, &begun)?).to_base32();
    let qr = draw(&app_url(&secret, &viewer.email))?;
    Ok(Some(TotpSetup { secret: in_groups(&secret), qr }))
}

/// Confirms the viewer's authenticator app by its first code. Returns recovery codes, which are shown once. The session has then been proved
/// with two factors. All others end, because they were begun without the app.
///
/// # Errors
/// Returns a rejection if the code is wrong, the app was confirmed before, the session has ended, or there were too many attempts.
pub(crate) async fn confirm(
    app: &AppState,
    session: &Session,
    client: &ClientInfo,
    viewer: &Viewer,
    typed: &str,
) -> Result<Vec<String>, Rejection> {
    let (user_id, now) = (viewer.user_id, AppState::now());
    let code = tokens::entered_code(typed)
        .ok_or_else(|| Rejection::invalid("code", "Enter the 6 digits that your app shows."))?;
    let attempt = || Attempt::SetUpTotp { user_id };
    attempts::count_attempt(app, &client.origin, attempt()).await?;
    let token = NewToken::draw(session).await?;
    let mut tx = store::begin(&app.db).await?;
    token.rotate(&mut tx, session, user_id, Factors::Two).await?;
    let begun = store::totp::load_begun(&mut tx, user_id, &token.hash()).await?;
    let begun = begun.ok_or_else(|| Rejection::invalid("", "Open this page again to set up an app."))?;
    let secret = open(app, user_id, &begun)?;
    let step = matching_step(secret, &code, now)?.ok_or_else(|| {
        Rejection::invalid(
            "code",
            "This code is wrong. Check that the clock of your device is right, and enter the next one.",
        )
    })?;
    if !store::totp::confirm(&mut tx, user_id, &token.hash(), step, now).await? {
        return Err(Rejection::invalid("", "Your authenticator app is set up already."));
    }
    let codes = recovery::replace(app, &mut tx, user_id).await?;
    store::session::end_others(&mut tx, user_id, &token.hash()).await?;
    let mail = Mail::FactorAdded { factor: FACTOR.to_owned(), at: now };
    mail::queue_to(&mut tx, user_id, &viewer.email, mail, now).await?;
    tx.commit().await?;
    token.store_in(session).await?;
    attempts::clear_attempts(app, &client.origin, attempt()).await;
    activity::record(app, Some(user_id), SecurityEvent::FactorAdded, client).await;
    Ok(codes)
}

/// Uses a code of a user's authenticator app, as [`tokens::entered_code`] returns it. Returns false if it is wrong, its step was used before,
/// or the user has no app.
pub(super) async fn take(app: &AppState, user_id: UserId, code: &str) -> anyhow::Result<bool> {
    let Some(stored) = store::totp::load(&app.db, user_id).await? else { return Ok(false) };
    let secret = open(app, user_id, &stored)?;
    match matching_step(secret, code, AppState::now())? {
        Some(step) => Ok(store::totp::use_step(&app.db, user_id, step).await?),
        None => Ok(false),
    }
}

/// Decrypts a user's secret with the current key, or with the one before it.
fn open(app: &AppState, user_id: UserId, sealed: &[u8]) -> anyhow::Result<Vec<u8>> {
    let opened = cipher::open(&app.config.codes_key, user_id, sealed);
    match &app.config.codes_key_previous {
        Some(previous) => opened.or_else(|_| cipher::open(previous, user_id, sealed)),
        None => opened,
    }
}

/// Encrypts the secrets of all apps with the current key that were encrypted with the one before it, so that it can be removed. Does nothing
/// without a previous key.
///
/// # Errors
/// Returns an error if a query fails.
pub(crate) async fn encrypt_again(app: &AppState) -> anyhow::Result<()> {
    let (Some(previous), current) = (&app.config.codes_key_previous, &app.config.codes_key) else { return Ok(()) };
    let (mut after, mut changed, mut unreadable) = (None, 0_u64, 0_u64);
    loop {
        let secrets = store::totp::list(&app.jobs_db, after, BATCH).await?;
        let Some((last, _)) = secrets.last() else { break };
        after = Some(*last);
        for (user_id, sealed) in &secrets {
            if cipher::open(current, *user_id, sealed).is_ok() {
                continue;
            }
            let Ok(secret) = cipher::open(previous, *user_id, sealed) else {
                unreadable += 1;
                continue;
            };
            let again = cipher::seal(current, *user_id, &secret)?;
            changed += u64::from(store::totp::replace(&app.jobs_db, *user_id, sealed, &again).await?);
        }
    }
    if unreadable > 0 {
        tracing::warn!(
            apps = unreadable,
            "secrets of authenticator apps that neither CODES_KEY nor CODES_KEY_PREVIOUS opens"
        );
    }
    tracing::info!(apps = changed, "secrets of authenticator apps are encrypted with CODES_KEY");
    Ok(())
}

/// Removes the viewer's authenticator app and recovery codes. Without another second factor, their sessions count as proved with one from then on.
///
/// # Errors
/// Returns a 401 problem if the session has ended.
pub(crate) async fn remove(
    app: &AppState,
    session: &Session,
    client: &ClientInfo,
    viewer: &Viewer,
) -> Result<(), Failure> {
    let now = AppState::now();
    let mut tx = store::begin(&app.db).await?;
    session::lock(&mut tx, session, viewer.user_id).await?;
    if !store::totp::remove(&mut tx, viewer.user_id).await? {
        return Ok(());
    }
    store::recovery_code::replace(&mut tx, viewer.user_id, &[], now).await?;
    store::session::forget_second_factor(&mut tx, viewer.user_id).await?;
    let mail = Mail::FactorRemoved { factor: FACTOR.to_owned(), at: now };
    mail::queue_to(&mut tx, viewer.user_id, &viewer.email, mail, now).await?;
    tx.commit().await?;
    activity::record(app, Some(viewer.user_id), SecurityEvent::FactorRemoved, client).await;
    Ok(())
}

/// Returns the step whose code this is: the current one, or the one before or after it.
fn matching_step(secret: Vec<u8>, code: &str, now: OffsetDateTime) -> anyhow::Result<Option<i64>> {
    let now = u64::try_from(now.unix_timestamp()).context("a time before 1970")?;
    Ok(generator(secret)?.check(code, now).map(i64::try_from).transpose()?)
}

/// SHA-1, 6 digits, steps of 30 seconds, one step of tolerance: the crate's defaults, which a test checks.
fn generator(secret: Vec<u8>) -> anyhow::Result<Totp> {
    Builder::new().with_secret(secret).build().map_err(|error| anyhow::anyhow!("a secret can't be used: {error}"))
}

/// Returns the URL that apps read from a QR code.
/// <https://github.com/google/google-authenticator/wiki/Key-Uri-Format>
fn app_url(secret: &str, email: &str) -> String {
    let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20");
    let (issuer, email) = (encoded(brand::NAME), encoded(email));
    format!("otpauth://totp/{issuer}:{email}?secret={secret}&issuer={issuer}")
}

/// Returns the secret in groups of four characters, for typing.
fn in_groups(secret: &str) -> String {
    let characters: Vec<char> = secret.chars().collect();
    characters.chunks(4).map(|group| group.iter().collect::<String>()).collect::<Vec<_>>().join(" ")
}

/// Draws a QR code: the path of its dark modules, each one unit wide.
fn draw(text: &str) -> anyhow::Result<QrCode> {
    let code = qrcode::QrCode::new(text)?;
    let (size, mut path) = (code.width(), String::new());
    for (index, module) in code.into_colors().into_iter().enumerate() {
        if module == qrcode::Color::Dark {
            write!(path, "M{} {}h1v1h-1z", index % size, index / size)?;
        }
    }
    Ok(QrCode { size, path })
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    /// The secret of RFC 6238, appendix B, whose codes there have eight digits; six are their last ones.
    const SECRET: &[u8; 20] = b"12345678901234567890";

    #[test]
    fn codes_are_those_of_the_rfc_and_work_one_step_early_or_late() {
        let step = |code: &str, at: OffsetDateTime| matching_step(SECRET.to_vec(), code, at).unwrap();
        for (at, code, counter) in [
            (datetime!(2005-03-18 1:58:31 UTC), "050471", 37_037_037),
            (datetime!(2005-03-18 1:58:29 UTC), "081804", 37_037_036),
            (datetime!(2033-05-18 3:33:20 UTC), "279037", 66_666_666),
        ] {
            for seconds in [-30, 0, 30] {
                assert_eq!(step(code, at + Duration::seconds(seconds)), Some(counter), "{code} {seconds}");
            }
            for seconds in [-61, 61] {
                assert_eq!(step(code, at + Duration::seconds(seconds)), None, "{code} {seconds}");
            }
        }
        for other in ["", "28708", "2870822", "+87082", "28 082", "abcdef"] {
            assert_eq!(step(other, datetime!(1970-01-01 0:00:59 UTC)), None, "{other}");
        }
    }

    #[test]
    fn apps_get_the_secret_by_a_url_or_typed() {
        let secret = Secret::from(SECRET.to_vec()).to_base32();
        assert_eq!(secret, "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        assert_eq!(in_groups(&secret), "GEZD GNBV GY3T QOJQ GEZD GNBV GY3T QOJQ");
        let url = app_url(&secret, "ann+x@example.com");
        assert!(url.contains(":ann%2Bx%40example.com?secret=GEZDGNBV") && !url.contains('+'), "{url}");
        let drawn = draw(&url).unwrap();
        assert!(drawn.size > 20 && drawn.path.starts_with("M0 0h1v1h-1zM1 0h1v1h-1z"), "{drawn:?}");
    }
}
