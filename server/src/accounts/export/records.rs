//! The records of an account that fit into memory: the account itself, how its user signs in, subscriptions, invoices,
//! sessions and shared links.

use crate::AppState;
use anyhow::Context as _;
use domain::{ApiKey, Viewer};
use serde_json::{Value, json};
use store::external_identity::Identity;
use store::passkey::PasskeyRow;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Maximum number of invoices.
const INVOICES: i64 = 1_000;

/// Returns the account as JSON.
pub(super) async fn account(app: &AppState, viewer: &Viewer) -> anyhow::Result<Vec<u8>> {
    let account = store::account::exported(&app.db, viewer.user_id).await?.context("the account is gone")?;
    Ok(serde_json::to_vec_pretty(&account)?)
}

/// Returns how the user signs in as JSON: identities at other services, passkeys, and whether there is an authenticator app. Without keys.
pub(super) async fn ways_to_sign_in(app: &AppState, viewer: &Viewer) -> anyhow::Result<Vec<u8>> {
    let identities = store::external_identity::list(&app.db, viewer.user_id).await?;
    let passkeys = store::passkey::list(&app.db, viewer.user_id).await?;
    let has_authenticator_app = store::totp::is_confirmed(&app.db, viewer.user_id).await?;
    let identity = |found: Identity| -> anyhow::Result<Value> {
        let provider = app.config.identity_providers.iter().find(|provider| provider.issuer() == found.issuer);
        Ok(json!({
            // A provider that is no longer configured has no name.
            "provider": provider.map_or(found.issuer.as_str(), |provider| provider.label.as_str()),
            "email": found.email,
            "connected_at": text(Some(found.created_at))?,
        }))
    };
    let passkey = |found: PasskeyRow| -> anyhow::Result<Value> {
        Ok(json!({
            "name": found.name,
            "created_at": text(Some(found.created_at))?,
            "last_used_at": text(found.last_used_at)?,
        }))
    };
    let all = json!({
        "identities": identities.into_iter().map(identity).collect::<anyhow::Result<Vec<_>>>()?,
        "passkeys": passkeys.into_iter().map(passkey).collect::<anyhow::Result<Vec<_>>>()?,
        "has_authenticator_app": has_authenticator_app,
    });
    Ok(serde_json::to_vec_pretty(&all)?)
}

/// Returns the user's instructions and presets as JSON.
pub(super) async fn chat_settings(app: &AppState, viewer: &Viewer) -> anyhow::Result<Vec<u8>> {
    let all = json!({
        "instructions": store::chat_settings::load_instructions(&app.db, viewer.user_id).await?,
        "presets": store::preset::list(&app.db, viewer.user_id).await?,
    });
    Ok(serde_json::to_vec_pretty(&all)?)
}

/// Returns the API keys that aren't revoked as JSON, without their secrets.
pub(super) async fn api_keys(app: &AppState, viewer: &Viewer) -> anyhow::Result<Vec<u8>> {
    let key = |found: ApiKey| -> anyhow::Result<Value> {
        Ok(json!({
            "name": found.name,
            "prefix": found.prefix,
            "models": found.models,
            "endpoints": found.endpoints,
            "requests_per_minute": found.requests_per_minute,
            "tokens_per_day": found.tokens_per_day,
            "usd_per_month": found.monthly.map(domain::Picos::exact),
            "allowed_origins": found.allowed_origins,
            "created_at": text(Some(found.created_at))?,
            "last_used_at": text(found.last_used_at)?,
            "expires_at": text(found.expires_at)?,
            "paused_at": text(found.paused_at)?,
        }))
    };
    let keys = store::api_key::list(&app.db, viewer.user_id).await?;
    let all = keys.into_iter().map(key).collect::<anyhow::Result<Vec<_>>>()?;
    Ok(serde_json::to_vec_pretty(&all)?)
}

/// Returns subscriptions and invoices as JSON.
pub(super) async fn billing(app: &AppState, viewer: &Viewer) -> anyhow::Result<Vec<u8>> {
    let subscriptions = store::subscription::of_user(&app.db, viewer.user_id).await?;
    let invoices = store::invoice::list(&app.db, viewer.user_id, INVOICES).await?;
    let subscription = |found: domain::Subscription| -> anyhow::Result<Value> {
        Ok(json!({
            "subscription_id": found.id,
            "customer_id": found.customer_id,
            "plan": found.plan,
            "status": found.status.as_str(),
            "period": found.period.as_str(),
            "amount": found.amount,
            "created_at": text(Some(found.created_at))?,
            "period_end": text(Some(found.period_end))?,
            "trial_end": text(found.trial_end)?,
            "ends_at": text(found.ends_at)?,
            "ended_at": text(found.ended_at)?,
        }))
    };
    let invoice = |found: domain::Invoice| -> anyhow::Result<Value> {
        Ok(json!({
            "invoice_id": found.id,
            "number": found.number,
            "status": found.status,
            "subscription_id": found.subscription_id,
            "due": found.due,
            "paid_minor": found.paid_minor,
            "created_at": text(Some(found.created_at))?,
        }))
    };
    let all = json!({
        "subscriptions": subscriptions.into_iter().map(subscription).collect::<anyhow::Result<Vec<_>>>()?,
        "invoices": invoices.into_iter().map(invoice).collect::<anyhow::Result<Vec<_>>>()?,
    });
    Ok(serde_json::to_vec_pretty(&all)?)
}

/// Returns the live sessions as JSON.
pub(super) async fn sessions(app: &AppState, viewer: &Viewer) -> anyhow::Result<Vec<u8>> {
    let sessions = store::session::list(&app.db, viewer.user_id, AppState::now()).await?;
    let session = |found: store::session::SessionRow| -> anyhow::Result<Value> {
        Ok(json!({
            "session_id": found.session_id,
            "user_agent": found.user_agent,
            "created_at": text(Some(found.created_at))?,
            "last_seen_at": text(Some(found.last_seen_at))?,
        }))
    };
    let all = sessions.into_iter().map(session).collect::<anyhow::Result<Vec<_>>>()?;
    Ok(serde_json::to_vec_pretty(&all)?)
}

/// Returns the user's shared links as JSON. Their addresses aren't stored.
pub(super) async fn shared_links(app: &AppState, viewer: &Viewer) -> anyhow::Result<Vec<u8>> {
    let shares = store::share::list(&app.db, viewer.user_id).await?;
    let share = |found: store::share::Share| -> anyhow::Result<Value> {
        Ok(json!({
            "share_id": found.id,
            "conversation_id": found.conversation_id,
            "title": found.title,
            "created_at": text(Some(found.created_at))?,
            "expires_at": text(found.expires_at)?,
        }))
    };
    let all = shares.into_iter().map(share).collect::<anyhow::Result<Vec<_>>>()?;
    Ok(serde_json::to_vec_pretty(&all)?)
}

/// Returns a time in the form of RFC 3339.
fn text(at: Option<OffsetDateTime>) -> anyhow::Result<Option<String>> {
    Ok(at.map(|at| at.format(&Rfc3339)).transpose()?)
}
