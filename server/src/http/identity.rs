//! Handlers of sign-in with another service, and of the connected accounts in the settings.

use crate::AppState;
use crate::accounts::attempts::{self, Attempt};
use crate::accounts::client::ClientInfo;
use crate::accounts::external::{self, Outcome};
use crate::accounts::identities;
use crate::accounts::rejection::Rejection;
use crate::accounts::session::{self, Factors};
use crate::config::IdentityProvider;
use crate::failure::{Failure, internal};
use crate::http::account_form::{reject, unreadable};
use crate::http::auth::signed_in;
use crate::http::browser::{self, client_info, cookie};
use crate::http::current_user::CurrentUser;
use crate::http::extract::{Id, SignedIn, read_form};
use crate::http::next::{chosen_plan, local, second_factor_page, with_next};
use crate::identity::IdentityError;
use crate::identity::flow::{self, Proved, Returned};
use crate::identity::providers::Provider;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Redirect, Response};
use domain::{Problem, UserId, Viewer};
use http::{HeaderMap, HeaderValue, header};
use serde::Deserialize;
use store::sign_in_state::{Purpose, SignInState};
use tower_sessions::Session;

const SECURITY: &str = "/settings/security";
/// Lifetime of the cookie that binds a sign-in to its browser, in seconds.
const MAX_AGE_S: u32 = 600;
/// Maximum length of a version of the terms, which is a day.
const MAX_TERMS: usize = 10;
/// Maximum length of a provider's error code in the log.
const MAX_ERROR: usize = 60;

/// The form of a provider's button.
#[derive(Deserialize)]
struct BeginForm {
    #[serde(default)]
    next: String,
    /// The version of the terms that the button's page showed; empty if the button creates no accounts.
    #[serde(default)]
    terms: String,
    /// Not empty if a signed-in user proves again who they are.
    #[serde(default)]
    confirm: String,
}

fn find<'a>(app: &'a AppState, id: &str) -> Result<&'a Provider, Problem> {
    app.identities.get(id).ok_or_else(|| Problem::not_found("page"))
}

/// The name of the cookie that binds a sign-in to its browser.
fn cookie_name(app: &AppState) -> &'static str {
    if app.config.is_https() { "__Host-sign-in" } else { "sign-in" }
}

/// What the cookie of a sign-in has, as `BROWSER.TERMS`.
#[derive(Default)]
struct SignInCookie {
    /// Binds the sign-in to the browser; `None` without a cookie.
    browser: Option<String>,
    /// The version of the terms that the browser's last page with a provider's button showed; may be empty.
    terms: String,
}

impl SignInCookie {
    fn read(app: &AppState, headers: &HeaderMap) -> Self {
        let Some(value) = cookie(headers, cookie_name(app)) else { return Self::default() };
        let (browser, terms) = value.split_once('.').unwrap_or((value.as_str(), ""));
        Self { browser: Some(browser.to_owned()), terms: terms.to_owned() }
    }

    /// Notes the version that a form names. Anyone can write it, so only the characters of a date are kept.
    fn note_terms(self, shown: &str) -> Self {
        let terms: String = shown.chars().filter(|c| c.is_ascii_digit() || *c == '-').take(MAX_TERMS).collect();
        if terms.is_empty() { self } else { Self { terms, ..self } }
    }
}

/// `POST /sign-in/with/{provider}`: redirects to the provider's page.
pub(crate) async fn begin(
    State(app): State<AppState>,
    CurrentUser(viewer): CurrentUser,
    Id(id): Id<String>,
    request: Request,
) -> Result<Response, Failure> {
    let provider = find(&app, &id)?;
    let (form, again) = read_form::<BeginForm>(request).await.map_err(unreadable)?;
    let (page, purpose) = match viewer {
        Some(viewer) if !form.confirm.is_empty() => ("/sign-in/confirm", Purpose::Confirm(viewer.user_id)),
        _ => ("/sign-in", Purpose::SignIn),
    };
    let (client, known) = (client_info(&app, &again)?, SignInCookie::read(&app, again.headers()));
    let known = known.note_terms(&form.terms);
    let next = local(&form.next).unwrap_or_default();
    match start(&app, &client, provider, (purpose, next), known).await {
        Ok(response) => Ok(response),
        Err(rejection) => Ok(reject(&app, again, page, vec![("next", next.to_owned())], rejection).await),
    }
}

