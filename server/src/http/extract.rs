//! Extractors of request parts and forms.

use crate::failure::Failure;
use crate::http::current_user::CurrentUser;
use axum::Form;
use axum::body::{Body, Bytes, HttpBody as _};
use axum::extract::{FromRequest as _, FromRequestParts, Path, Request};
use domain::{Problem, Viewer};
use http::request::Parts;
use serde::de::DeserializeOwned;

/// An id in the path. Rejects an invalid id with 404.
pub struct Id<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Id<T> {
    type Rejection = Failure;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        // No id contains a NUL, and Postgres rejects it.
        if parts.uri.path().contains("%00") {
            return Err(Failure(Problem::not_found("address")));
        }
        let path = Path::<T>::from_request_parts(parts, state).await;
        path.map(|Path(id)| Self(id)).map_err(|_| Failure(Problem::not_found("address")))
    }
}

/// Extracts the signed-in user, or responds with 401.
pub(crate) struct SignedIn(pub Viewer);

impl<S: Sync> FromRequestParts<S> for SignedIn {
    type Rejection = Failure;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let viewer = parts.extensions.get::<CurrentUser>().and_then(|user| user.0.clone());
        viewer.map(Self).ok_or_else(|| Failure(Problem::sign_in_required()))
    }
}

/// Splits a request into itself without a body, which pages need to be rendered again, and its form.
///
/// # Errors
/// Returns the request without a body if the form contains a NUL or can't be parsed as `T`.
pub(crate) async fn read_form<T: DeserializeOwned>(request: Request) -> Result<(T, Request), Request> {
    let (parts, body) = request.into_parts();
    let again = Request::from_parts(parts.clone(), Body::empty());
    let Ok(body) = Bytes::from_request(Request::from_parts(parts.clone(), body), &()).await else {
        return Err(again);
    };
    // No form of the app sends a NUL, and Postgres rejects it.
    if body.contains(&0) || body.windows(3).any(|three| three == b"%00") {
        return Err(again);
    }
    match Form::<T>::from_request(Request::from_parts(parts, body.into()), &()).await {
        Ok(Form(form)) => Ok((form, again)),
        Err(_) => Err(again),
    }
}

/// Returns the size of a body as announced, if it is. A body of more than `max` bytes is refused with the problem `too_large` before it is read.
pub(crate) fn announced_size(
    request: &Request,
    max: usize,
    too_large: fn(usize) -> Problem,
) -> Result<Option<usize>, Problem> {
    let announced = request.body().size_hint().exact();
    match announced.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX)) {
        Some(bytes) if bytes > max => Err(too_large(max)),
        announced => Ok(announced),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::executor::block_on;
    use http::{HeaderValue, Method, header};
    use proptest::prelude::*;
    use secrecy::{ExposeSecret as _, SecretString};
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Fields {
        #[serde(default)]
        email: String,
        #[serde(default)]
        password: SecretString,
    }

    fn request(body: Vec<u8>) -> Request {
        let mut request = Request::new(Body::from(body));
        *request.method_mut() = Method::POST;
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        request.headers_mut().insert(header::CONTENT_TYPE, form);
        request
    }

    #[test]
    fn forms_are_read_and_the_request_is_kept() {
        #[expect(clippy::result_large_err, reason = "the request, as in `read_form`")]
        let read = |body: &str| block_on(read_form::<Fields>(request(body.as_bytes().to_vec())));
        let (fields, again) = read("email=a%40b.co&password=p+q&role=admin").unwrap();
        assert_eq!((fields.email.as_str(), fields.password.expose_secret()), ("a@b.co", "p q"));
        assert_eq!(again.method(), Method::POST);
        assert!(read("email=a&email=b").is_err(), "a field that is sent twice");
        for nul in ["email=a%00b", "email=a\0b", "email=a&%00=b"] {
            assert!(read(nul).is_err(), "{nul:?}");
        }
        assert_eq!(read("email=%2500").unwrap().0.email, "%00");
    }

    proptest! {
        #[test]
        fn no_bytes_make_reading_a_form_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
            text in "(email|password|=|&|\\+|%[0-9a-fA-F]{0,2}|[a-z]){0,60}",
        ) {
            for body in [bytes, text.into_bytes()] {
                let length = body.len();
                if let Ok((fields, _)) = block_on(read_form::<Fields>(request(body))) {
                    // Bytes that aren't UTF-8 become U+FFFD, which has three.
                    prop_assert!(fields.email.len() + fields.password.expose_secret().len() <= 3 * length);
                }
            }
        }
    }
}
