//! Links in whose place a part of a list is loaded: earlier messages, and more conversations.

use crate::browser::api::{self, Failure};
use crate::browser::dom::{self, PageElement};

/// Returns the element with the link and the URL of the part; `None` if the page shows the whole list.
fn link(id: &str) -> Option<(PageElement, String)> {
    let place = dom::element(id)?;
    let url = place.find("[data-fragment]")?.attribute("data-fragment")?;
    Some((place, url))
}

/// Loads the part that replaces the element with this id. Returns both; `None` if there is nothing to load, if it can't be loaded, or if the
/// page shows another part of the list by now. After a failure, which is shown beside the link, only a click loads again.
pub(super) async fn load(id: &str, is_clicked: bool) -> Option<(PageElement, String)> {
    let (place, url) = link(id)?;
    if place.attribute("data-failed").is_some() && !is_clicked {
        return None;
    }
    let result = api::fragment(&url).await;
    let (place, _) = link(id).filter(|(_, now)| *now == url)?;
    match result {
        Ok(html) => return Some((place, html)),
        Err(failure) => {
            place.mark("data-failed", true);
            if let Some(note) = place.slot("failed") {
                if let Failure::Refused(refusal) = failure {
                    note.set_text(&refusal.message);
                }
                note.show(true);
            }
        }
    }
    None
}
