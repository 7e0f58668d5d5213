//! HTTP handlers of turns that were sent before: their state, the text of their responses, and ratings.

use crate::AppState;
use crate::failure::Failure;
use crate::http::chat::own;
use crate::http::extract::{Id, SignedIn};
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use domain::{ConversationId, MessageId, Problem, Tokens, TurnId};
use http::StatusCode;
use serde::Serialize;
use serde_json::Value;

/// Maximum length of a comment in characters.
const MAX_COMMENT: usize = 2_000;

/// The state of a turn.
#[derive(Serialize)]
pub(crate) struct Status {
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    conversation_id: Option<ConversationId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<MessageId>,
    /// Tokens that it used, once they are final.
    #[serde(skip_serializing_if = "Option::is_none")]
    tokens: Option<Tokens>,
    /// Their exact cost in dollars, if the plan shows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    cost_usd: Option<String>,
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

/// `GET /api/turns/{turn_id}`: the state of a turn (`running` or `ended`), its usage, and the newest turn of its conversation. Unknown
/// turns are 404.
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
        tokens: found.used.map(|(tokens, _)| tokens),
        cost_usd: found.used.filter(|_| viewer.plan.shows_cost).map(|(_, cost)| cost.exact()),
        latest,
    }))
}

/// `GET /api/turns/{turn_id}/text`: the response as the model wrote it, in Markdown. A turn without a stored response is 404.
pub(crate) async fn text(
    State(app): State<AppState>,
    SignedIn(viewer): SignedIn,
    Id(turn_id): Id<TurnId>,
) -> Result<String, Failure> {
    let text = store::message::load_response(&app.db, viewer.user_id, turn_id).await?;
    Ok(text.ok_or_else(|| Problem::not_found("response"))?)
}

/// `POST /api/turns/{turn_id}/feedback`: rates a response as good or not, with an optional comment for the owner, or removes both.
pub(crate) async fn feedback(
    State(app): State<AppState>,
    SignedIn(viewer): SignedIn,
    Id(turn_id): Id<TurnId>,
    body: Bytes,
) -> Result<StatusCode, Failure> {
    match rating(&body)? {
        Some((is_good, comment)) => {
            if !store::feedback::set(&app.db, viewer.user_id, turn_id, is_good, comment.as_deref()).await? {
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

/// Reads the body of a rating with its comment; `None` removes both. Without a comment, one that was sent before is kept.
fn rating(body: &[u8]) -> Result<Option<(bool, Option<String>)>, Problem> {
    let invalid = || Problem::invalid("good", "`good` must be true, false or null.");
    let body: Value = serde_json::from_slice(body).map_err(|_| invalid())?;
    match body.get("good") {
        Some(Value::Bool(is_good)) => Ok(Some((*is_good, comment(body.get("comment"))?))),
        Some(Value::Null) => Ok(None),
        _ => Err(invalid()),
    }
}

/// Reads a comment; an empty one removes the comment that was sent before.
fn comment(given: Option<&Value>) -> Result<Option<String>, Problem> {
    let text = match given {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) => text.trim(),
        Some(_) => return Err(Problem::invalid("comment", "`comment` must be a string.")),
    };
    if text.chars().count() > MAX_COMMENT {
        return Err(Problem::invalid("comment", format!("Use at most {MAX_COMMENT} characters.")));
    }
    if text.contains('\0') {
        return Err(Problem::invalid("comment", "The comment contains a NUL character, which can't be stored."));
    }
    Ok(Some(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rating_is_true_false_or_null_with_an_optional_comment() {
        let read = |body: &str| rating(body.as_bytes());
        assert_eq!(read(r#"{"good":true}"#).unwrap(), Some((true, None)));
        assert_eq!(read(r#"{"good":false,"comment":null}"#).unwrap(), Some((false, None)));
        assert_eq!(read(r#"{"good":null,"comment":"x"}"#).unwrap(), None);
        assert_eq!(
            read(r#"{"good":false,"comment":" Too long.\n"}"#).unwrap(),
            Some((false, Some("Too long.".into())))
        );
        assert_eq!(read(r#"{"good":true,"comment":" "}"#).unwrap(), Some((true, Some(String::new()))));
        for comment in ["1".to_owned(), "\"\\u0000\"".to_owned(), format!("\"{}\"", "x".repeat(MAX_COMMENT + 1))] {
            let problem = read(&format!(r#"{{"good":true,"comment":{comment}}}"#)).unwrap_err();
            assert_eq!(problem.field.as_deref(), Some("comment"));
        }
        for body in ["", "null", "{}", r#"{"good":"yes"}"#, r#"{"good":1}"#, "[true]"] {
            assert_eq!(read(body).unwrap_err().field.as_deref(), Some("good"), "{body}");
        }
    }
}
