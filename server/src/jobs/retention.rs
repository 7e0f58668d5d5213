//! Erases conversations that are past the time for which they are kept.

use crate::AppState;
use crate::failure::internal;

/// Number of conversations per statement, so that none holds its locks for long.
const BATCH: i64 = 500;

/// Erases temporary conversations a day after their last message, and others after the days of the plan or the deployment.
pub(super) async fn erase_expired(app: &AppState) {
    let mut erased = 0;
    loop {
        match store::retention::erase_expired(&app.jobs_db, AppState::now(), BATCH).await {
            Ok(0) => break,
            Ok(n) => erased += n,
            Err(error) => {
                internal(&error);
                break;
            }
        }
    }
    if erased > 0 {
        tracing::info!(erased, "conversations erased that are past their time");
    }
}
