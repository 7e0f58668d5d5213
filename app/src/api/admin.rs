//! Server functions of the owner's pages. They return a 404 to users who aren't admins.

use super::Refusal;
use crate::view::admin::{AccountList, AuditList, HealthView, ModelsView, PlanRow, TopUsersView, UserView};
use crate::view::chat_settings::RetentionView;
use crate::view::provider::ProviderRow;
use domain::{ModelName, UsageFilter, UserId};
use leptos::prelude::*;

/// Loads the health of the deployment.
#[server(prefix = "/fn", endpoint = "admin_health")]
pub async fn health() -> Result<HealthView, Refusal> {
    let state = crate::api::context::admin()?;
    crate::api::context::health(&state).await
}

/// Loads a page of the top users of a period.
#[server(prefix = "/fn", endpoint = "admin_top_users")]
pub async fn top_users(
    /// Period, order, filters and page.
    filter: UsageFilter,
) -> Result<TopUsersView, Refusal> {
    let state = crate::api::context::admin()?;
    crate::api::context::top_users(&state, filter.checked().map_err(Refusal)?).await
}

/// Loads a page of accounts, newest first.
#[server(prefix = "/fn", endpoint = "admin_users")]
pub async fn users(
    /// Only users whose email contains this text; empty for all users.
    search: String,
    /// Only users of whom several have one network or one mailbox.
    is_risky: bool,
    /// Page number, starting at 1.
    page: u32,
) -> Result<AccountList, Refusal> {
    let state = crate::api::context::admin()?;
    crate::api::context::users(&state, &search, is_risky, page).await
}

/// Loads all plans, and the names of all models that a plan can allow.
#[server(prefix = "/fn", endpoint = "admin_plans")]
pub async fn plans() -> Result<(Vec<PlanRow>, Vec<ModelName>), Refusal> {
    let state = crate::api::context::admin()?;
    crate::api::context::plans(&state).await
}

/// Loads how long conversations are kept.
#[server(prefix = "/fn", endpoint = "admin_retention")]
pub async fn retention() -> Result<RetentionView, Refusal> {
    let state = crate::api::context::admin()?;
    crate::api::context::retention(&state).await
}

/// Loads a page of the audit log, newest first.
#[server(prefix = "/fn", endpoint = "admin_audit")]
pub async fn audit(
    /// Page number, starting at 1.
    page: u32,
) -> Result<AuditList, Refusal> {
    let state = crate::api::context::admin()?;
    crate::api::context::audit(&state, page).await
}

/// Loads a user's admin page.
#[server(prefix = "/fn", endpoint = "admin_user")]
pub async fn user(
    /// The user to load.
    id: UserId,
) -> Result<UserView, Refusal> {
    let state = crate::api::context::admin()?;
    crate::api::context::user(&state, id).await
}

/// Loads all models with their prices and settings, and the global limits.
#[server(prefix = "/fn", endpoint = "admin_models")]
pub async fn models() -> Result<ModelsView, Refusal> {
    let state = crate::api::context::admin()?;
    crate::api::context::models(&state).await
}

/// Loads all providers with their models, keys and circuits.
#[server(prefix = "/fn", endpoint = "admin_providers")]
pub async fn providers() -> Result<Vec<ProviderRow>, Refusal> {
    let state = crate::api::context::admin()?;
    crate::api::context::providers(&state).await
}
