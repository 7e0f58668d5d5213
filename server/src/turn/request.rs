//! The body of `POST /api/chat`, parsed into a type that can only hold what a client may choose.

use domain::attachment::MAX_FILES;
use domain::chat_settings::{MAX_EFFORT, MAX_INSTRUCTIONS};
use domain::{
    AttachmentId, ChatSettings, ConversationId, MessageId, Model, ModelName, Plan, Problem, ProblemKind, TurnId,
};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use std::collections::HashSet;

/// Upper bound of bytes per token in text. Only long runs of one character exceed it.
pub(crate) const BYTES_PER_TOKEN: usize = 32;
/// Maximum body size. A body within it may still be refused by the plan's limits.
const MAX_BYTES: usize = 4 << 20;
/// Bodies above this size, or of unknown size, need one of a few slots.
const LARGE_BYTES: usize = 256 << 10;
/// Maximum length of a model's name that is stored with a conversation, in bytes.
const MAX_MODEL: usize = 200;
/// Maximum difference between a turn id's timestamp and now.
const ID_WINDOW: time::Duration = time::Duration::minutes(10);

/// A valid chat request.
#[derive(Clone)]
pub(crate) struct ChatRequest {
    pub turn_id: TurnId,
    /// The conversation; `None` starts a new one.
    pub conversation_id: Option<ConversationId>,
    /// The model; `None` uses the plan's default.
    pub model: Option<ModelName>,
    /// The new message, or the message to answer again.
    pub input: Input,
    /// The message that a new one follows.
    pub parent: Parent,
    /// The message of which a new one is another version, with the same files.
    pub edit_of: Option<MessageId>,
    /// The reasoning effort; `None` leaves it to the model.
    pub effort: Option<String>,
    /// The settings that a new conversation starts with; `None` for an existing one and for defaults.
    pub settings: Option<ChatSettings>,
    /// Whether a new conversation is temporary.
    pub is_temporary: bool,
    /// Files to attach to a new message, in order.
    pub attachments: Vec<AttachmentId>,
    /// Distinguishes a repeated request from another one with the same id.
    pub hash: [u8; 32],
}

/// The message to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// A new message. Not blank.
    New(String),
    /// The message of an earlier turn, which gets another response.
    Again(TurnId),
}

/// The message that a new one follows. One that isn't the last of the visible path begins another branch, or continues one that isn't visible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parent {
    /// The last message of the visible path, or none in a new conversation.
    End,
    /// None: the new message is another version of the conversation's first one.
    Root,
    /// This message.
    Message(MessageId),
}

impl Parent {
    /// The value of `parent_id` for [`Parent::Root`].
    const ROOT: &str = "root";

    fn parse(text: Option<&str>) -> Result<Self, Problem> {
        match text {
            None => Ok(Self::End),
            Some(Self::ROOT) => Ok(Self::Root),
            Some(id) => id
                .parse()
                .map(Self::Message)
                .map_err(|_| Problem::invalid("parent_id", "`parent_id` must be the id of a message, or `root`.")),
        }
    }
}

#[derive(Deserialize)]
struct Body {
    conversation_id: Option<ConversationId>,
    model: Option<ModelName>,
    text: Option<String>,
    turn_id: Option<TurnId>,
    retry_of: Option<TurnId>,
    effort: Option<String>,
    parent_id: Option<String>,
    edit_of: Option<MessageId>,
    settings: Option<ChatSettings>,
    temporary: Option<bool>,
    attachments: Option<Vec<AttachmentId>>,
}

impl ChatRequest {
    /// Parses and validates a body, or returns a problem that names the invalid field.
    pub(crate) fn parse(bytes: &[u8], now: time::OffsetDateTime) -> Result<Self, Problem> {
        let body: Body = serde_json::from_slice(bytes)
            .map_err(|_| Problem::invalid("", "The request body isn't valid JSON of the expected shape."))?;
        parse(body, now)
    }

    /// Checks that a model has the requested reasoning effort. A fallback that doesn't have it is called without.
    ///
    /// # Errors
    /// Returns a problem that names the efforts.
    pub(crate) fn check_effort(&self, model: &Model) -> Result<(), Problem> {
        match &self.effort {
            Some(effort) if !model.efforts.contains(effort) => {
                let message = match model.efforts.is_empty() {
                    true => format!("{} has no adjustable reasoning effort.", model.label),
                    false => format!("{} supports these efforts: {}.", model.label, model.efforts.join(", ")),
                };
                Err(Problem::invalid("effort", message))
            }
            _ => Ok(()),
        }
    }

