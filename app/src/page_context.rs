//! The request for a page: viewer, URL and form data. The server provides it as context.

use crate::api::Refusal;
use crate::view::captcha::CaptchaWidget;
use crate::view::content::SiteContent;
use crate::view::factors::FactorResult;
use crate::view::provider::FormResult;
use crate::view::share::ShareView;
use crate::view::theme::Theme;
use domain::{Period, Problem, Viewer};
use std::any::Any;
use std::sync::Arc;

/// Converts a panic that occurred while a page's data was loaded into a [`Refusal`]. The server provides it as context.
#[derive(Clone)]
pub struct PanicHandler(pub Arc<PanicFn>);

/// Turns the value of a panic into the refusal that is shown.
pub type PanicFn = dyn Fn(&(dyn Any + Send)) -> Refusal + Send + Sync;

/// The request that a page is rendered for, with the contents of a rejected form.
#[derive(Clone, Debug, Default)]
pub struct PageContext {
    /// The URL path, without the query string.
    pub path: String,
    /// The path and query that show this page again: those of the request, or for a form, those of the page that it was sent from. Empty if
    /// the browser doesn't name that page.
    pub here: String,
    /// Query parameters, percent-decoded, in order.
    pub query: Vec<(String, String)>,
    /// The signed-in user, if any.
    pub viewer: Option<Viewer>,
    /// Hash of the request's session token, by which the list of sessions marks the current one; empty without a session.
    pub session_hash: Vec<u8>,
    /// The submitted values and validation errors of a rejected form; empty otherwise.
    pub form: FailedForm,
    /// The result of a form that changes nothing, such as a test call, shown on its page; `None` for all other requests.
    pub result: Option<FormResult>,
    /// The captcha of the page's form, if it has one.
    pub captcha: Option<CaptchaWidget>,
    /// What only the response to a form shows: the secret of an authenticator app, or recovery codes.
    pub factor: Option<FactorResult>,
    /// The text from `content/` that a page shows; `None` for all other pages.
    pub content: Option<SiteContent>,
    /// The copy of a conversation that a shared link leads to; `None` for all other pages.
    pub share: Option<ShareView>,
    /// The public URL of the site, without a slash at its end.
    pub site_url: String,
    /// Whether this deployment has passkeys: its URL has a domain name.
    pub has_passkeys: bool,
    /// Whether the landing page has a demo.
    pub has_demo: bool,
    /// Whether the visitor has hidden the chat's sidebar on desktops.
    pub hides_sidebar: bool,
    /// The theme that the visitor has chosen.
    pub theme: Theme,
    /// Why the page can't be shown; `None` if it can.
    pub problem: Option<Problem>,
}

/// The submitted values and validation errors of a rejected form. Never contains passwords.
#[derive(Clone, Debug, Default)]
pub struct FailedForm {
    /// Field names and submitted values.
    pub values: Vec<(&'static str, String)>,
    /// Field names and error messages; the empty name refers to the form as a whole.
    pub errors: Vec<(&'static str, String)>,
}

impl FailedForm {
    /// Returns the submitted value of a field, or an empty string if there is none.
    #[must_use]
    pub fn value(&self, field: &str) -> String {
        self.submitted(field).unwrap_or_default()
    }

    /// Returns the submitted value of a field; `None` if the form had no such field.
    #[must_use]
    pub fn submitted(&self, field: &str) -> Option<String> {
        self.values.iter().find(|(name, _)| *name == field).map(|(_, value)| value.clone())
    }

    /// Returns the error message of a field, if any.
    #[must_use]
    pub fn error(&self, field: &str) -> Option<String> {
        self.errors.iter().find(|(name, _)| *name == field).map(|(_, sentence)| sentence.clone())
    }
}

impl PageContext {
    /// Returns the first value of a query parameter, if present.
    #[must_use]
    pub fn query(&self, name: &str) -> Option<String> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone())
    }

    /// Returns a value that a page carries through its forms: the submitted one, or that of the query. `None` if both are empty.
    #[must_use]
    pub fn submitted_or_query(&self, name: &str) -> Option<String> {
        self.form.submitted(name).or_else(|| self.query(name)).filter(|value| !value.is_empty())
    }

    /// Returns the path to return to after signing in: the one that the page carries, else that of the plan that was chosen on the pricing
    /// page (`?plan=pro&interval=year`).
    #[must_use]
    pub fn return_path(&self) -> Option<String> {
        self.submitted_or_query("next").or_else(|| {
            let plan = self.query("plan").filter(|plan| is_plan_id(plan))?;
            let period = self.query("interval").and_then(|text| text.parse().ok()).unwrap_or_default();
            Some(plan_path(&plan, period))
        })
    }

    /// Returns a link to another page that keeps the path to return to.
    #[must_use]
    pub fn with_next(&self, page: &str) -> String {
        self.return_path().map_or_else(|| page.to_owned(), |next| returning_to(page, &next))
    }
}

/// Returns whether a text has the form of a plan's id.
fn is_plan_id(text: &str) -> bool {
    (1..=32).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
}

/// Returns the path of the pricing page on which a plan was chosen.
#[must_use]
pub fn plan_path(plan: &str, period: Period) -> String {
    format!("/pricing?plan={plan}&interval={}", period.as_str())
}

/// Returns a link to a page that then leads to the path `next`.
#[must_use]
pub fn returning_to(page: &str, next: &str) -> String {
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("next", next).finish();
    format!("{page}?{query}")
}

/// Returns the context of the current request. It is empty while routes are enumerated at startup.
#[must_use]
pub fn page_context() -> PageContext {
    leptos::prelude::use_context().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(pairs: &[(&str, &str)]) -> PageContext {
        let query = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        PageContext { path: "/sign-up".to_owned(), query, ..PageContext::default() }
    }

    #[test]
    fn a_chosen_plan_is_a_path_to_return_to() {
        let yearly = context(&[("plan", "pro"), ("interval", "year")]);
        assert_eq!(yearly.return_path().as_deref(), Some("/pricing?plan=pro&interval=year"));
        assert_eq!(yearly.with_next("/sign-in"), "/sign-in?next=%2Fpricing%3Fplan%3Dpro%26interval%3Dyear");
        assert_eq!(context(&[("plan", "max")]).return_path().as_deref(), Some("/pricing?plan=max&interval=month"));
        assert_eq!(context(&[("plan", "max"), ("next", "/usage")]).return_path().as_deref(), Some("/usage"));
        for other in ["", "a b", "a&b", "//x"] {
            assert_eq!(context(&[("plan", other)]).return_path(), None, "{other}");
        }
        assert_eq!(context(&[]).with_next("/sign-in"), "/sign-in");
    }
}
