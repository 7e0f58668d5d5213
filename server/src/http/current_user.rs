//! The user of a request.

use axum::extract::FromRequestParts;
use domain::Viewer;
use http::request::Parts;
use std::convert::Infallible;

/// The signed-in user, if any. Loaded once per request.
#[derive(Clone, Debug, Default)]
pub(crate) struct CurrentUser(pub Option<Viewer>);

impl<S: Sync> FromRequestParts<S> for CurrentUser {
    type Rejection = Infallible;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_default())
    }
}
