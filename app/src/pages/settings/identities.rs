//! The section of `/settings/security` about accounts at other services.

use super::{ConfirmFirst, is_verified};
use crate::components::duration::day;
use crate::view::identity::{Connection, ProviderButton};
use leptos::prelude::*;

/// The section about accounts at other services. Renders nothing if none is configured.
#[component]
pub fn Connections(
    /// The configured services.
    connections: Vec<Connection>,
) -> impl IntoView {
    let needs_proof = !is_verified() && connections.iter().any(|connection| connection.connected_at.is_none());
    (!connections.is_empty()).then(|| {
        view! {
            <section class="setting">
                <h2>"Connected accounts"</h2>
                <div class="stack">
                    <p class="hint">"Accounts on other services that you can use to sign in."</p>
                    <ul class="entries">{connections.into_iter().map(row).collect_view()}</ul>
                    {needs_proof.then(|| view! { <ConfirmFirst/> })}
                </div>
            </section>
        }
    })
}

fn row(connection: Connection) -> impl IntoView {
    let Connection { provider: ProviderButton { id, label }, connected_at, email, .. } = connection;
    let since = connected_at.map(|at| match email {
        Some(email) => format!("{email}. Connected on {}.", day(at)),
        None => format!("Connected on {}.", day(at)),
    });
    let (action, verb) = match connected_at {
        Some(_) => ("unlink", "Disconnect"),
        None => ("link", "Connect"),
    };
    let form = (connected_at.is_some() || is_verified()).then(|| {
        view! {
            <form method="post" action=format!("/settings/identities/{id}/{action}")>
                <button class="secondary small">{verb}<span class="unseen">{format!(" {label}")}</span></button>
            </form>
        }
    });
    view! {
        <li>
            <div>
                <p><strong>{label.clone()}</strong></p>
                <p class="hint">{since.unwrap_or_else(|| "Not connected.".to_owned())}</p>
            </div>
            {form}
        </li>
    }
}
