//! HTTP handlers of turns that were sent before: what became of them, and what their users think of the response.

use crate::AppState;
use crate::failure::Failure;
use crate::http::chat::own;
use crate::http::extract::{Id, SignedIn};
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use domain::{ConversationId, MessageId, Problem, TurnId};
use http::StatusCode;
use serde::Serialize;
use serde_json::Value;

/// What became of a turn.
#[derive(Serialize)]
pub(crate) struct Status {
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    conversation_id: Option<ConversationId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<MessageId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    latest: Option<Latest>,
}

/// The newest turn of the same conversation.
#[derive(Serialize)]
struct Latest {
    turn_id: TurnId,
    running: bool,
    label: String,
}

/// `GET /api/turns/{turn_id}`: what became of a turn (`running` or `ended`), and the newest turn of its conversation. Unknown turns are 404.
pub(crate) async fn status(
    State(app): State<AppState>,
    SignedIn(viewer): SignedIn,
    Id(turn_id): Id<TurnId>,
) -> Result<Json<Status>, Failure> {
    let found = store::turn::status(&app.db, viewer.user_id, turn_id).await?;
    let found = found.ok_or_else(|| Problem::not_found("response"))?;
    let latest = found.latest.map(|turn| Latest { turn_id: turn.turn_id, running: turn.running, label: turn.label });
    Ok(Json(Status {
        state: if found.ended { "ended" } else { "running" },
        conversation_id: found.conversation_id,
        message_id: found.message_id,
        latest,
    }))
}

/// `POST /api/turns/{turn_id}/feedback`: rates a response as good or not, or removes the rating.
pub(crate) async fn feedback(
    State(app): State<AppState>,
    SignedIn(viewer): SignedIn,
    Id(turn_id): Id<TurnId>,
    body: Bytes,
) -> Result<StatusCode, Failure> {
    match rating(&body)? {
        Some(is_good) => {
            if !store::feedback::set(&app.db, viewer.user_id, turn_id, is_good).await? {
                return Err(Problem::not_found("response").into());
            }
        }
        None => {
            own(&app, &viewer, turn_id).await?;
            store::feedback::clear(&app.db, viewer.user_id, turn_id).await?;
        }
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Reads the body of a rating; `None` removes it.
fn rating(body: &[u8]) -> Result<Option<bool>, Problem> {
    let invalid = || Problem::invalid("good", "`good` must be true, false or null.");
    let body: Value = serde_json::from_slice(body).map_err(|_| invalid())?;
    match body.get("good") {
        Some(Value::Bool(is_good)) => Ok(Some(*is_good)),
        Some(Value::Null) => Ok(None),
        _ => Err(invalid()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rating_is_true_false_or_null() {
        let read = |body: &str| rating(body.as_bytes());
        assert_eq!(read(r#"{"good":true}"#).unwrap(), Some(true));
        assert_eq!(read(r#"{"good":false}"#).unwrap(), Some(false));
        assert_eq!(read(r#"{"good":null}"#).unwrap(), None);
        for body in ["", "null", "{}", r#"{"good":"yes"}"#, r#"{"good":1}"#, "[true]"] {
            assert_eq!(read(body).unwrap_err().field.as_deref(), Some("good"), "{body}");
        }
    }
}
