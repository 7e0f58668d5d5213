//! The display name and the time zone.

use super::rejection::Rejection;
use super::time_zone;
use crate::AppState;
use crate::mail::{self, Mail};
use domain::Viewer;
use domain::text::is_name_character;

/// Maximum length of a display name in characters.
const MAX_NAME: usize = 80;

/// Checks a display name and returns an error message if it is invalid.
pub(crate) fn check_name(name: &str) -> Result<(), &'static str> {
    let is_valid = name.chars().count() <= MAX_NAME && name.chars().all(is_name_character);
    if is_valid { Ok(()) } else { Err("Use at most 80 characters, without control characters and invisible ones.") }
}

/// Sets the display name, which may be empty, and notifies the user by mail.
///
/// # Errors
/// Returns a rejection if the name is invalid.
pub(crate) async fn set_name(app: &AppState, viewer: &Viewer, name: &str) -> Result<(), Rejection> {
    check_name(name).map_err(|sentence| Rejection::invalid("name", sentence))?;
    if name == viewer.name {
        return Ok(());
    }
    let mut tx = store::begin(&app.db).await?;
    store::account::set_name(&mut tx, viewer.user_id, name).await?;
    let shown = if name.is_empty() { "(none)" } else { name };
    let mail = Mail::NameChanged { name: shown.to_owned() };
    mail::queue_to(&mut tx, viewer.user_id, &viewer.email, mail, AppState::now()).await?;
    Ok(tx.commit().await?)
}

/// Sets the time zone that a user chose. "UTC" means that none was chosen, so UTC itself is stored as "Etc/UTC".
///
/// # Errors
/// Returns a rejection if Postgres has the zone under none of its names.
pub(crate) async fn set_time_zone(app: &AppState, viewer: &Viewer, zone: &str) -> Result<(), Rejection> {
    let zone = zone.trim();
    if !time_zone::is_name(zone) {
        return Err(Rejection::invalid("zone", "Enter a time zone like Europe/Berlin or Asia/Kathmandu."));
    }
    let chosen = if zone == "UTC" { "Etc/UTC" } else { zone };
    match store_time_zone(app, viewer, chosen).await? {
        true => Ok(()),
        false => {
            let message =
                "This server doesn't support this time zone, so nothing was changed. Choose another one, or UTC.";
            Err(Rejection::invalid("zone", message))
        }
    }
}

/// Sets the time zone of the user's browser. One that Postgres doesn't have counts as UTC, which the usage page shows.
///
/// # Errors
/// Returns a rejection if the text isn't a time zone's name.
pub(crate) async fn set_browser_time_zone(app: &AppState, viewer: &Viewer, zone: &str) -> Result<(), Rejection> {
    if !time_zone::is_name(zone) {
        return Err(Rejection::invalid("zone", "This isn't the name of a time zone."));
    }
    if !store_time_zone(app, viewer, zone).await? {
        tracing::info!(zone, "time zone unknown to Postgres; UTC is used");
    }
    Ok(())
}

/// Stores a zone under the first of its names that Postgres has. Returns false if it has none.
async fn store_time_zone(app: &AppState, viewer: &Viewer, zone: &str) -> store::Result<bool> {
    for name in time_zone::names(zone) {
        if store::account::set_time_zone(&app.db, viewer.user_id, name).await? {
            return Ok(true);
        }
    }
    Ok(false)
}
