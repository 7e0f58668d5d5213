//! Forms of `/settings/keys`: creating, changing, pausing and revoking API keys. Another user's key is 404.

use crate::AppState;
use crate::accounts::api_keys::{self, KeyForm};
use crate::accounts::rejection::Rejection;
use crate::failure::Failure;
use crate::http::account_form::{reject, unreadable};
use crate::http::browser::client_info;
use crate::http::extract::{Id, SignedIn, read_form};
use crate::http::pages;
use app::page_context::FailedForm;
use app::view::factors::FactorResult;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Redirect, Response};
use domain::{ApiEndpoint, ApiKeyId, ModelName, Picos, ProblemKind, Tokens};
use http::Uri;
use store::api_key::KeyScope;
use time::Duration;
use tower_sessions::Session;

/// The page of all keys.
const PAGE: &str = "/settings/keys";
/// Maximum number of origins of a key.
const MAX_ORIGINS: usize = 20;
/// Picodollars of a cent.
const CENT: i64 = 10_000_000_000;
/// Maximum cap in picodollars, which the table holds: a million dollars.
const MAX_MONTHLY: Picos = Picos(1_000_000_000_000_000_000);

/// A field of a form. Some fields are repeated.
type Pair = (String, String);

/// The fields that a rejected form shows again.
const FIELDS: [&str; 8] = [
    "name",
    "expires",
    "model",
    "endpoint",
    "requests_per_minute",
    "tokens_per_day",
    "dollars_per_month",
    "allowed_origins",
];

/// Returns what was entered, for the page that shows the form again.
fn values(pairs: &[Pair]) -> Vec<(&'static str, String)> {
    let known = |name: &str| FIELDS.into_iter().find(|field| *field == name);
    pairs.iter().filter_map(|(name, value)| Some((known(name)?, value.clone()))).collect()
}

fn field<'a>(pairs: &'a [Pair], name: &str) -> &'a str {
    pairs.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.trim())
}

fn all<'a>(pairs: &'a [Pair], name: &'a str) -> impl Iterator<Item = &'a str> {
    pairs.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.trim())
}

/// Parses the name and the scope. All errors are reported at once.
fn parse(pairs: &[Pair]) -> Result<KeyForm, Rejection> {
    let mut errors = Vec::new();
    let mut number = |name: &'static str, max: u64| {
        let text = field(pairs, name).replace([',', ' '], "");
        let number = text.parse::<u64>().ok().filter(|n| (1..=max).contains(n));
        if !text.is_empty() && number.is_none() {
            errors.push((name, "Enter a whole number above zero, or leave it empty.".to_owned()));
        }
        number
    };
    let requests = number("requests_per_minute", 1_000_000);
    let tokens = number("tokens_per_day", 1_000_000_000_000);
    let monthly = match dollars(field(pairs, "dollars_per_month")) {
        Ok(monthly) => monthly,
        Err(message) => {
            errors.push(("dollars_per_month", message.to_owned()));
            None
        }
    };
    let allowed_origins = origins(field(pairs, "allowed_origins")).unwrap_or_else(|message| {
        errors.push(("allowed_origins", message));
        Vec::new()
    });
    if !errors.is_empty() {
        return Err(Rejection::Invalid(errors));
    }
    let mut models: Vec<ModelName> = all(pairs, "model")
        .filter(|name| !name.is_empty() && name.len() <= 200 && !name.contains(char::is_control))
        .map(|name| ModelName(name.to_owned()))
        .collect();
    models.dedup();
    let endpoints: Vec<ApiEndpoint> = all(pairs, "endpoint").filter_map(ApiEndpoint::parse).collect();
    let scope = KeyScope {
        models: Some(models).filter(|models| !models.is_empty()),
        endpoints: Some(endpoints).filter(|endpoints| !endpoints.is_empty()),
        requests_per_minute: requests.and_then(|n| i32::try_from(n).ok()),
        tokens_per_day: tokens.map(Tokens),
        monthly,
        allowed_origins,
    };
    Ok(KeyForm { name: field(pairs, "name").to_owned(), scope })
}

