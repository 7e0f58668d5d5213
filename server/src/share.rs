//! Read-only links to copies of conversations: creates the copies and loads them. A copy has the messages of the visible path as they were,
//! without reasoning, files, usage and anything of the account.

use crate::AppState;
use crate::accounts::tokens::token_hash;
use crate::failure::{Failure, internal};
use crate::files::upload::full;
use app::view::share::{CreatedShare, ShareView};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::{ConversationId, Problem, ProblemKind, Role, ShareId, SharedMessage, Viewer};
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use store::export::{self, ExportedMessage};
use store::share::{CreateOutcome, MAX_SHARES, NewShare};
use time::Duration;

/// Maximum size of the text of a copy in bytes.
const MAX_TEXT: usize = 2 * 1024 * 1024;

/// How long a link works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lifetime {
    /// So many days.
    Days(i64),
    /// Until it is revoked.
    Unlimited,
}

impl Lifetime {
    /// Parses the choices of the form. An empty text is the first of them.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "never" => Some(Self::Unlimited),
            "1" => Some(Self::Days(1)),
            "" | "7" => Some(Self::Days(7)),
            "30" => Some(Self::Days(30)),
            _ => None,
        }
    }
}

/// Creates a link to a copy of a conversation as it is now. The link is known only to the caller: its hash is stored.
pub(crate) async fn create(
    app: &AppState,
    viewer: &Viewer,
    conversation: ConversationId,
    lifetime: Lifetime,
) -> Result<CreatedShare, Failure> {
    let not_found = || Problem::not_found("conversation");
    let found = export::conversation(&app.db, viewer.user_id, conversation).await?.ok_or_else(not_found)?;
    if !viewer.is_verified {
        let message = "Confirm your email address before you share a conversation.";
        return Err(Problem::new(ProblemKind::VerifyEmail, message).into());
    }
    if viewer.is_paused {
        return Err(Problem::new(ProblemKind::Paused, "Your account is paused, so nothing can be shared.").into());
    }
    let settings = store::chat_settings::load(&app.db, viewer.user_id, conversation).await?;
    if settings.is_some_and(|settings| settings.is_temporary) {
        let message =
            "A temporary chat can't be shared: the link would end when the chat is deleted. Download it to keep it.";
        return Err(Problem::invalid("", message).into());
    }
    let mut copied = Vec::new();
    let (mut left, mut bytes) = (if found.leaf_id.is_some() { i32::MAX } else { 0 }, 0);
    while let Some(leaf) = found.leaf_id.filter(|_| left > 0) {
        let page = export::path(&app.db, viewer.user_id, conversation, leaf, left).await?;
        bytes += page.messages.iter().map(|message| message.text.len()).sum::<usize>();
        if bytes > MAX_TEXT {
            return Err(
                Problem::invalid("", "This conversation is too long to share: it has more than 2 MB of text.").into()
            );
        }
        copied.extend(page.messages);
        left = page.left;
    }
    copied.retain(|message| !message.text.trim().is_empty() || !message.files.0.is_empty());
    if copied.is_empty() {
        return Err(Problem::invalid("", "This conversation has no messages to share yet.").into());
    }
    let labels = labels(app).await?;
    let messages = copied.into_iter().map(|message| shared(message, &labels)).collect();
    let messages = render(app, messages).await?;
    let (now, token) = (AppState::now(), rand::random::<[u8; 32]>());
    let expires_at = match lifetime {
        Lifetime::Days(days) => Some(now + Duration::days(days)),
        Lifetime::Unlimited => None,
    };
    let id = ShareId::at(now);
    let share = NewShare {
        id,
        conversation,
        token_hash: Sha256::digest(token).into(),
        title: &found.title,
        messages: &messages,
        html_version: markdown::VERSION,
        now,
        expires_at,
    };
    match store::share::create(&app.db, viewer.user_id, &share).await? {
        CreateOutcome::Created => {
            let url = format!("{}/share/{}", app.config.public_url, URL_SAFE_NO_PAD.encode(token));
            Ok(CreatedShare { share_id: id, url, title: found.title, expires_at })
        }
        CreateOutcome::NotFound => Err(not_found().into()),
        CreateOutcome::TooMany => {
            let message = format!("You have {MAX_SHARES} shared links, which is the maximum. Revoke one first.");
            Err(Problem::invalid("", message).into())
        }
        CreateOutcome::Full(storage) => Err(full(app, viewer, storage).await?.into()),
    }
}

/// Returns the display names of all models.
async fn labels(app: &AppState) -> store::Result<HashMap<String, String>> {
    let models = store::model::list(&app.db).await?;
    Ok(models.into_iter().map(|model| (model.name.0, model.label)).collect())
}

fn shared(message: ExportedMessage, labels: &HashMap<String, String>) -> SharedMessage {
    let is_user = message.role == Role::User.as_str();
    SharedMessage {
        role: if is_user { Role::User } else { Role::Assistant },
        html: String::new(),
        model: message.model.map(|name| labels.get(&name).cloned().unwrap_or(name)),
        files: message.files.0.into_iter().map(|file| file.name).collect(),
        text: message.text,
    }
}

/// Renders the messages of a copy. Ids within a message are named after its position, not after its turn.
async fn render(app: &AppState, messages: Vec<SharedMessage>) -> Result<Vec<SharedMessage>, Problem> {
    let render = move |(index, message): (usize, SharedMessage)| {
        let html = match message.role {
            Role::User => markdown::render_message(&message.text),
            Role::Assistant => markdown::render(&message.text, &format!("m{index}")),
        };
        SharedMessage { html, ..message }
    };
    app.counting.run(move || messages.into_iter().enumerate().map(render).collect()).await
}

/// Loads the copy that a link shows.
///
/// # Errors
/// Returns a 404 problem if there is no such link, and a 410 problem if it has expired.
pub(crate) async fn open(app: &AppState, token: &str) -> Result<ShareView, Failure> {
    let not_found = || Problem::new(ProblemKind::NotFound, "This link doesn't exist, or it was revoked.");
    let hash = token_hash(token).ok_or_else(not_found)?;
    let mut found = store::share::open(&app.db, &hash).await?.ok_or_else(not_found)?;
    if found.expires_at.is_some_and(|at| at <= AppState::now()) {
        return Err(Problem::new(
            ProblemKind::Gone,
            "This link has expired. Ask the person who sent it for a new one.",
        )
        .into());
    }
    if found.html_version != markdown::VERSION {
        found.messages = render(app, found.messages).await?;
        // The page doesn't need it to be stored.
        if let Err(error) = store::share::store_html(&app.db, found.id, &found.messages, markdown::VERSION).await {
            internal(&error);
        }
    }
    Ok(ShareView { title: found.title, created_at: found.created_at, messages: found.messages })
}

#[cfg(test)]
mod tests {
    use super::Lifetime;

    #[test]
    fn lifetimes_are_the_choices_of_the_form() {
        assert_eq!(Lifetime::parse("30"), Some(Lifetime::Days(30)));
        assert_eq!(Lifetime::parse("never"), Some(Lifetime::Unlimited));
        assert_eq!(Lifetime::parse("365"), None);
    }
}
