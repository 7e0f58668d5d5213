//! Loads users' settings for their conversations, and how long these are kept.

use super::model::available_models;
use super::{PageState, Refusal, refuse};
use crate::view::chat_settings::{ChatSettingsView, RetentionView};
use domain::{ChatSettings, ConversationId, PresetId, Problem, Viewer};

/// Loads the viewer's instructions and presets, with the models that can be chosen.
pub(crate) async fn chat_settings(state: &PageState, viewer: &Viewer) -> Result<ChatSettingsView, Refusal> {
    let fail = |error| state.fail(error);
    Ok(ChatSettingsView {
        instructions: store::chat_settings::load_instructions(&state.db, viewer.user_id).await.map_err(fail)?,
        presets: store::preset::list(&state.db, viewer.user_id).await.map_err(fail)?,
        models: available_models(state, viewer).await?,
    })
}

/// Loads the settings of a conversation, or those that a new one starts with: a preset's, or defaults. Also returns whether the conversation
/// is temporary. Returns a 404 if the conversation or the preset isn't the viewer's.
pub(super) async fn settings_of(
    state: &PageState,
    viewer: &Viewer,
    conversation: Option<ConversationId>,
    preset: Option<PresetId>,
) -> Result<(ChatSettings, bool), Refusal> {
    let fail = |error| state.fail(error);
    match (conversation, preset) {
        (Some(id), _) => {
            let found = store::chat_settings::load(&state.db, viewer.user_id, id).await.map_err(fail)?;
            let found = found.ok_or_else(|| refuse(Problem::not_found("conversation")))?;
            Ok((found.settings, found.is_temporary))
        }
        (None, Some(id)) => {
            let found = store::preset::load(&state.db, viewer.user_id, id).await.map_err(fail)?;
            Ok((found.ok_or_else(|| refuse(Problem::not_found("preset")))?.settings, false))
        }
        (None, None) => Ok((ChatSettings::default(), false)),
    }
}

/// Returns the days after its last message at which a conversation of the viewer is erased; `None` if it is kept.
pub(crate) async fn retention_of(state: &PageState, viewer: &Viewer) -> Result<Option<u32>, Refusal> {
    store::retention::days_of(&state.db, viewer.user_id).await.map_err(|error| state.fail(error))
}

/// Loads how long conversations are kept, for the owner.
pub(crate) async fn retention(state: &PageState) -> Result<RetentionView, Refusal> {
    let (all, plans) = store::retention::list(&state.admin_db).await.map_err(|error| state.fail(error))?;
    Ok(RetentionView { all, plans: plans.into_iter().map(|plan| (plan.plan, plan.name, plan.days)).collect() })
}