/// Parses an amount in dollars and whole cents; `None` if it is empty.
fn dollars(text: &str) -> Result<Option<Picos>, &'static str> {
    let text = text.trim_start_matches('$');
    if text.is_empty() {
        return Ok(None);
    }
    let amount = text.parse().ok().and_then(Picos::from_usd);
    let amount = amount.filter(|amount| amount.0 > 0 && *amount <= MAX_MONTHLY && amount.0 % CENT == 0);
    amount.map(Some).ok_or("Enter an amount in dollars, like 5 or 0.50, or leave it empty.")
}

/// Parses origins of web pages, one on each line.
fn origins(text: &str) -> Result<Vec<String>, String> {
    let mut origins: Vec<String> = Vec::new();
    for line in text.split_whitespace() {
        let origin = origin(line).ok_or_else(|| {
            format!("{} isn't an origin. Enter one per line, like https://app.example.com.", shortened(line))
        })?;
        if !origins.contains(&origin) {
            origins.push(origin);
        }
    }
    if origins.len() > MAX_ORIGINS {
        return Err(format!("Enter up to {MAX_ORIGINS} origins."));
    }
    Ok(origins)
}

/// Returns an origin as browsers send it; `None` if the text isn't one.
fn origin(text: &str) -> Option<String> {
    let uri = text.trim_end_matches('/').to_ascii_lowercase().parse::<Uri>().ok()?;
    let (scheme, authority) = (uri.scheme_str()?, uri.authority()?.as_str());
    let is_origin = matches!(scheme, "http" | "https") && matches!(uri.path(), "" | "/") && uri.query().is_none();
    let is_host = !authority.contains('@') && authority.len() <= 260;
    // Browsers leave out the port that the scheme implies.
    let implied = if scheme == "https" { ":443" } else { ":80" };
    let authority = authority.strip_suffix(implied).unwrap_or(authority);
    (is_origin && is_host).then(|| format!("{scheme}://{authority}"))
}

fn shortened(text: &str) -> String {
    text.chars().take(60).collect()
}

/// Parses how long a new key works; `None` if it never expires.
fn lifetime(pairs: &[Pair]) -> Result<Option<Duration>, Rejection> {
    match field(pairs, "expires") {
        "" => Ok(None),
        "30" => Ok(Some(Duration::days(30))),
        "90" => Ok(Some(Duration::days(90))),
        "365" => Ok(Some(Duration::days(365))),
        _ => Err(Rejection::invalid("", "Choose when the key expires.")),
    }
}

/// `POST /settings/keys`: creates a key, and shows its secret on the page that responds.
pub(crate) async fn create(
    State(app): State<AppState>,
    SignedIn(viewer): SignedIn,
    session: Session,
    request: Request,
) -> Result<Response, Failure> {
    let (pairs, again) = read_form::<Vec<Pair>>(request).await.map_err(unreadable)?;
    let client = client_info(&app, &again)?;
    let created = match (parse(&pairs), lifetime(&pairs)) {
        (Ok(form), Ok(lifetime)) => api_keys::create(&app, &session, &client, &viewer, &form, lifetime).await,
        (Err(rejection), _) | (Ok(_), Err(rejection)) => Err(rejection),
    };
    match created {
        Ok((name, secret)) => {
            let result = FactorResult::ApiKey { name, secret };
            Ok(pages::factor_result(&app, again, PAGE, FailedForm::default(), result).await)
        }
        Err(rejection) => Ok(reject(&app, again, PAGE, values(&pairs), rejection).await),
    }
}

/// `POST /settings/keys/{key_id}`: sets the name and the scope of a key.
pub(crate) async fn update(
    State(app): State<AppState>,
    Id(id): Id<ApiKeyId>,
    SignedIn(viewer): SignedIn,
    request: Request,
) -> Result<Response, Failure> {
    let (pairs, again) = read_form::<Vec<Pair>>(request).await.map_err(unreadable)?;
    let updated = match parse(&pairs) {
        Ok(form) => api_keys::update(&app, &viewer, id, &form).await,
        Err(rejection) => Err(rejection),
    };
    match updated {
        Ok(()) => Ok(Redirect::to(&format!("{PAGE}?saved=key")).into_response()),
        Err(Rejection::Invalid(errors)) => {
            let form = FailedForm { values: values(&pairs), errors };
            Ok(pages::form_again(&app, again, form).await)
        }
        Err(Rejection::Refused(failure)) => Ok(refuse(&app, again, failure).await),
    }
}

