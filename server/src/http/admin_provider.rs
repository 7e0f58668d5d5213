//! Admin actions on providers, and the test call of a model.

use crate::AppState;
use crate::admin::actions;
use crate::failure::Failure;
use crate::http::admin_form::{AdminForm, TIMEOUT_MESSAGE, optional, timeout_ms};
use crate::http::extract::{Id, SignedIn};
use crate::http::pages;
use crate::turn::probe::{Probe, probe};
use app::page_context::FailedForm;
use app::view::provider::{FormResult, ModelTest, TestResponse};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Redirect, Response};
use domain::{ModelName, Problem, Provider, ProviderName, UserId, WireFormat};
use http::Uri;
use serde::Deserialize;
use std::time::Duration;
use store::provider::Removed;

/// Time that a test call may take.
const TEST_TIMEOUT: Duration = Duration::from_secs(60);
/// Characters of a test call's response that are shown.
const TEST_CHARS: usize = 200;

/// The longest timeout to connect that can be set, in milliseconds.
const CONNECT_MAX_MS: u32 = 600_000;

/// Field names and error messages of a rejected form.
type Errors = Vec<(&'static str, String)>;

/// The form of a provider.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct ProviderForm {
    /// Name of the provider to change; empty to add one.
    current: String,
    name: String,
    label: String,
    format: String,
    base_url: String,
    key_variable: String,
    connect_timeout_ms: String,
    first_byte_timeout_ms: String,
    idle_timeout_ms: String,
    max_in_flight: String,
}

impl ProviderForm {
    /// Returns the name of the provider to add or change.
    fn provider_name(&self) -> ProviderName {
        let name = if self.current.is_empty() { &self.name } else { &self.current };
        ProviderName(name.trim().to_owned())
    }

    /// Returns what was typed, for the form to be shown again.
    fn values(self) -> Vec<(&'static str, String)> {
        vec![
            ("current", self.current),
            ("name", self.name),
            ("label", self.label),
            ("format", self.format),
            ("base_url", self.base_url),
            ("key_variable", self.key_variable),
            ("connect_timeout_ms", self.connect_timeout_ms),
            ("first_byte_timeout_ms", self.first_byte_timeout_ms),
            ("idle_timeout_ms", self.idle_timeout_ms),
            ("max_in_flight", self.max_in_flight),
        ]
    }

    /// Parses the provider. `is_known` is whether one of its name exists.
    ///
    /// # Errors
    /// Returns an error for each invalid field.
    fn parse(&self, is_known: bool) -> Result<Provider, Errors> {
        let mut errors = Errors::new();
        let name = self.provider_name();
        if self.current.is_empty() && !is_name(&name.0) {
            errors.push((
                "name",
                "Enter 1 to 40 of a-z, 0-9, dots, dashes and underscores, first a letter or digit.".into(),
            ));
        } else if self.current.is_empty() && is_known {
            errors.push(("name", "A provider with this name exists. Change it above, or choose another name.".into()));
        }
        let label = self.label.trim();
        if !(1..=80).contains(&label.chars().count()) || label.chars().any(char::is_control) {
            errors.push(("label", "Enter 1 to 80 characters.".into()));
        }
        let wire_format = self.format.parse::<WireFormat>().ok().filter(|format| *format != WireFormat::Demo);
        if wire_format.is_none() {
            errors.push(("format", "Choose a wire format.".into()));
        }
        let base_url_message = "Enter a URL that begins with https:// or http://, without a user, a password or a query, or leave it empty.";
        let base_url = field(&mut errors, "base_url", &self.base_url, base_url_message, parse_base_url);
        let key_message = "Enter the name of a variable in capitals that ends in _API_KEY, or leave it empty.";
        let key_variable = field(&mut errors, "key_variable", &self.key_variable, key_message, parse_key_variable);
        if self.base_url.trim().is_empty() && self.key_variable.trim().is_empty() {
            errors.push(("base_url", "Enter a base URL, the variable of an API key, or both.".into()));
        }
        let connect = |text: &str| timeout_ms(text).filter(|ms| *ms <= CONNECT_MAX_MS);
        let connect_message = "Enter 1 to 600000 milliseconds, or leave it empty.";
        let connect_timeout_ms =
            field(&mut errors, "connect_timeout_ms", &self.connect_timeout_ms, connect_message, connect);
        let mut timeout = |name, text| field(&mut errors, name, text, TIMEOUT_MESSAGE, timeout_ms);
        let first_byte_timeout_ms = timeout("first_byte_timeout_ms", &self.first_byte_timeout_ms);
        let idle_timeout_ms = timeout("idle_timeout_ms", &self.idle_timeout_ms);
        let max = |text: &str| text.parse::<u32>().ok().filter(|max| (1..=100_000).contains(max));
        let max_message = "Enter 1 to 100000, or leave it empty.";
        let max_in_flight = field(&mut errors, "max_in_flight", &self.max_in_flight, max_message, max);
        match wire_format {
            Some(wire_format) if errors.is_empty() => Ok(Provider {
                name,
                label: label.to_owned(),
                wire_format,
                base_url,
                key_variable,
                connect_timeout_ms,
                first_byte_timeout_ms,
                idle_timeout_ms,
                max_in_flight,
            }),
            _ => Err(errors),
        }
    }
}

