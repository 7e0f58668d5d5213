//! The cookie that recognizes a browser in which a user has signed in. It proves nothing: it only gives sign-ins an allowance of their own
//! and keeps them from being announced as new. Also reads the cookie with the theme.

use crate::AppState;
use crate::accounts::client::ClientInfo;
use crate::http::origin::Client;
use app::view::theme::Theme;
use axum::extract::Request;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::Problem;
use http::{HeaderMap, HeaderValue, header};
use sha2::{Digest as _, Sha256};

/// How long a browser is remembered after a sign-in, in seconds: one year.
const MAX_AGE_S: u32 = 365 * 24 * 60 * 60;
/// Name of the cookie with the theme that a visitor has chosen.
pub(crate) const THEME_COOKIE: &str = "theme";
/// Name and value of the cookie that is set while a visitor has hidden the chat's sidebar.
pub(crate) const SIDEBAR_COOKIE: &str = "sidebar";
pub(crate) const HIDDEN: &str = "hidden";
/// Maximum length of a stored User-Agent in characters.
const MAX_USER_AGENT: usize = 200;

/// A cookie for the response, as an extension of it.
#[derive(Clone)]
struct BrowserCookie(HeaderValue);

fn name(app: &AppState) -> &'static str {
    if app.config.is_https() { "__Host-browser" } else { "browser" }
}

/// Returns what is known about the client of a request.
pub(crate) fn client_info(app: &AppState, request: &Request) -> Result<ClientInfo, Problem> {
    let user_agent = request.headers().get(header::USER_AGENT).and_then(|value| value.to_str().ok());
    let client = Client::of(app, request);
    Ok(ClientInfo {
        origin: client.origin(app)?,
        block: client.block(app)?,
        user_agent: user_agent.unwrap_or_default().chars().take(MAX_USER_AGENT).collect(),
        browser: cookie(request.headers(), name(app)).as_deref().and_then(hash),
    })
}

/// Creates a browser cookie, or renews the client's for another year. Returns the header for the response.
pub(crate) fn remember(app: &AppState, request: &Request, client: &mut ClientInfo) -> Option<HeaderValue> {
    let name = name(app);
    let known = cookie(request.headers(), name).filter(|_| client.browser.is_some());
    let value = known.unwrap_or_else(|| URL_SAFE_NO_PAD.encode(rand::random::<[u8; 16]>()));
    client.browser = hash(&value);
    let secure = if app.config.is_https() { "; Secure" } else { "" };
    let cookie = format!("{name}={value}; Path=/; Max-Age={MAX_AGE_S}; HttpOnly; SameSite=Lax{secure}");
    HeaderValue::from_str(&cookie).ok()
}

/// Adds a browser cookie to a response.
pub(crate) fn attach(response: &mut Response, cookie: Option<HeaderValue>) {
    if let Some(cookie) = cookie {
        response.extensions_mut().insert(BrowserCookie(cookie));
    }
}

/// Middleware outside the session layer that sets the cookie, so that it comes after the session's.
pub(crate) async fn set_cookie(mut response: Response) -> Response {
    if let Some(BrowserCookie(cookie)) = response.extensions_mut().remove() {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

/// Returns the theme that a visitor has chosen.
pub(crate) fn theme(headers: &HeaderMap) -> Theme {
    cookie(headers, THEME_COOKIE).and_then(|value| Theme::parse(&value)).unwrap_or_default()
}

/// Returns whether a visitor has hidden the chat's sidebar.
pub(crate) fn hides_sidebar(headers: &HeaderMap) -> bool {
    cookie(headers, SIDEBAR_COOKIE).is_some_and(|value| value == HIDDEN)
}

/// Returns a cookie's value.
pub(crate) fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = all.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
}

/// Returns the hash of a cookie's value; `None` if it isn't one of ours.
fn hash(value: &str) -> Option<[u8; 32]> {
    let bytes = URL_SAFE_NO_PAD.decode(value).ok().filter(|bytes| bytes.len() == 16)?;
    Some(Sha256::digest(bytes).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_cookie_is_found_among_others() {
        let value = URL_SAFE_NO_PAD.encode([7; 16]);
        let headers = HeaderMap::from_iter([(header::COOKIE, format!("session=x; browser={value}").parse().unwrap())]);
        assert_eq!(cookie(&headers, "browser").as_deref(), Some(value.as_str()));
        assert_eq!(cookie(&headers, "__Host-browser"), None);
        assert!(hash(&value).is_some() && hash("x").is_none() && hash("").is_none());
    }

    #[test]
    fn a_cookie_is_found_by_its_whole_name() {
        let found = |cookies: &[&str], name: &str| {
            let cookies = cookies.iter().map(|cookie| (header::COOKIE, cookie.parse().unwrap()));
            cookie(&cookies.collect(), name)
        };
        assert_eq!(found(&["session=abc"], "session").as_deref(), Some("abc"));
        assert_eq!(found(&["a=1; session=abc; b=2"], "session").as_deref(), Some("abc"));
        assert_eq!(found(&["a=1", "b=2;session=abc"], "session").as_deref(), Some("abc"));
        assert_eq!(found(&["__Host-session=abc; session=x"], "__Host-session").as_deref(), Some("abc"));
        for other in ["", "session", "my-session=abc", "sessions=abc", "__Host-session=abc"] {
            assert_eq!(found(&[other], "session"), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn no_cookie_makes_parsing_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100), text in "[ -~]{0,100}") {
            // Bytes that no header may contain are refused before.
            for value in [HeaderValue::from_bytes(&bytes).ok(), HeaderValue::from_str(&text).ok()].into_iter().flatten() {
                let headers = HeaderMap::from_iter([(header::COOKIE, value.clone())]);
                let found = cookie(&headers, "browser");
                let is_named = value.to_str().is_ok_and(|text| text.contains("browser="));
                prop_assert!(found.is_none_or(|found| is_named && (hash(&found).is_none() || found.len() == 22)));
            }
        }
    }
}
