//! Server functions of the owner's pages. They answer 404 to everyone else.

use super::Refusal;
use crate::view::admin::{AccountSummary, HealthView, ModelsView, TopUsersView, UserView};
use crate::view::usage_filter::UsageFilter;
use domain::{AuditEntry, ModelName, Plan, UserId};
use leptos::prelude::*;

/// How the deployment is.
#[server(prefix = "/fn", endpoint = "admin_health")]
pub async fn health() -> Result<HealthView, Refusal> {
    crate::api::context::admin()?;
    crate::api::context::health().await
}

/// The top users of a period.
#[server(prefix = "/fn", endpoint = "admin_top_users")]
pub async fn top_users(
    /// Which part of them.
    filter: UsageFilter,
) -> Result<TopUsersView, Refusal> {
    crate::api::context::admin()?;
    crate::api::context::top_users(filter.checked().map_err(Refusal)?).await
}

/// Accounts, the newest first; a page of them, and how many there are on all pages.
#[server(prefix = "/fn", endpoint = "admin_users")]
pub async fn users(
    /// Only addresses that hold this; empty for all.
    search: String,
    /// Which page, from one.
    page: u32,
) -> Result<(Vec<AccountSummary>, u64), Refusal> {
    crate::api::context::admin()?;
    crate::api::context::users(&search, page).await
}

/// Plans, and every model that one could allow.
#[server(prefix = "/fn", endpoint = "admin_plans")]
pub async fn plans() -> Result<(Vec<Plan>, Vec<ModelName>), Refusal> {
    crate::api::context::admin()?;
    crate::api::context::plans().await
}

/// What admins did, the latest first; a page of it.
#[server(prefix = "/fn", endpoint = "admin_audit")]
pub async fn audit(
    /// Which page, from one.
    page: u32,
) -> Result<Vec<AuditEntry>, Refusal> {
    crate::api::context::admin()?;
    crate::api::context::audit(page).await
}

/// One user.
#[server(prefix = "/fn", endpoint = "admin_user")]
pub async fn user(
    /// Who.
    id: UserId,
) -> Result<UserView, Refusal> {
    crate::api::context::admin()?;
    crate::api::context::user(id).await
}

/// Models, their prices and their switches.
#[server(prefix = "/fn", endpoint = "admin_models")]
pub async fn models() -> Result<ModelsView, Refusal> {
    crate::api::context::admin()?;
    crate::api::context::models().await
}
