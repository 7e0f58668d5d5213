//! Loads a user's shared links and imports.

use super::{PageState, Refusal};
use crate::view::import::ImportRow;
use crate::view::share::{ShareRow, SharesView};
use domain::Viewer;

/// Number of imports on the page.
const IMPORTS: i64 = 10;

/// Lists a user's shared links, newest first.
pub(crate) async fn shares_of(state: &PageState, user: &Viewer) -> Result<SharesView, Refusal> {
    let rows = store::share::list(&state.db, user.user_id).await.map_err(|error| state.fail(error))?;
    let shares = rows.into_iter().map(|row| ShareRow {
        share_id: row.id,
        conversation_id: row.conversation_id,
        title: row.title,
        created_at: row.created_at,
        expires_at: row.expires_at,
    });
    Ok(SharesView { now: (state.now)(), shares: shares.collect() })
}

/// Lists a user's latest imports, newest first.
pub(crate) async fn imports_of(state: &PageState, user: &Viewer) -> Result<Vec<ImportRow>, Refusal> {
    let rows = store::import::list(&state.db, user.user_id, IMPORTS).await.map_err(|error| state.fail(error))?;
    let count = |n: i32| u64::from(n.unsigned_abs());
    let row = |row: store::import::Import| ImportRow {
        is_running: row.is_running,
        error: row.error,
        conversations: count(row.counts.conversations),
        messages: count(row.counts.messages),
        duplicates: count(row.counts.duplicates),
        skipped: count(row.counts.skipped),
        created_at: row.created_at,
    };
    Ok(rows.into_iter().map(row).collect())
}