/// `POST /settings/identities/{provider}/link`: redirects to the provider's page, to connect an account there.
pub(crate) async fn link(
    State(app): State<AppState>,
    SignedIn(viewer): SignedIn,
    Id(id): Id<String>,
    request: Request,
) -> Result<Response, Failure> {
    let provider = find(&app, &id)?;
    let (client, known) = (client_info(&app, &request)?, SignInCookie::read(&app, request.headers()));
    match start(&app, &client, provider, (Purpose::Link(viewer.user_id), ""), known).await {
        Ok(response) => Ok(response),
        Err(rejection) => Ok(reject(&app, request, SECURITY, Vec::new(), rejection).await),
    }
}

/// `POST /settings/identities/{provider}/unlink`: disconnects the user's account at the provider.
pub(crate) async fn unlink(
    State(app): State<AppState>,
    SignedIn(viewer): SignedIn,
    session: Session,
    Id(id): Id<String>,
    request: Request,
) -> Result<Response, Failure> {
    let service = &find(&app, &id)?.config;
    let client = client_info(&app, &request)?;
    match identities::unlink(&app, &session, &client, &viewer, service).await {
        Ok(()) => Ok(Redirect::to("/settings/security?saved=disconnected").into_response()),
        Err(rejection) => Ok(reject(&app, request, SECURITY, Vec::new(), rejection).await),
    }
}

/// Counts the attempt, stores the state that the browser must return with, and redirects it to the provider. `known` is the value of the
/// browser's cookie.
async fn start(
    app: &AppState,
    client: &ClientInfo,
    provider: &Provider,
    (purpose, next): (Purpose, &str),
    known: SignInCookie,
) -> Result<Response, Rejection> {
    attempts::count_attempt(app, &client.origin, Attempt::External).await?;
    let name = cookie_name(app);
    let SignInCookie { browser, terms } = known;
    let begun = flow::begin(app, provider, purpose, next, browser).await;
    let begun = begun.map_err(|error| refused(&provider.config, error))?;
    let secure = if app.config.is_https() { "; Secure" } else { "" };
    let value = format!("{}.{terms}", begun.browser);
    let cookie = format!("{name}={value}; Path=/; Max-Age={MAX_AGE_S}; HttpOnly; SameSite=Lax{secure}");
    let mut response = Redirect::to(&begun.url).into_response();
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

/// Reads the parameters with which a browser returns. `browser` is the part of its cookie that binds the sign-in to it.
fn returned(browser: Option<String>, request: &Request) -> Returned {
    let mut returned = Returned { browser, ..Returned::default() };
    for (name, value) in form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes()) {
        match &*name {
            "state" => returned.state = value.into_owned(),
            "code" => returned.code = Some(value.into_owned()),
            "iss" => returned.issuer = Some(value.into_owned()),
            // Anyone can write it, so only the characters of error codes are kept.
            "error" => {
                let is_plain = |c: &char| c.is_ascii_alphanumeric() || *c == '_';
                returned.error = Some(value.chars().filter(is_plain).take(MAX_ERROR).collect());
            }
            _ => {}
        }
    }
    returned
}