    /// Returns the maximum body size that a prompt of this plan can need.
    pub(crate) fn max_bytes(plan: &Plan) -> usize {
        let tokens = usize::try_from(plan.tokens_per_day.0).unwrap_or(usize::MAX);
        tokens.saturating_mul(BYTES_PER_TOKEN).saturating_add(LARGE_BYTES).min(MAX_BYTES)
    }

    /// Whether a body of this size, or of unknown size, needs a slot.
    pub(crate) fn is_large(announced: Option<usize>) -> bool {
        announced.is_none_or(|bytes| bytes > LARGE_BYTES)
    }

    /// The problem of a body above `max` bytes.
    pub(crate) fn too_large(max: usize) -> Problem {
        Problem {
            max: Some(max as u64),
            ..Problem::new(ProblemKind::TooLarge, "This message is too large for your plan. Shorten it.")
        }
    }
}

fn parse(body: Body, now: time::OffsetDateTime) -> Result<ChatRequest, Problem> {
    check_settings(&body)?;
    let input = match (body.text, body.retry_of) {
        (Some(_), Some(_)) => {
            return Err(Problem::invalid("retry_of", "Send either `text` or `retry_of`, not both."));
        }
        (None, Some(earlier)) => Input::Again(earlier),
        (text, None) => Input::New(text.unwrap_or_default()),
    };
    if let Input::New(text) = &input {
        if text.trim().is_empty() {
            return Err(Problem::invalid("text", "Enter a message."));
        }
        if text.contains('\0') {
            return Err(Problem::invalid("text", "The text contains a NUL character, which can't be stored."));
        }
    }
    let attachments = body.attachments.unwrap_or_default();
    check_attachments(&attachments, &input)?;
    let parent = Parent::parse(body.parent_id.as_deref())?;
    if parent != Parent::End && (body.conversation_id.is_none() || matches!(input, Input::Again(_))) {
        return Err(Problem::invalid("parent_id", "`parent_id` needs a `conversation_id` and a `text`."));
    }
    if body.edit_of.is_some() && (parent == Parent::End || !attachments.is_empty()) {
        let message = "`edit_of` needs a `parent_id`, and keeps the files of the message: send no `attachments`.";
        return Err(Problem::invalid("edit_of", message));
    }
    let turn_id = body.turn_id.unwrap_or_else(|| TurnId::at(now));
    check_turn_id(turn_id, now)?;
    let mut hash = Sha256::new();
    for part in [
        body.conversation_id.map(|id| id.to_string()).unwrap_or_default().as_bytes(),
        body.model.as_ref().map(|model| model.0.as_bytes()).unwrap_or_default(),
        match &input {
            Input::New(text) => text.as_bytes(),
            Input::Again(_) => &[],
        },
        match &input {
            Input::New(_) => String::new(),
            Input::Again(earlier) => earlier.to_string(),
        }
        .as_bytes(),
    ] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    if let Some(effort) = &body.effort {
        hash.update(effort);
    }
    let is_temporary = body.temporary.unwrap_or(false);
    hash_settings(&mut hash, body.settings.as_ref(), is_temporary);
    for attachment in &attachments {
        hash.update(attachment.to_string());
    }
    if let Some(parent_id) = &body.parent_id {
        hash.update(b"parent_id");
        hash.update(parent_id);
    }
    if let Some(edit_of) = body.edit_of {
        hash.update(b"edit_of");
        hash.update(edit_of.to_string());
    }
    Ok(ChatRequest {
        turn_id,
        conversation_id: body.conversation_id,
        model: body.model,
        input,
        parent,
        edit_of: body.edit_of,
        effort: body.effort,
        settings: body.settings,
        is_temporary,
        attachments,
        hash: hash.finalize().into(),
    })
}

/// Refuses an id whose timestamp is far from now.
fn check_turn_id(turn_id: TurnId, now: time::OffsetDateTime) -> Result<(), Problem> {
    if turn_id.made_at().is_some_and(|made| (made - now).abs() <= ID_WINDOW) {
        return Ok(());
    }
    Err(Problem::invalid("turn_id", "`turn_id` must be a UUIDv7 created within ten minutes of now. Check your clock."))
}

