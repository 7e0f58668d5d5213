//! Attached files in an export: a list of all, and each as it is stored.

use super::PAGE;
use super::archive::Archive;
use crate::AppState;
use domain::Viewer;
use serde_json::{Value, json};

/// Writes the files, one in memory at a time, and the list of them.
pub(super) async fn write(app: &AppState, viewer: &Viewer, archive: &mut Archive) -> anyhow::Result<()> {
    let (mut listed, mut after) = (Vec::new(), None);
    loop {
        let page = store::attachment::next(&app.db, viewer.user_id, after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        for file in page {
            // A file that was deleted meanwhile is left out.
            let Some(stored) = store::attachment::load(&app.db, viewer.user_id, file.id, true).await? else { continue };
            let Some(data) = stored.data else { continue };
            // Names have no path; the number makes each of them unique.
            let path = format!("attachments/{:03}-{}", listed.len() + 1, file.name);
            archive.file(&path, &app.files.bytes(data).await?).await?;
            let mut entry = json!(file);
            entry["path"] = Value::String(path);
            listed.push(entry);
        }
    }
    let mut list = archive.list("attachments.json")?;
    list.add(archive, &listed).await?;
    list.end(archive).await
}
