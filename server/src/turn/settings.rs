//! What a turn uses of the settings of its user and conversation: the model, the reasoning effort and the system prompt.

use super::request::{ChatRequest, Input};
use super::system_prompt::system_prompt;
use crate::AppState;
use domain::{AnswerLength, ChatSettings, Model, ModelName, Thinking, Tokens, Viewer};
use store::turn::{SettingsKey, TurnContext};

/// Loads what a chat request needs before it is admitted, with the settings of its user and conversation.
pub(crate) async fn load_context(
    app: &AppState,
    viewer: &Viewer,
    chat_request: &ChatRequest,
) -> store::Result<TurnContext> {
    let ChatRequest { turn_id, model, conversation_id, input, .. } = chat_request;
    let retry_of = match input {
        Input::New(_) => None,
        Input::Again(earlier) => Some(*earlier),
    };
    let settings = SettingsKey { owner: viewer.user_id, conversation: *conversation_id, retry_of };
    store::turn::load_chat_context(&app.db, *turn_id, model.as_ref(), AppState::now(), settings).await
}

/// The settings of a turn.
pub(crate) struct TurnSettings {
    /// The system prompt.
    pub system: String,
    /// The length of answers; `None` leaves it to the model.
    pub answer_length: Option<AnswerLength>,
    /// The settings of the conversation, or those that the request starts it with.
    conversation: ChatSettings,
}

impl TurnSettings {
    /// Returns the settings of a request whose context was loaded by [`load_context`]. A new conversation has those of the request.
    pub(crate) fn new(context: &TurnContext, chat_request: &ChatRequest) -> Self {
        let stored = &context.settings;
        let conversation = chat_request.settings.clone().unwrap_or_else(|| stored.conversation.clone());
        Self {
            system: system_prompt(&stored.account_instructions, &conversation),
            answer_length: conversation.answer_length,
            conversation,
        }
    }

    /// Returns the model to call by name: the requested one, otherwise the conversation's if it can be called; `None` leaves it to the plan.
    pub(crate) fn model<'a>(
        &'a self,
        app: &AppState,
        viewer: &Viewer,
        context: &TurnContext,
        chat_request: &'a ChatRequest,
    ) -> Option<&'a ModelName> {
        let is_usable = |name: &ModelName| {
            let offer = context.offers.iter().find(|offer| offer.model.name == *name);
            viewer.plan.allows(name) && offer.is_some_and(|offer| app.providers.offers(&offer.model))
        };
        let remembered = self.conversation.model.as_ref().filter(|name| is_usable(name));
        chat_request.model.as_ref().or(remembered)
    }

    /// Returns the effort to call a model with: what the request says if it names a model, otherwise the conversation's if the model has it.
    pub(crate) fn effort(&self, chat_request: &ChatRequest, model: &Model) -> Option<String> {
        if chat_request.model.is_some() || chat_request.effort.is_some() {
            return chat_request.effort.clone();
        }
        self.conversation.effort.clone().filter(|effort| model.efforts.contains(effort))
    }

    /// Returns the maximum output of a response by the length of answers; `None` adds no cap. Reasoning counts as output, so the responses of
    /// models that may reason have no cap: they would end before the answer begins.
    pub(crate) fn max_output(&self, model: &Model) -> Option<Tokens> {
        match model.thinking {
            Thinking::None => self.answer_length.and_then(AnswerLength::max_output),
            Thinking::Optional | Thinking::Always => None,
        }
    }

    /// Returns the settings that are written with a turn: all of a new conversation, and of an existing one the model and effort of a new
    /// message that names a model.
    pub(crate) fn to_write(&self, chat_request: &ChatRequest) -> ChatSettings {
        let is_new = chat_request.conversation_id.is_none();
        match chat_request.input {
            Input::New(_) if chat_request.model.is_some() => ChatSettings {
                model: chat_request.model.clone(),
                effort: chat_request.effort.clone(),
                ..self.conversation.clone()
            },
            Input::New(_) if is_new => self.conversation.clone(),
            _ => ChatSettings { model: None, effort: None, ..self.conversation.clone() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::turn::testing::model;
    use time::macros::datetime;

    fn request(json: &str) -> ChatRequest {
        ChatRequest::parse(json.as_bytes(), datetime!(2026-11-27 12:00 UTC)).unwrap()
    }

    fn settings(conversation: ChatSettings) -> TurnSettings {
        let answer_length = conversation.answer_length;
        TurnSettings { system: String::new(), answer_length, conversation }
    }

    #[test]
    fn a_length_caps_only_models_that_do_not_reason() {
        let of = |length| settings(ChatSettings { answer_length: length, ..ChatSettings::default() });
        let short = of(Some(AnswerLength::Short));
        assert_eq!(short.max_output(&model(Thinking::None)), Some(Tokens(512)));
        assert_eq!(short.max_output(&model(Thinking::Optional)), None);
        assert_eq!(of(Some(AnswerLength::Long)).max_output(&model(Thinking::None)), None);
        assert_eq!(of(None).max_output(&model(Thinking::None)), None);
    }

    #[test]
    fn a_request_that_names_a_model_has_its_own_effort() {
        let stored =
            ChatSettings { model: Some(ModelName("m".into())), effort: Some("high".into()), ..ChatSettings::default() };
        let settings = settings(stored);
        let mut model = model(Thinking::Optional);
        model.efforts = vec!["low".into(), "high".into()];
        let effort = |json: &str| settings.effort(&request(json), &model);
        assert_eq!(effort(r#"{"text":"hi"}"#).as_deref(), Some("high"));
        assert_eq!(effort(r#"{"text":"hi","model":"m"}"#), None);
        assert_eq!(effort(r#"{"text":"hi","model":"m","effort":"low"}"#).as_deref(), Some("low"));
        let id = "67e55044-10b1-426f-9247-bb680e5fe0c8";
        let chosen = request(&format!(r#"{{"text":"hi","conversation_id":"{id}","model":"n"}}"#));
        let written = settings.to_write(&chosen);
        assert_eq!((written.model, written.effort), (Some(ModelName("n".into())), None));
        let unnamed = settings.to_write(&request(&format!(r#"{{"text":"hi","conversation_id":"{id}"}}"#)));
        assert_eq!((unnamed.model, unnamed.effort), (None, None), "nothing to remember");
        model.efforts.clear();
        assert_eq!(settings.effort(&request(r#"{"text":"hi"}"#), &model), None, "not one of the model's");
    }
}
