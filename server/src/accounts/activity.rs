//! Security events: each is logged, and shown to its user as recent activity.

use super::client::ClientInfo;
use crate::AppState;
use crate::failure::internal;
use domain::{SecurityEvent, UserId};
use store::security_event::{self, NewEvent};

/// Records an event. Without a user it is only logged, so that strangers can't fill the table. A failure is logged and changes nothing: the
/// event has happened.
pub(crate) async fn record(app: &AppState, user_id: Option<UserId>, kind: SecurityEvent, client: &ClientInfo) {
    let event = kind.as_str();
    tracing::info!(target: "security", event, user_id = user_id.map(display), origin = client.origin.as_str(), "security event");
    metrics::counter!("quotient_security_events_total", "kind" => event).increment(1);
    if user_id.is_none() {
        return;
    }
    let new = NewEvent { user_id, kind, origin: &client.origin, user_agent: &client.user_agent, now: AppState::now() };
    if let Err(error) = security_event::add(&app.db, &new).await {
        internal(&error);
    }
}

/// Records an event without delaying the response, whose time must not show whether an account exists.
pub(crate) fn record_later(app: &AppState, user_id: Option<UserId>, kind: SecurityEvent, client: &ClientInfo) {
    let (app, client) = (app.clone(), client.clone());
    tokio::spawn(async move { record(&app, user_id, kind, &client).await });
}