/// Parses an optional field and adds its error if it is invalid.
fn field<T>(
    errors: &mut Errors,
    name: &'static str,
    text: &str,
    message: &str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Option<T> {
    optional(name, text, message, parse).unwrap_or_else(|problem| {
        errors.push((name, problem.message));
        None
    })
}

fn is_name(name: &str) -> bool {
    let is_start = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    name.len() <= 40 && name.starts_with(is_start) && name.chars().all(|c| is_start(c) || "._-".contains(c))
}

/// Parses a base URL. A password in it would be stored and shown, so it isn't accepted.
fn parse_base_url(text: &str) -> Option<String> {
    let uri: Uri = text.parse().ok()?;
    let has_scheme = text.starts_with("https://") || text.starts_with("http://");
    let is_plain = !uri.authority()?.as_str().contains('@') && uri.query().is_none() && !text.contains('#');
    (has_scheme && is_plain && text.len() <= 500).then(|| text.trim_end_matches('/').to_owned())
}

/// Parses the name of a variable that holds an API key.
fn parse_key_variable(text: &str) -> Option<String> {
    let prefix = text.strip_suffix("_API_KEY")?;
    let is_name = prefix.starts_with(|c: char| c.is_ascii_uppercase())
        && prefix.len() <= 61
        && prefix.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    is_name.then(|| text.to_owned())
}

/// Describes a provider for the audit log.
fn describe(provider: &Provider) -> String {
    let Provider { name, label, base_url, key_variable, .. } = provider;
    let timeouts = [
        ("connect", provider.connect_timeout_ms),
        ("first byte", provider.first_byte_timeout_ms),
        ("silence", provider.idle_timeout_ms),
    ];
    let timeouts: String = timeouts.iter().filter_map(|(what, ms)| ms.map(|ms| format!(", {what} {ms} ms"))).collect();
    let max = provider.max_in_flight.map(|max| format!(", {max} calls at once")).unwrap_or_default();
    format!(
        "{name}: {label}, {}, {}, {}{timeouts}{max}",
        provider.wire_format.as_str(),
        base_url.as_deref().unwrap_or("default URL"),
        key_variable.as_deref().unwrap_or("no key"),
    )
}

/// `POST /admin/providers`: adds or changes a provider.
pub(crate) async fn save(
    State(app): State<AppState>,
    AdminForm { admin, form, request }: AdminForm<ProviderForm>,
) -> Result<Response, Failure> {
    let before = store::provider::find(&app.db, &form.provider_name()).await?;
    let is_unknown = !form.current.is_empty() && before.is_none();
    if is_unknown || before.as_ref().is_some_and(|provider| provider.wire_format == WireFormat::Demo) {
        return Ok(pages::problem(&app, request, Problem::not_found("provider")).await);
    }
    let provider = match form.parse(before.is_some()) {
        Ok(provider) => provider,
        Err(errors) => {
            let form = FailedForm { values: form.values(), errors };
            return Ok(pages::form_again(&app, request, form).await);
        }
    };
    if before.as_ref() != Some(&provider) {
        store::provider::save(&app.db, &provider).await?;
        audit(&app, admin.user_id, "save_provider", before.as_ref(), Some(&provider)).await?;
    }
    Ok(Redirect::to("/admin/providers?saved=yes").into_response())
}

/// `POST /admin/providers/{provider}/remove`: removes a provider that no model uses.
pub(crate) async fn remove(
    State(app): State<AppState>,
    SignedIn(admin): SignedIn,
    Id(name): Id<ProviderName>,
    request: Request,
) -> Result<Response, Failure> {
    let before = store::provider::find(&app.db, &name).await?;
    match store::provider::remove(&app.db, &name).await? {
        Removed::Yes => {
            audit(&app, admin.user_id, "remove_provider", before.as_ref(), None).await?;
            Ok(Redirect::to("/admin/providers?saved=yes").into_response())
        }
        Removed::NotFound => Ok(pages::problem(&app, request, Problem::not_found("provider")).await),
        Removed::InUse => {
            let sentence = format!(
                "{name} has models, so it wasn't removed. Remove them first, or move them to another provider: quotient models remove, quotient models add."
            );
            let form = FailedForm { values: Vec::new(), errors: vec![("", sentence)] };
            Ok(pages::form_again_at(&app, request, "/admin/providers", form).await)
        }
    }
}

/// Writes an audit row about a provider.
async fn audit(
    app: &AppState,
    admin: UserId,
    action: &str,
    before: Option<&Provider>,
    after: Option<&Provider>,
) -> Result<(), Failure> {
    let (before, after) = (before.map(describe), after.map(describe));
    let entry = store::audit::Entry {
        actor: Some(admin),
        target: None,
        action,
        before: before.as_deref(),
        after: after.as_deref(),
        why: None,
    };
    Ok(store::audit::write(&app.db, &entry, AppState::now()).await?)
}

/// `POST /admin/models/{model}/test`: sends one short request to a model and shows its latency, usage and cost. The query `on=providers`
/// names the page that the button was on.
pub(crate) async fn test_model(
    State(app): State<AppState>,
    SignedIn(admin): SignedIn,
    Id(name): Id<ModelName>,
    request: Request,
) -> Result<Response, Failure> {
    let now = AppState::now();
    let models = store::model_rule::list(&app.admin_db, now).await?;
    let Some(row) = models.into_iter().find(|row| row.model.name == name) else {
        return Ok(pages::problem(&app, request, Problem::not_found("model")).await);
    };
    let price = store::model::price(&app.db, &name, now).await?;
    let called = tokio::time::timeout(TEST_TIMEOUT, probe(&app.config, &row.model, price.as_ref())).await;
    let response = match called {
        Ok(Ok(called)) => {
            if let Some(limit) = called.learned {
                store::model::set_output_limit(&app.db, &name, limit).await?;
            }
            Ok(shown(called))
        }
        Ok(Err(error)) => Err(format!("The test failed: {error:#}.")),
        Err(_) => Err(format!("The test failed: no complete response within {} s.", TEST_TIMEOUT.as_secs())),
    };
    let outcome = match &response {
        Ok(response) => {
            let cost = response.cost.map_or_else(|| "no price".to_owned(), |cost| format!("${}", cost.exact()));
            format!("{name}: answered in {} ms, {} tokens, {cost}", response.total_ms, response.usage.counted())
        }
        Err(reason) => format!("{name}: {reason}"),
    };
    actions::note(&app, admin.user_id, "test_model", &outcome).await?;
    let page = if request.uri().query() == Some("on=providers") { "/admin/providers" } else { "/admin/models" };
    let test = ModelTest { model: name, response };
    Ok(pages::form_result(&app, request, page, FormResult::Test(test)).await)
}

/// Converts a test call's response for the page.
fn shown(called: Probe) -> TestResponse {
    TestResponse {
        text: called.text.chars().take(TEST_CHARS).collect(),
        ttft_ms: called.ttft_ms,
        total_ms: called.latency_ms,
        usage: called.usage,
        source: called.source,
        cost: called.cost,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form() -> ProviderForm {
        ProviderForm {
            name: "openrouter".into(),
            label: "OpenRouter".into(),
            format: "openai".into(),
            base_url: "https://openrouter.ai/api/v1/".into(),
            key_variable: "OPENROUTER_API_KEY".into(),
            ..ProviderForm::default()
        }
    }

    #[test]
    fn valid_forms_become_providers() {
        let provider = ProviderForm { idle_timeout_ms: " 300000 ".into(), ..form() }.parse(false).unwrap();
        assert_eq!(provider.base_url.as_deref(), Some("https://openrouter.ai/api/v1"));
        assert_eq!((provider.idle_timeout_ms, provider.max_in_flight), (Some(300_000), None));
        assert!(ProviderForm { key_variable: String::new(), ..form() }.parse(false).is_ok(), "a server without a key");
        assert!(ProviderForm { base_url: String::new(), ..form() }.parse(false).is_ok(), "the format's own URL");
        let change = ProviderForm { current: "openrouter".into(), name: String::new(), ..form() };
        assert_eq!(change.parse(true).unwrap().name.0, "openrouter");
    }

    #[test]
    fn each_invalid_field_is_named() {
        let long = "x".repeat(81);
        let bad: [(&'static str, &[&str]); 8] = [
            ("name", &["", "Open Router", "-x", "é", "a/b"]),
            ("label", &["", " ", &long, "a\u{0}b"]),
            ("format", &["", "demo", "other"]),
            (
                "base_url",
                &["ftp://x", "openrouter.ai", "https://", "https://user:pass@x.example", "https://x.example?key=1"],
            ),
            ("key_variable", &["DATABASE_URL", "openai_api_key", "_API_KEY", "1_API_KEY", "A B_API_KEY"]),
            ("connect_timeout_ms", &["0", "600001"]),
            ("idle_timeout_ms", &["0", "3600001", "1.5", "soon"]),
            ("max_in_flight", &["0", "-1", "many"]),
        ];
        for (name, values) in bad {
            for value in values {
                let mut form = form();
                let field = match name {
                    "name" => &mut form.name,
                    "label" => &mut form.label,
                    "format" => &mut form.format,
                    "base_url" => &mut form.base_url,
                    "key_variable" => &mut form.key_variable,
                    "connect_timeout_ms" => &mut form.connect_timeout_ms,
                    "idle_timeout_ms" => &mut form.idle_timeout_ms,
                    _ => &mut form.max_in_flight,
                };
                *field = (*value).to_owned();
                let errors = form.parse(false).unwrap_err();
                assert_eq!(errors.iter().map(|(field, _)| *field).collect::<Vec<_>>(), [name], "{value}");
            }
        }
        assert_eq!(form().parse(true).unwrap_err()[0].0, "name", "an existing provider isn't overwritten");
        let neither = ProviderForm { base_url: String::new(), key_variable: String::new(), ..form() };
        assert_eq!(neither.parse(false).unwrap_err()[0].0, "base_url");
    }
}
