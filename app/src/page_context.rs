//! The request for a page: viewer, URL, form data. The server provides it as context.

use crate::api::Refusal;
use domain::{Problem, Viewer};
use std::any::Any;

/// What becomes of a page's data where reading it panicked; the server provides it as context.
#[derive(Clone, Copy)]
pub struct Panicked(pub fn(&(dyn Any + Send)) -> Refusal);

/// Who asks for which page, and what a form that failed had in it.
#[derive(Clone, Debug, Default)]
pub struct PageContext {
    /// The path, without the query.
    pub path: String,
    /// The query's pairs, decoded.
    pub query: Vec<(String, String)>,
    /// Whoever is signed in.
    pub viewer: Option<Viewer>,
    /// A form that was refused: what was typed, and what is wrong with it.
    pub form: FailedForm,
    /// The page can't be shown, and why.
    pub problem: Option<Problem>,
}

/// What was typed into a form that was refused. Never holds a password.
#[derive(Clone, Debug, Default)]
pub struct FailedForm {
    /// Fields and what was typed.
    pub typed: Vec<(&'static str, String)>,
    /// Fields and their sentence; the empty name stands for the whole form.
    pub errors: Vec<(&'static str, String)>,
}

impl FailedForm {
    /// What was typed into a field.
    #[must_use]
    pub fn typed(&self, field: &str) -> String {
        self.typed.iter().find(|(name, _)| *name == field).map(|(_, value)| value.clone()).unwrap_or_default()
    }

    /// What is wrong with a field.
    #[must_use]
    pub fn error(&self, field: &str) -> Option<String> {
        self.errors.iter().find(|(name, _)| *name == field).map(|(_, sentence)| sentence.clone())
    }
}

impl PageContext {
    /// The value of a query parameter.
    #[must_use]
    pub fn query(&self, name: &str) -> Option<String> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone())
    }
}

/// The request being answered; an empty one while routes are listed.
#[must_use]
pub fn page_context() -> PageContext {
    leptos::prelude::use_context().unwrap_or_default()
}