/// `GET /sign-in/callback/{provider}`: a browser returns from a provider.
pub(crate) async fn callback(
    State(app): State<AppState>,
    CurrentUser(viewer): CurrentUser,
    session: Session,
    Id(id): Id<String>,
    request: Request,
) -> Result<Response, Failure> {
    let provider = find(&app, &id)?;
    let SignInCookie { browser, terms } = SignInCookie::read(&app, request.headers());
    let returned = returned(browser, &request);
    let Some(state) = flow::take(&app, provider, &returned).await? else {
        let message = "This sign-in has expired or was used before. Start again.";
        return Ok(reject(&app, request, "/sign-in", Vec::new(), Rejection::invalid("", message)).await);
    };
    let page = match state.purpose {
        Purpose::SignIn => "/sign-in",
        _ if viewer.is_none() => "/sign-in",
        Purpose::Link(_) => SECURITY,
        Purpose::Confirm(_) => "/sign-in/confirm",
    };
    let next = state.next.clone();
    let mut client = client_info(&app, &request)?;
    let cookie = browser::remember(&app, &request, &mut client);
    let browser = Browser { client, cookie, session, viewer, terms };
    match finish(&app, browser, provider, state, returned).await {
        Ok(response) => Ok(response),
        Err(rejection) => Ok(reject(&app, request, page, vec![("next", next)], rejection).await),
    }
}

/// The browser that returns from a provider.
struct Browser {
    client: ClientInfo,
    /// The cookie by which it is recognized after a sign-in.
    cookie: Option<HeaderValue>,
    session: Session,
    viewer: Option<Viewer>,
    /// The version of the terms that the page with the provider's button showed; empty if it isn't known.
    terms: String,
}

/// Verifies the identity and performs the action for which the sign-in was begun.
async fn finish(
    app: &AppState,
    browser: Browser,
    provider: &Provider,
    state: SignInState,
    returned: Returned,
) -> Result<Response, Rejection> {
    let Browser { client, cookie, session, viewer, terms } = browser;
    // The user may have signed out meanwhile, or signed in to another account.
    let viewer_of = |user_id: UserId| {
        let same = viewer.filter(|viewer| viewer.user_id == user_id);
        same.ok_or_else(|| Rejection::from(Problem::sign_in_required()))
    };
    let (purpose, next) = (state.purpose, state.next.clone());
    let proved = flow::prove(app, provider, &state, returned).await;
    let Proved { identity, is_fresh } = proved.map_err(|error| refused(&provider.config, error))?;
    match purpose {
        Purpose::Link(user_id) => {
            identities::link(app, &session, &client, &viewer_of(user_id)?, &identity).await?;
            Ok(Redirect::to("/settings/security?saved=connected").into_response())
        }
        Purpose::Confirm(user_id) => {
            let viewer = viewer_of(user_id)?;
            identities::confirm(app, &viewer, &identity, is_fresh).await?;
            session::reauthenticate(app, &session, user_id, Factors::One).await?;
            Ok(Redirect::to(local(&next).unwrap_or("/settings")).into_response())
        }
        Purpose::SignIn => {
            let plan = chosen_plan(&next);
            match external::sign_in_with(app, &session, &client, &identity, plan, &terms).await? {
                Outcome::SignedIn => Ok(signed_in(&next, cookie)),
                Outcome::SecondFactor => Ok(Redirect::to(&second_factor_page(&next)).into_response()),
                Outcome::Exists { is_kept } => {
                    let how = if is_kept { "kept" } else { "settings" };
                    let page = format!("/sign-in?link={}&how={how}", provider.config.id);
                    let next = local(&next).map(|next| with_next("", Some(next)).replacen('?', "&", 1));
                    Ok(Redirect::to(&format!("{page}{}", next.unwrap_or_default())).into_response())
                }
            }
        }
    }
}

/// Converts an error to the problem that the user sees, and logs the reason.
fn refused(provider: &IdentityProvider, error: IdentityError) -> Rejection {
    let (id, label) = (provider.id.as_str(), &provider.label);
    match error {
        IdentityError::Store(error) => error.into(),
        IdentityError::Unavailable(reason) => {
            let incident = internal(&format!("identity provider {id}: {reason}")).incident;
            let message = format!("{label} can't be reached right now. Try again, or sign in another way.");
            Problem { incident, message, ..Problem::overloaded() }.into()
        }
        IdentityError::Refused(reason) => {
            tracing::warn!(target: "security", event = "identity_refused", provider = id, %reason, "identity refused");
            Rejection::invalid("", format!("The sign-in with {label} didn't work. Try again, or sign in another way."))
        }
    }
}
