//! Loads the path of a conversation's tree that a turn continues. It comes from Postgres, never from the client.

use super::attached::Attached;
use super::prompt::FullPrompt;
use super::request::{ChatRequest, Input, Parent};
use crate::AppState;
use crate::failure::Failure;
use domain::{ConversationId, MessageId, Problem, ProblemKind, Role, TurnId, Viewer};
use store::message::Ancestors;
use store::turn::Branch;

/// Loads the path of the stored conversation that a turn continues, with a system prompt: for a new message, that before it; for a
/// regeneration, that before its question.
pub(crate) async fn load(
    app: &AppState,
    viewer: &Viewer,
    chat_request: &ChatRequest,
    system: String,
) -> Result<FullPrompt, Failure> {
    match &chat_request.input {
        Input::New(text) => {
            let Some(id) = chat_request.conversation_id else {
                return Ok(FullPrompt {
                    conversation_id: None,
                    branch: Branch::End { leaf_id: None },
                    system,
                    past: Vec::new(),
                    text: text.clone(),
                    attached: Attached::default(),
                });
            };
            let (branch, past) = match chat_request.parent {
                Parent::End => {
                    let path = path(app, viewer, id, None).await?;
                    (Branch::End { leaf_id: path.leaf_id }, path.messages)
                }
                Parent::Root => {
                    let found = store::conversation::open(&app.db, viewer.user_id, id).await?;
                    found.ok_or_else(|| Problem::not_found("conversation"))?;
                    (Branch::After(None), Vec::new())
                }
                Parent::Message(parent) => load_branch(app, viewer, id, parent, chat_request.edit_of).await?,
            };
            if let Some(edited) = chat_request.edit_of {
                check_edited(app, viewer, id, edited, chat_request.parent).await?;
            }
            let attached = Attached { question_id: chat_request.edit_of, ..Attached::default() };
            Ok(FullPrompt { conversation_id: Some(id), branch, system, past, text: text.clone(), attached })
        }
        Input::Again(earlier) => load_regeneration(app, viewer, chat_request.conversation_id, *earlier, system).await,
    }
}

/// Loads the path to a message of the user's conversation, or the visible one.
async fn path(
    app: &AppState,
    viewer: &Viewer,
    id: ConversationId,
    end: Option<MessageId>,
) -> Result<Ancestors, Failure> {
    let path = store::message::load_prompt(&app.db, viewer.user_id, id, end).await?;
    let mut path = path.ok_or_else(|| Problem::not_found("conversation"))?;
    // Imported conversations may begin with a response, for example a greeting. Providers accept only a user's message there.
    if let Some(first) = path.messages.first_mut().filter(|first| first.role == Role::Assistant) {
        first.role = Role::User;
        first.text.insert_str(0, "This conversation began with your message:\n\n");
    }
    Ok(path)
}

/// Loads the path to the message that a new one follows: a response, or a question without a response, which may be in progress. Another version
/// of `edited` may follow a question that has got its response since.
async fn load_branch(
    app: &AppState,
    viewer: &Viewer,
    id: ConversationId,
    parent: MessageId,
    edited: Option<MessageId>,
) -> Result<(Branch, Vec<store::message::PromptMessage>), Failure> {
    let path = path(app, viewer, id, Some(parent)).await?;
    match path.end {
        None => Err(Problem::not_found("message").into()),
        Some((_, Role::Assistant)) => Ok((Branch::After(Some(parent)), path.messages)),
        Some((_, Role::User)) if path.leaf_id == Some(parent) => {
            Ok((Branch::End { leaf_id: path.leaf_id }, path.messages))
        }
        Some((_, Role::User)) if edited.is_some() || !path.has_response => {
            Ok((Branch::After(Some(parent)), path.messages))
        }
        Some((_, Role::User)) => Err(changed().into()),
    }
}

/// Checks that a new message after `parent` is another version of `edited`.
async fn check_edited(
    app: &AppState,
    viewer: &Viewer,
    id: ConversationId,
    edited: MessageId,
    parent: Parent,
) -> Result<(), Failure> {
    let parent = if let Parent::Message(parent) = parent { Some(parent) } else { None };
    match store::message::is_version(&app.db, viewer.user_id, id, edited, parent).await? {
        Some(true) => Ok(()),
        Some(false) => Err(changed().into()),
        None => Err(Problem::not_found("message").into()),
    }
}

/// Loads the question of a turn, and the path before it.
async fn load_regeneration(
    app: &AppState,
    viewer: &Viewer,
    conversation_id: Option<ConversationId>,
    earlier: TurnId,
    system: String,
) -> Result<FullPrompt, Failure> {
    let found = store::turn::load_for_regenerate(&app.db, viewer.user_id, earlier).await?;
    let found = found.ok_or_else(|| Problem::not_found("response"))?;
    let id = found.conversation_id;
    if conversation_id.is_some_and(|named| named != id) {
        return Err(Problem::invalid("conversation_id", "This response belongs to another conversation.").into());
    }
    if !found.ended {
        return Err(Problem::new(ProblemKind::Conflict, "This response is still in progress. Stop it first.").into());
    }
    if found.is_regenerating {
        return Err(Problem::new(ProblemKind::Conflict, "This response is already being regenerated.").into());
    }
    let past = match found.parent_id {
        Some(parent) => path(app, viewer, id, Some(parent)).await?.messages,
        None => Vec::new(),
    };
    let branch = Branch::Regenerate { question_id: found.question_id, leaf_id: found.leaf_id };
    let attached = Attached { question_id: Some(found.question_id), ..Attached::default() };
    Ok(FullPrompt { conversation_id: Some(id), branch, system, past, text: found.text, attached })
}

/// The problem of a request for a state of the conversation that has changed since.
pub(super) fn changed() -> Problem {
    Problem::new(ProblemKind::Conflict, "This conversation has changed in another tab. Check it, then try again.")
}
