//! Texts from `content/`: legal pages, help topics, posts, changes and incidents.

use serde::Deserialize;
use std::sync::Arc;
use time::Date;

/// A text of the site, rendered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Its URL path; of changes and incidents with the fragment on the page that lists them.
    pub path: String,
    /// The title.
    pub title: String,
    /// One sentence for lists, search results and link previews.
    pub description: String,
    /// The day it was published or last changed.
    pub date: Option<Date>,
    /// How far an incident is resolved; `None` for everything else.
    pub state: Option<IncidentState>,
    /// The text as HTML.
    pub html: String,
}

impl Entry {
    /// Returns the id of a change or an incident on the page that lists them; empty for an entry with a page of its own.
    #[must_use]
    pub fn fragment(&self) -> &str {
        self.path.split_once('#').map_or("", |(_, fragment)| fragment)
    }
}

/// How far an incident is resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IncidentState {
    /// The cause isn't known yet.
    Investigating,
    /// The cause is known, and users are still affected.
    Identified,
    /// Users should no longer be affected.
    Monitoring,
    /// Over.
    Resolved,
}

impl IncidentState {
    /// Returns the state as users read it.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Investigating => "Investigating",
            Self::Identified => "Identified",
            Self::Monitoring => "Monitoring",
            Self::Resolved => "Resolved",
        }
    }
}

/// The text of a page of the site.
#[derive(Clone, Debug)]
pub struct SiteContent {
    /// The page's own text; `None` for a page that lists entries.
    pub entry: Option<Arc<Entry>>,
    /// All entries of its kind, in the order in which they are listed.
    pub all: Arc<[Arc<Entry>]>,
}
