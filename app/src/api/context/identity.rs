//! Loads how users can sign in.

use super::{PageState, Refusal};
use crate::view::identity::{Connection, IdentityProvider, ProviderButton, WaysIn};
use domain::Viewer;
use time::Duration;

/// Maximum age of a proof of identity that counts as recent.
const RECENT: Duration = Duration::minutes(10);

fn button(provider: &IdentityProvider) -> ProviderButton {
    ProviderButton { id: provider.id.clone(), label: provider.label.clone() }
}

/// Returns the services with which anyone can sign in.
pub(crate) fn sign_in_options(state: &PageState) -> Vec<ProviderButton> {
    state.identity_providers.iter().map(button).collect()
}

/// Loads how a user can sign in.
pub(crate) async fn ways_in(state: &PageState, user: &Viewer) -> Result<WaysIn, Refusal> {
    let fail = |error| state.fail(error);
    let credentials = store::account::credentials_of(&state.db, user.user_id).await.map_err(fail)?;
    let identities = store::external_identity::list(&state.db, user.user_id).await.map_err(fail)?;
    let connection = |provider: &IdentityProvider| {
        let identity = identities.iter().find(|identity| identity.issuer == provider.issuer);
        Connection {
            provider: button(provider),
            connected_at: identity.map(|identity| identity.created_at),
            email: identity.and_then(|identity| identity.email.clone()),
        }
    };
    Ok(WaysIn {
        has_password: credentials.is_some_and(|found| found.password_hash.is_some()),
        is_recent: user.authenticated_at.is_some_and(|at| (state.now)() - at <= RECENT),
        connections: state.identity_providers.iter().map(connection).collect(),
    })
}