/// `POST /settings/keys/{key_id}/pause`: pauses a key.
pub(crate) async fn pause(
    State(app): State<AppState>,
    Id(id): Id<ApiKeyId>,
    SignedIn(viewer): SignedIn,
    request: Request,
) -> Response {
    let done = api_keys::pause(&app, &viewer, id).await;
    answer(&app, request, done, "key-paused").await
}

/// `POST /settings/keys/{key_id}/resume`: ends the pause of a key.
pub(crate) async fn resume(
    State(app): State<AppState>,
    Id(id): Id<ApiKeyId>,
    SignedIn(viewer): SignedIn,
    request: Request,
) -> Response {
    let done = api_keys::resume(&app, &viewer, id).await;
    answer(&app, request, done, "key-resumed").await
}

/// `POST /settings/keys/{key_id}/revoke`: revokes a key permanently.
pub(crate) async fn revoke(
    State(app): State<AppState>,
    Id(id): Id<ApiKeyId>,
    SignedIn(viewer): SignedIn,
    request: Request,
) -> Result<Response, Failure> {
    let client = client_info(&app, &request)?;
    let done = api_keys::revoke(&app, &client, &viewer, id).await;
    Ok(answer(&app, request, done, "key-revoked").await)
}

/// Redirects to the list once a change is done.
async fn answer(app: &AppState, request: Request, done: Result<(), Rejection>, saved: &str) -> Response {
    match done {
        Ok(()) => Redirect::to(&format!("{PAGE}?saved={saved}")).into_response(),
        Err(rejection) => refuse(app, request, rejection.into()).await,
    }
}

/// Renders a page with the reason of a refusal.
async fn refuse(app: &AppState, request: Request, failure: Failure) -> Response {
    match failure.0.kind {
        ProblemKind::NotFound => pages::problem(app, request, failure.0).await,
        _ => pages::form_refused(app, request, Vec::new(), failure).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> Vec<Pair> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn an_empty_form_allows_everything_and_repeated_fields_are_lists() {
        let form = parse(&pairs(&[("name", "Editor")])).ok().unwrap();
        assert_eq!((form.name.as_str(), form.scope), ("Editor", KeyScope::default()));
        let form = parse(&pairs(&[
            ("model", "a"),
            ("model", "b"),
            ("endpoint", "messages"),
            ("endpoint", "embeddings"),
            ("requests_per_minute", "60"),
            ("tokens_per_day", "10,000"),
            ("dollars_per_month", "$2.50"),
            ("allowed_origins", "https://A.example/\nhttps://a.example:443 http://localhost:5173"),
        ]));
        let scope = form.ok().unwrap().scope;
        assert_eq!(scope.models.unwrap().len(), 2);
        assert_eq!(scope.endpoints, Some(vec![ApiEndpoint::Messages]));
        assert_eq!((scope.requests_per_minute, scope.tokens_per_day), (Some(60), Some(Tokens(10_000))));
        assert_eq!(scope.monthly, Some(Picos(250 * CENT)));
        assert_eq!(scope.allowed_origins, ["https://a.example", "http://localhost:5173"]);
    }

    #[test]
    fn only_a_key_without_a_chosen_lifetime_never_expires() {
        let of = |expires: &str| lifetime(&pairs(&[("expires", expires)])).ok();
        assert_eq!((of(""), of("90")), (Some(None), Some(Some(Duration::days(90)))));
        for other in ["7", "0", "-30", "never"] {
            assert_eq!(of(other), None, "{other}");
        }
    }

    #[test]
    fn every_invalid_field_is_reported() {
        let bad = parse(&pairs(&[
            ("requests_per_minute", "0"),
            ("tokens_per_day", "many"),
            ("dollars_per_month", "0.001"),
            ("allowed_origins", "example.com"),
        ]));
        let Err(Rejection::Invalid(errors)) = bad else { panic!("accepted") };
        assert_eq!(errors.len(), 4);
        for bad in
            ["ftp://x.example", "https://x.example/path", "https://u@x.example", "*", "null", "https://x.example?a"]
        {
            assert_eq!(origin(bad), None, "{bad}");
        }
    }
}
