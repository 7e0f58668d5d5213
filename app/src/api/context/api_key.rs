//! Loads a user's API keys.

use super::{PageState, Refusal, refuse};
use crate::view::api_key::{KeyUse, KeyView, KeysView};
use domain::{ApiKey, ApiKeyId, Picos, Problem, UserId, Viewer};
use std::collections::HashMap;
use time::{Duration, OffsetDateTime};

/// The days of usage that lists of keys show.
const DAYS: Duration = Duration::days(30);

/// Loads a user's keys with their usage. All costs are zero if they aren't shown. Usage that takes too long to sum is left out, because a key
/// that is called very often must still be found and revoked.
pub(super) async fn keys_with_use(
    state: &PageState,
    db: &store::Db,
    owner: UserId,
    now: OffsetDateTime,
    shows_cost: bool,
) -> store::Result<Vec<(ApiKey, KeyUse)>> {
    let keys = store::api_key::list(db, owner).await?;
    let uses = store::api_key::usage_of_keys(db, owner, now - DAYS).await.unwrap_or_else(|error| {
        drop(state.fail(error));
        Vec::new()
    });
    let mut uses: HashMap<ApiKeyId, KeyUse> = uses
        .into_iter()
        .map(|(id, requests, tokens, cost)| {
            (id, KeyUse { requests, tokens, cost: if shows_cost { cost } else { Picos::ZERO } })
        })
        .collect();
    Ok(keys
        .into_iter()
        .map(|key| {
            let used = uses.remove(&key.id).unwrap_or_default();
            (key, used)
        })
        .collect())
}

/// Loads a user's keys with their usage, and what a new key needs.
pub(crate) async fn keys_of(state: &PageState, user: &Viewer) -> Result<KeysView, Refusal> {
    let fail = |error| state.fail(error);
    let (now, shows_cost) = ((state.now)(), user.plan.shows_cost);
    Ok(KeysView {
        now,
        keys: keys_with_use(state, &state.db, user.user_id, now, shows_cost).await.map_err(fail)?,
        allowed: store::api_key::allowed(&state.db, user.user_id).await.map_err(fail)?.unsigned_abs(),
        models: user.plan.models.clone(),
        is_recent: user.has_recent_proof(now),
        shows_cost,
    })
}

/// Loads one of a user's keys. Another user's key is 404.
pub(crate) async fn key_of(state: &PageState, user: &Viewer, id: ApiKeyId) -> Result<KeyView, Refusal> {
    let key = store::api_key::load(&state.db, user.user_id, id).await.map_err(|error| state.fail(error))?;
    let key = key.ok_or_else(|| refuse(Problem::not_found("API key")))?;
    let mut models = user.plan.models.clone();
    // A model that the plan no longer allows stays selected, so that saving doesn't widen the key.
    models.extend(key.models.iter().flatten().filter(|model| !user.plan.models.contains(model)).cloned());
    Ok(KeyView { now: (state.now)(), key, models })
}
