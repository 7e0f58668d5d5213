//! The import of prices: compares an uploaded catalogue with the models in the database, and applies the changes that the admin has chosen.

use crate::AppState;
use crate::failure::Failure;
use crate::http::admin_form::{AdminForm, optional};
use crate::http::extract::SignedIn;
use crate::http::pages;
use app::page_context::FailedForm;
use app::view::provider::{FormResult, ImportView};
use axum::Form;
use axum::body::Body;
use axum::extract::{FromRequest as _, Multipart, Request, State};
use axum::response::{IntoResponse, Redirect, Response};
use domain::Problem;
use domain::catalogue::{self, Difference};
use domain::money::count;
use http::header;
use serde::Deserialize;
use time::{Date, OffsetDateTime};

/// Maximum size of a submitted catalogue.
pub(crate) const MAX_BYTES: usize = 4 * 1024 * 1024;

/// The problem of chosen changes that no page of this app has sent.
const UNREADABLE: &str = "The form data is invalid. Compare the catalogue again.";

/// A catalogue pasted into a form.
#[derive(Deserialize)]
struct Pasted {
    #[serde(default)]
    catalogue: String,
}

/// Reads the catalogue from the request: a file or pasted text of a form, or the body itself if it is JSON. Returns `None` if it is too
/// large or isn't text.
async fn read(request: Request) -> Option<String> {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if kind.starts_with("application/json") {
        return String::from_request(request, &()).await.ok();
    }
    if !kind.starts_with("multipart/form-data") {
        return Form::<Pasted>::from_request(request, &()).await.ok().map(|Form(pasted)| pasted.catalogue);
    }
    let mut fields = Multipart::from_request(request, &()).await.ok()?;
    while let Some(field) = fields.next_field().await.ok()? {
        let is_catalogue = matches!(field.name(), Some("file" | "catalogue"));
        let text = field.text().await.ok()?;
        // The browser sends both fields, also empty ones.
        if is_catalogue && !text.trim().is_empty() {
            return Some(text);
        }
    }
    Some(String::new())
}

/// `POST /admin/models/import`: compares a catalogue with the models in the database and shows the differences. Changes nothing.
pub(crate) async fn compare(
    State(app): State<AppState>,
    SignedIn(_): SignedIn,
    request: Request,
) -> Result<Response, Failure> {
    let (parts, body) = request.into_parts();
    let page = Request::from_parts(parts.clone(), Body::empty());
    let entries = match read(Request::from_parts(parts, body)).await {
        None => Err("The catalogue couldn't be read. It must be text of at most 4 MiB.".to_owned()),
        Some(text) if text.trim().is_empty() => Err("Choose the catalogue's file, or paste its JSON.".to_owned()),
        Some(text) => catalogue::parse(&text).map_err(|error| format!("This is no price catalogue: {error}.")),
    };
    let entries = match entries {
        Ok(entries) => entries,
        Err(sentence) => {
            let form = FailedForm { values: Vec::new(), errors: vec![("catalogue", sentence)] };
            return Ok(pages::form_again_at(&app, page, "/admin/models", form).await);
        }
    };
    let now = AppState::now();
    let differences = store::catalogue::differences(&app.admin_db, &entries, now).await?;
    let differences = differences.into_iter().map(|difference| {
        let text = serde_json::to_string(&difference).unwrap_or_default();
        (difference, text)
    });
    let import = ImportView { models: entries.len(), differences: differences.collect(), today: now.date() };
    Ok(pages::form_result(&app, page, "/admin/models", FormResult::Import(import)).await)
}

/// Parses the day from which prices apply: now if the field is empty or names today, because past prices never change.
fn effective_at(text: &str, now: OffsetDateTime) -> Result<OffsetDateTime, Problem> {
    let format = time::macros::format_description!("[year]-[month]-[day]");
    let message = "Prices can't apply from a day in the past. No changes were saved.";
    let day = |text: &str| Date::parse(text, format).ok().filter(|day| *day >= now.date());
    let day = optional("effective_at", text, message, day)?;
    Ok(day.map_or(now, |day| day.midnight().assume_utc().max(now)))
}

/// `POST /admin/models/import/apply`: adds the chosen prices from a day on and sets the chosen end dates.
pub(crate) async fn apply(
    State(app): State<AppState>,
    AdminForm { admin, form, request }: AdminForm<Vec<(String, String)>>,
) -> Result<Response, Failure> {
    let now = AppState::now();
    let values = |name: &'static str| form.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str());
    let chosen: Result<Vec<Difference>, _> = values("choose").map(serde_json::from_str).collect();
    let from = effective_at(values("effective_at").next().unwrap_or_default(), now);
    let problem = match (chosen, from) {
        (Ok(chosen), _) if chosen.is_empty() => Problem::invalid("choose", "Choose at least one change."),
        (Err(_), _) => Problem::invalid("choose", UNREADABLE),
        // Escaped in JSON, so the check of forms doesn't see it. Postgres rejects it.
        (Ok(chosen), _) if chosen.iter().any(|difference| difference.model.0.contains('\0')) => {
            Problem::invalid("choose", UNREADABLE)
        }
        (_, Err(problem)) => problem,
        (Ok(chosen), Ok(from)) => {
            let applied = store::catalogue::apply(&app.db, Some(admin.user_id), &chosen, from, now).await?;
            if applied.kept == 0 {
                return Ok(Redirect::to("/admin/models?saved=yes").into_response());
            }
            let kept = count(applied.kept, "price was", "prices were");
            let sentence =
                format!("{kept} not added: another price starts at the same time, and prices are never edited.");
            Problem::invalid("effective_at", sentence)
        }
    };
    Ok(pages::problem(&app, request, problem).await)
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn prices_apply_from_now_or_a_later_day() {
        let now = datetime!(2026-11-27 10:30 UTC);
        for (text, expected) in [
            ("", Some(now)),
            ("2026-11-27", Some(now)),
            ("2026-12-01", Some(datetime!(2026-12-01 00:00 UTC))),
            ("2026-11-26", None),
            ("tomorrow", None),
        ] {
            assert_eq!(effective_at(text, now).ok(), expected, "{text}");
        }
    }
}
