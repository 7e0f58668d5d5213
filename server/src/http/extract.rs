//! Extractors of request parts and forms.

use crate::failure::Failure;
use crate::http::current_user::CurrentUser;
use axum::Form;
use axum::body::Body;
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
/// Returns the request without a body if the form can't be parsed as `T`.
pub(crate) async fn read_form<T: DeserializeOwned>(request: Request) -> Result<(T, Request), Request> {
    let (parts, body) = request.into_parts();
    let again = Request::from_parts(parts.clone(), Body::empty());
    match Form::<T>::from_request(Request::from_parts(parts, body), &()).await {
        Ok(Form(form)) => Ok((form, again)),
        Err(_) => Err(again),
    }
}
