//! The API keys on a user's admin page: never their values, and a form that revokes each.

use crate::components::duration::{day, last_time};
use crate::view::api_key::KeyUse;
use domain::{ApiKey, ApiKeyState, Tokens, UserId};
use leptos::prelude::*;
use time::OffsetDateTime;

/// The keys that aren't revoked. Renders nothing without keys.
#[component]
pub fn UserKeys(
    /// The user.
    user_id: UserId,
    /// Their keys, each with its usage of the last 30 days.
    keys: Vec<(ApiKey, KeyUse)>,
    /// The time at which they were loaded.
    now: OffsetDateTime,
) -> impl IntoView {
    let is_empty = keys.is_empty();
    let rows = keys.into_iter().map(|(key, used)| key_row(user_id, &key, used, now)).collect_view();
    (!is_empty).then(|| {
        view! {
            <section>
                <h2>"API keys"</h2>
                <div class="table-scroll" tabindex="0" role="region" aria-label="API keys">
                    <table class="compact numbers">
                        <thead><tr>
                            <th scope="col">"Name"</th><th scope="col">"Key"</th><th scope="col">"State"</th><th scope="col">"Created"</th>
                            <th scope="col">"Last used"</th><th scope="col" class="end">"Calls"</th><th scope="col" class="end">"Tokens"</th>
                            <th scope="col" class="end">"Cost, 30 days"</th><th scope="col"><span class="unseen">"Revoke"</span></th>
                        </tr></thead>
                        <tbody>{rows}</tbody>
                    </table>
                </div>
            </section>
        }
    })
}

fn key_row(user_id: UserId, key: &ApiKey, used: KeyUse, now: OffsetDateTime) -> impl IntoView + use<> {
    let state = match key.state(now) {
        ApiKeyState::Active => "active",
        ApiKeyState::Tripped => "refused as a loop",
        ApiKeyState::Paused => "paused",
        ApiKeyState::Expired => "expired",
        ApiKeyState::Revoked => "revoked",
    };
    let reason = format!("why-{}", key.id);
    view! {
        <tr>
            <th scope="row" class="who">{key.name.clone()}</th>
            <td><code>{format!("{}…", key.prefix)}</code></td>
            <td>{state}</td>
            <td>{day(key.created_at)}</td>
            <td>{key.last_used_at.map_or_else(|| "never".to_owned(), |at| last_time(now, at))}</td>
            <td class="end">{Tokens(used.requests).to_string()}</td>
            <td class="end">{used.tokens.to_string()}</td>
            <td class="end">{used.cost.to_string()}</td>
            <td>
                <details>
                    <summary>"Revoke"<span class="unseen">{format!(" the key {}", key.name)}</span></summary>
                    <form method="post" action=format!("/admin/users/{user_id}/keys/{}/revoke", key.id) class="stack">
                        <p>"Programs with this key stop working at once."</p>
                        <div class="field">
                            <label for=reason.clone()>"Reason"</label>
                            <input id=reason name="why" required maxlength="500"/>
                        </div>
                        <button class="danger small">"Revoke key"</button>
                    </form>
                </details>
            </td>
        </tr>
    }
}