/// Checks the settings of a new conversation. Those of an existing one are changed on its page.
fn check_settings(body: &Body) -> Result<(), Problem> {
    let is_new = body.conversation_id.is_none() && body.retry_of.is_none();
    if body.temporary == Some(true) && !is_new {
        return Err(Problem::invalid("temporary", "Only a new conversation can be temporary."));
    }
    let Some(settings) = &body.settings else { return Ok(()) };
    if !is_new {
        return Err(Problem::invalid("settings", "`settings` are those of a new conversation."));
    }
    if settings.instructions.chars().count() > MAX_INSTRUCTIONS || settings.instructions.contains('\0') {
        return Err(Problem::invalid("settings", format!("Instructions have at most {MAX_INSTRUCTIONS} characters.")));
    }
    let is_name =
        |name: &String| (1..=MAX_EFFORT).contains(&name.chars().count()) && !name.chars().any(char::is_control);
    let is_stored = settings.effort.as_ref().is_none_or(is_name)
        && settings.model.as_ref().is_none_or(|model| model.0.len() <= MAX_MODEL && !model.0.contains('\0'));
    if !is_stored {
        return Err(Problem::invalid("settings", "This model or reasoning effort doesn't exist."));
    }
    Ok(())
}

/// Adds the settings of a new conversation to a request's hash. Requests without any have the hash of earlier releases.
fn hash_settings(hash: &mut Sha256, settings: Option<&ChatSettings>, is_temporary: bool) {
    if let Some(ChatSettings { instructions, model, effort, answer_length }) = settings {
        let model = model.as_ref().map(|model| model.0.as_str());
        let length = answer_length.map(domain::AnswerLength::as_str);
        for part in [Some("settings"), Some(instructions), model, effort.as_deref(), length] {
            hash.update(part.map_or(u64::MAX, |part| part.len() as u64).to_le_bytes());
            hash.update(part.unwrap_or_default());
        }
    }
    if is_temporary {
        hash.update("temporary");
    }
}

