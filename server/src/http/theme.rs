//! The switch of the theme, which is kept in a cookie.

use crate::AppState;
use crate::failure::Failure;
use crate::http::account_form::unreadable;
use crate::http::browser::THEME_COOKIE;
use crate::http::extract::read_form;
use crate::http::next::local;
use app::view::theme::Theme;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use domain::Problem;
use http::{HeaderValue, header};
use serde::Deserialize;

/// How long a theme is remembered, in seconds: one year.
const MAX_AGE_S: u32 = 365 * 24 * 60 * 60;

/// The form of the switch.
#[derive(Deserialize)]
struct ThemeForm {
    #[serde(default)]
    theme: String,
    /// The page that has the switch.
    #[serde(default)]
    next: String,
}

/// `POST /theme`: stores a theme in a cookie, or removes the cookie for that of the system, and leads back.
pub(crate) async fn set(State(app): State<AppState>, request: Request) -> Result<Response, Failure> {
    let (form, _) = read_form::<ThemeForm>(request).await.map_err(unreadable)?;
    let theme = Theme::parse(&form.theme).ok_or_else(|| Problem::invalid("theme", "This theme doesn't exist."))?;
    let max_age = if theme == Theme::System { 0 } else { MAX_AGE_S };
    let secure = if app.config.is_https() { "; Secure" } else { "" };
    let cookie =
        format!("{THEME_COOKIE}={}; Path=/; Max-Age={max_age}; HttpOnly; SameSite=Lax{secure}", theme.as_str());
    let mut response = Redirect::to(local(&form.next).unwrap_or("/")).into_response();
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    Ok(response)
}
