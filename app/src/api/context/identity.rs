//! Loads services with which users sign in.

use super::{PageState, Refusal};
use crate::view::identity::{Connection, IdentityProvider, ProviderButton};
use domain::Viewer;

fn button(provider: &IdentityProvider) -> ProviderButton {
    ProviderButton { id: provider.id.clone(), label: provider.label.clone() }
}

/// Returns the services with which anyone can sign in.
pub(crate) fn sign_in_options(state: &PageState) -> Vec<ProviderButton> {
    state.identity_providers.iter().map(button).collect()
}

/// Loads the configured services with a user's identities there.
pub(super) async fn connections(state: &PageState, user: &Viewer) -> Result<Vec<Connection>, Refusal> {
    let identities =
        store::external_identity::list(&state.db, user.user_id).await.map_err(|error| state.fail(error))?;
    let connection = |provider: &IdentityProvider| {
        let identity = identities.iter().find(|identity| identity.issuer == provider.issuer);
        Connection {
            provider: button(provider),
            connected_at: identity.map(|identity| identity.created_at),
            email: identity.and_then(|identity| identity.email.clone()),
            reports_sign_in_time: provider.reports_sign_in_time,
        }
    };
    Ok(state.identity_providers.iter().map(connection).collect())
}