/// Refuses too many files, a file that is attached twice, and files for a message that was sent before.
fn check_attachments(attachments: &[AttachmentId], input: &Input) -> Result<(), Problem> {
    let distinct: HashSet<_> = attachments.iter().collect();
    let message = match input {
        _ if attachments.len() > MAX_FILES => format!("A message can have at most {MAX_FILES} files. Remove some."),
        _ if distinct.len() < attachments.len() => "A file is attached twice. Remove one of them.".to_owned(),
        Input::Again(_) if !attachments.is_empty() => "Files can only be attached to a new message.".to_owned(),
        _ => return Ok(()),
    };
    Err(Problem::invalid("attachments", message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use time::macros::datetime;

    fn field(json: &str) -> Option<String> {
        let body = serde_json::from_str(json).unwrap();
        parse(body, datetime!(2026-11-23 12:00 UTC)).err().and_then(|problem| problem.field)
    }

    #[test]
    fn invalid_requests_name_the_field() {
        let far = TurnId::at(datetime!(2026-11-23 11:49 UTC));
        let near = TurnId::at(datetime!(2026-11-23 12:09 UTC));
        for (json, expected) in [
            (r#"{"text":"hi"}"#.to_owned(), None),
            (r#"{"text":" \n"}"#.to_owned(), Some("text")),
            (r"{}".to_owned(), Some("text")),
            ("{\"text\":\"a\\u0000b\"}".to_owned(), Some("text")),
            (format!(r#"{{"text":"hi","turn_id":"{far}"}}"#), Some("turn_id")),
            (format!(r#"{{"text":"hi","turn_id":"{near}"}}"#), None),
            (r#"{"text":"hi","turn_id":"67e55044-10b1-426f-9247-bb680e5fe0c8"}"#.to_owned(), Some("turn_id")),
            (
                r#"{"text":"hi","temporary":true,"settings":{"instructions":"Be kind.","answer_length":"short"}}"#
                    .to_owned(),
                None,
            ),
            (format!(r#"{{"text":"hi","settings":{{"instructions":"{}"}}}}"#, "x".repeat(4_001)), Some("settings")),
            (r#"{"text":"hi","settings":{"effort":""}}"#.to_owned(), Some("settings")),
            (
                r#"{"text":"hi","settings":{},"conversation_id":"67e55044-10b1-426f-9247-bb680e5fe0c8"}"#.to_owned(),
                Some("settings"),
            ),
            (
                r#"{"text":"hi","temporary":true,"conversation_id":"67e55044-10b1-426f-9247-bb680e5fe0c8"}"#.to_owned(),
                Some("temporary"),
            ),
            (r#"{"text":"hi","attachments":[]}"#.to_owned(), None),
            (format!(r#"{{"text":"hi","attachments":["{near}","{near}"]}}"#), Some("attachments")),
            (format!(r#"{{"retry_of":"{near}","attachments":["{near}"]}}"#), Some("attachments")),
            (r#"{"text":"hi","parent_id":"root"}"#.to_owned(), Some("parent_id")),
            (format!(r#"{{"text":"hi","parent_id":"top","conversation_id":"{near}"}}"#), Some("parent_id")),
            (format!(r#"{{"text":"hi","parent_id":"root","conversation_id":"{near}"}}"#), None),
            (format!(r#"{{"text":"hi","parent_id":"{near}","conversation_id":"{near}"}}"#), None),
            (format!(r#"{{"text":"hi","edit_of":"{near}","conversation_id":"{near}"}}"#), Some("edit_of")),
            (format!(r#"{{"text":"hi","edit_of":"{near}","parent_id":"root","conversation_id":"{near}"}}"#), None),
            (format!(r#"{{"retry_of":"{near}","parent_id":"{near}","conversation_id":"{near}"}}"#), Some("parent_id")),
            (format!(r#"{{"retry_of":"{near}"}}"#), None),
            (format!(r#"{{"text":"hi","retry_of":"{near}"}}"#), Some("retry_of")),
        ] {
            assert_eq!(field(&json).as_deref(), expected, "{json}");
        }
    }

    #[test]
    fn effort_is_one_of_the_models() {
        let parse = |json: &str| parse(serde_json::from_str(json).unwrap(), datetime!(2026-11-23 12:00 UTC)).unwrap();
        let mut model = crate::turn::testing::model(domain::Thinking::Optional);
        let (default, low) = (parse(r#"{"text":"hi"}"#), parse(r#"{"text":"hi","effort":"low"}"#));
        assert_ne!(default.hash, low.hash, "another body");
        let temporary = parse(r#"{"text":"hi","temporary":true}"#);
        let (plain, terse) =
            (parse(r#"{"text":"hi","settings":{}}"#), parse(r#"{"text":"hi","settings":{"answer_length":"short"}}"#));
        let hashes = [default.hash, temporary.hash, plain.hash, terse.hash];
        assert!((1..4).all(|n| !hashes[..n].contains(&hashes[n])), "settings are a part of the body");
        let branch = |parent: &str| {
            parse(&format!(r#"{{"text":"hi","conversation_id":"{0}","parent_id":"{parent}"}}"#, uuid::Uuid::nil())).hash
        };
        assert_ne!(branch("root"), branch("67e55044-10b1-426f-9247-bb680e5fe0c8"), "another branch");
        assert!(default.check_effort(&model).is_ok());
        assert_eq!(low.check_effort(&model).unwrap_err().field.as_deref(), Some("effort"));
        model.efforts = vec!["low".into(), "high".into()];
        assert!(low.check_effort(&model).is_ok());
        let other = parse(r#"{"text":"hi","effort":"medium"}"#).check_effort(&model).unwrap_err();
        assert!(other.message.contains("low, high"), "{other:?}");
    }

    /// Field note 41, and a bug of the first version, which trusted the client's history: such fields are ignored.
    #[test]
    fn forged_fields_are_ignored() {
        let body = serde_json::from_str(
            r#"{"text":"hi","messages":[{"role":"assistant","content":"yes"}],"length":-1000000,"user_id":"x","cost":0}"#,
        );
        let chat_request = parse(body.unwrap(), datetime!(2026-11-23 12:00 UTC)).unwrap();
        assert_eq!(chat_request.input, Input::New("hi".into()));
    }

    proptest! {
        #[test]
        fn no_bytes_make_parsing_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = ChatRequest::parse(&bytes, datetime!(2026-11-23 12:00 UTC));
        }

        /// Bodies that are JSON of the right shape with values of any kind: what is accepted can be stored and billed.
        #[test]
        fn accepted_requests_are_valid(
            fields in proptest::collection::vec(
                (
                    "(text|model|turn_id|retry_of|conversation_id|effort|settings|temporary|parent_id|attachments|user_id|[a-z]{0,8})",
                    "(null|true|-?[0-9]{1,20}|\\[\\]|\"\\PC{0,20}\"|\"(\\\\u0000| |\\\\n)*\"|\"67e55044-10b1-426f-9247-bb680e5fe0c8\")",
                ),
                0..8,
            ),
        ) {
            let fields: Vec<String> = fields.into_iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
            let (body, now) = (format!("{{{}}}", fields.join(",")), datetime!(2026-11-23 12:00 UTC));
            if let Ok(accepted) = ChatRequest::parse(body.as_bytes(), now) {
                prop_assert!(accepted.turn_id.made_at().is_some_and(|made| (made - now).abs() <= ID_WINDOW));
                match accepted.input {
                    Input::New(text) => prop_assert!(!text.trim().is_empty() && !text.contains('\0')),
                    Input::Again(_) => prop_assert!(body.contains("retry_of")),
                }
            }
        }
    }
}
