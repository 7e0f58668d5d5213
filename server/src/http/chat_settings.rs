//! Form handlers of users' settings for their conversations: instructions and presets on `/settings/chat`, the settings of one conversation
//! on its page, and the end of a temporary one.

use crate::AppState;
use crate::accounts::rejection::Rejection;
use crate::failure::Failure;
use crate::http::account_form::{reject, unreadable};
use crate::http::extract::{Id, SignedIn, read_form};
use crate::http::pages;
use app::page_context::FailedForm;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Redirect, Response};
use domain::chat_settings::{MAX_INSTRUCTIONS, MAX_PRESET_NAME};
use domain::money::count;
use domain::{AnswerLength, ChatSettings, ConversationId, ModelName, PresetId, Problem, TurnId, Viewer};
use serde::Deserialize;
use store::preset::{MAX_PRESETS, Saved};

/// The page of instructions and presets.
const PAGE: &str = "/settings/chat";

/// Error messages by field.
type FieldErrors = Vec<(&'static str, String)>;

/// The fields of settings.
#[derive(Deserialize)]
struct SettingsFields {
    #[serde(default)]
    instructions: String,
    /// Empty leaves the choice to the plan.
    #[serde(default)]
    model: String,
    /// Empty leaves the choice to the model.
    #[serde(default)]
    effort: String,
    /// Empty leaves the choice to the model.
    #[serde(default)]
    answer_length: String,
}

impl SettingsFields {
    /// Returns what was entered, to fill the form again.
    fn values(self) -> Vec<(&'static str, String)> {
        vec![
            ("instructions", self.instructions),
            ("model", self.model),
            ("effort", self.effort),
            ("answer_length", self.answer_length),
        ]
    }

    /// Checks the fields. A model must be one of the plan, and an effort one of the model's, or of any model if none is chosen.
    async fn check(&self, app: &AppState, viewer: &Viewer) -> Result<Result<ChatSettings, FieldErrors>, Failure> {
        let mut errors = FieldErrors::new();
        let instructions = checked_instructions(&self.instructions).unwrap_or_else(|message| {
            errors.push(("instructions", message));
            String::new()
        });
        let now = AppState::now();
        let model = Some(self.model.clone()).filter(|name| !name.is_empty()).map(ModelName);
        let context = store::turn::load_turn_context(&app.db, TurnId::at(now), model.as_ref(), now).await?;
        let chosen =
            context.offers.iter().map(|offer| &offer.model).find(|offered| Some(&offered.name) == model.as_ref());
        match (&model, chosen) {
            (None, _) => {}
            (Some(_), None) => errors.push(("model", "This model doesn't exist. Choose another one.".to_owned())),
            (Some(name), Some(found)) if !viewer.plan.allows(name) => {
                errors.push(("model", Problem::plan_too_small(&found.label, None).message));
            }
            _ => {}
        }
        let effort = Some(self.effort.clone()).filter(|effort| !effort.is_empty());
        let mut known =
            context.offers.iter().map(|offer| &offer.model).filter(|found| model.is_none() || chosen == Some(found));
        if effort.as_ref().is_some_and(|effort| !known.any(|model| model.efforts.contains(effort))) {
            let message = match chosen {
                Some(model) if model.efforts.is_empty() => {
                    format!("{} has no adjustable reasoning effort.", model.label)
                }
                Some(model) => format!("{} supports these efforts: {}.", model.label, model.efforts.join(", ")),
                None => "No model has this reasoning effort.".to_owned(),
            };
            errors.push(("effort", message));
        }
        let answer_length = match self.answer_length.as_str() {
            "" => None,
            name => name.parse::<AnswerLength>().map_or_else(
                |_| {
                    errors.push(("answer_length", "Choose an answer length.".to_owned()));
                    None
                },
                Some,
            ),
        };
        Ok(if errors.is_empty() {
            Ok(ChatSettings { instructions, model, effort, answer_length })
        } else {
            Err(errors)
        })
    }
}

/// Returns instructions as they are stored, or an error message.
fn checked_instructions(text: &str) -> Result<String, String> {
    // Forms send line breaks as CR LF.
    let text = text.replace("\r\n", "\n").trim().to_owned();
    match text.chars().count() {
        n if n > MAX_INSTRUCTIONS => Err(format!(
            "Use at most {}. You entered {n}.",
            count(u64::try_from(MAX_INSTRUCTIONS).unwrap_or(u64::MAX), "character", "characters")
        )),
        _ => Ok(text),
    }
}

/// The form of the user's instructions.
#[derive(Deserialize)]
struct InstructionsForm {
    #[serde(default)]
    account_instructions: String,
}

/// `POST /settings/chat/instructions`: sets the user's instructions for all conversations.
pub(crate) async fn set_instructions(
    State(app): State<AppState>,
    SignedIn(viewer): SignedIn,
    request: Request,
) -> Result<Response, Failure> {
    let (form, again) = read_form::<InstructionsForm>(request).await.map_err(unreadable)?;
    match checked_instructions(&form.account_instructions) {
        Ok(text) => {
            store::chat_settings::set_instructions(&app.db, viewer.user_id, &text).await?;
            Ok(Redirect::to("/settings/chat?saved=instructions").into_response())
        }
        Err(message) => {
            let values = vec![("account_instructions", form.account_instructions)];
            Ok(reject(&app, again, PAGE, values, Rejection::invalid("account_instructions", message)).await)
        }
    }
}

/// The form of a preset.
#[derive(Deserialize)]
struct PresetForm {
    #[serde(default)]
    name: String,
    #[serde(flatten)]
    settings: SettingsFields,
}

/// `POST /settings/chat/presets`: creates a preset.
pub(crate) async fn create_preset(
    State(app): State<AppState>,
    SignedIn(viewer): SignedIn,
    request: Request,
) -> Result<Response, Failure> {
    save_preset(&app, &viewer, None, request).await
}

/// `POST /settings/chat/presets/{preset_id}`: changes a preset.
pub(crate) async fn change_preset(
    State(app): State<AppState>,
    SignedIn(viewer): SignedIn,
    Id(preset): Id<PresetId>,
    request: Request,
) -> Result<Response, Failure> {
    save_preset(&app, &viewer, Some(preset), request).await
}

async fn save_preset(
    app: &AppState,
    viewer: &Viewer,
    preset: Option<PresetId>,
    request: Request,
) -> Result<Response, Failure> {
    let (form, again) = read_form::<PresetForm>(request).await.map_err(unreadable)?;
    let name = form.name.trim().to_owned();
    let checked = form.settings.check(app, viewer).await?;
    let is_name = (1..=MAX_PRESET_NAME).contains(&name.chars().count()) && !name.chars().any(char::is_control);
    let name_error = || ("name", format!("Enter a name of at most {MAX_PRESET_NAME} characters."));
    let errors = match checked {
        Ok(settings) if is_name => {
            let saved = match preset {
                Some(id) => store::preset::update(&app.db, viewer.user_id, id, &name, &settings).await?,
                None => store::preset::create(&app.db, viewer.user_id, &name, &settings, AppState::now()).await?,
            };
            match saved {
                Saved::Yes => return Ok(Redirect::to("/settings/chat?saved=preset").into_response()),
                Saved::NotFound => return Err(Problem::not_found("preset").into()),
                Saved::NameTaken => vec![("name", "You have another preset with this name.".to_owned())],
                Saved::TooMany => {
                    vec![("", format!("You have {MAX_PRESETS} presets, the maximum. Delete one first."))]
                }
            }
        }
        Ok(_) => vec![name_error()],
        Err(errors) => errors.into_iter().chain((!is_name).then(name_error)).collect(),
    };
    let values = std::iter::once(("name", form.name)).chain(form.settings.values()).collect();
    let path = preset.map_or_else(|| PAGE.to_owned(), |id| format!("{PAGE}?preset={id}"));
    form_again(app, again, &path, FailedForm { values, errors }).await
}

/// Renders the page at `path` again with the errors of its form.
async fn form_again(app: &AppState, mut request: Request, path: &str, form: FailedForm) -> Result<Response, Failure> {
    *request.uri_mut() = path.parse().map_err(anyhow::Error::from)?;
    Ok(pages::form_again(app, request, form).await)
}

/// `POST /settings/chat/presets/{preset_id}/delete`: deletes a preset.
pub(crate) async fn delete_preset(
    State(app): State<AppState>,
    SignedIn(viewer): SignedIn,
    Id(preset): Id<PresetId>,
) -> Result<Response, Failure> {
    match store::preset::delete(&app.db, viewer.user_id, preset).await? {
        true => Ok(Redirect::to("/settings/chat?saved=preset-removed").into_response()),
        false => Err(Problem::not_found("preset").into()),
    }
}

/// The form of a conversation's settings: either the fields, or a preset to copy.
#[derive(Deserialize)]
struct ConversationForm {
    preset: Option<PresetId>,
    #[serde(flatten)]
    settings: SettingsFields,
}

/// `POST /chat/{conversation_id}/settings`: sets a conversation's settings, or copies those of a preset. They apply from the next message on.
pub(crate) async fn set(
    State(app): State<AppState>,
    SignedIn(viewer): SignedIn,
    Id(id): Id<ConversationId>,
    request: Request,
) -> Result<Response, Failure> {
    let (form, again) = read_form::<ConversationForm>(request).await.map_err(unreadable)?;
    if store::chat_settings::load(&app.db, viewer.user_id, id).await?.is_none() {
        return Err(Problem::not_found("conversation").into());
    }
    let page = format!("/chat/{id}");
    let settings = match form.preset {
        Some(preset) => {
            let preset = store::preset::load(&app.db, viewer.user_id, preset).await?;
            preset.ok_or_else(|| Problem::not_found("preset"))?.settings
        }
        None => match form.settings.check(&app, &viewer).await? {
            Ok(settings) => settings,
            Err(errors) => {
                let failed = FailedForm { values: form.settings.values(), errors };
                return form_again(&app, again, &page, failed).await;
            }
        },
    };
    match store::chat_settings::set(&app.db, viewer.user_id, id, &settings).await? {
        true => Ok(Redirect::to(&page).into_response()),
        false => Err(Problem::not_found("conversation").into()),
    }
}

/// `POST /chat/{conversation_id}/end`: erases a temporary conversation. Ledger and meters are not affected.
pub(crate) async fn end_temporary(
    State(app): State<AppState>,
    SignedIn(viewer): SignedIn,
    Id(id): Id<ConversationId>,
) -> Result<Response, Failure> {
    match store::retention::end_temporary(&app.db, viewer.user_id, id).await? {
        true => Ok(Redirect::to("/chat").into_response()),
        false => Err(Problem::not_found("temporary chat").into()),
    }
}
