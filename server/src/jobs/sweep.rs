//! Deletes rows that have expired.

use crate::AppState;
use crate::failure::internal;
use time::Duration;

/// How long a file is kept that was uploaded but never sent.
const UNSENT_FILES: Duration = Duration::days(1);
/// How long processed Stripe events are kept.
const STRIPE_EVENTS: Duration = Duration::days(30);
/// How long security events are kept.
const SECURITY_EVENTS: Duration = Duration::days(180);
/// How long a browser stays known after its last sign-in, as long as its cookie.
const KNOWN_BROWSERS: Duration = Duration::days(365);
/// How long an expired link responds with 410 before it is deleted.
const EXPIRED_SHARES: Duration = Duration::days(30);
/// How long the content of jobs that are done is kept, such as that of sent mails.
const DONE_JOBS: Duration = Duration::days(30);
/// How long the content of mails and alerts that failed for good is kept, in which an admin can retry them: as long as the longest link of a
/// mail can be used.
const FAILED_MAILS: Duration = Duration::days(7);
/// How long failed jobs without content are counted on the health page.
const FAILED_JOBS: Duration = Duration::days(90);
/// How long alerts are kept after their end, as long as the mails about them.
const ALERTS: Duration = Duration::days(30);
/// How long imports are listed.
const IMPORTS: Duration = Duration::days(90);

/// How long revoked and expired API keys are kept, so that the pages of usage show their names for all of their days.
const ENDED_KEYS: Duration = Duration::days(100);

/// Deletes expired rows of every kind. If one kind fails, the others are still deleted.
pub(super) async fn sweep(app: &AppState) {
    let (db, now) = (&app.jobs_db, AppState::now());
    let swept = [
        store::session::sweep(db, now).await.map(drop),
        store::account_token::sweep(db, now).await.map(drop),
        store::factor_challenge::sweep(db, now).await.map(drop),
        store::sign_in_state::sweep(db, now).await.map(drop),
        store::security_event::sweep(db, now - SECURITY_EVENTS).await.map(drop),
        store::attachment::sweep(db, now - UNSENT_FILES).await.map(drop),
        store::known_browser::sweep(db, now - KNOWN_BROWSERS).await.map(drop),
        store::share::sweep(db, now - EXPIRED_SHARES).await.map(drop),
        store::import::sweep(db, now - IMPORTS).await.map(drop),
        store::api_key::remove_ended(db, now - ENDED_KEYS).await,
        store::api_key::sweep_sums(db, now).await,
        store::stripe_event::sweep(db, now - STRIPE_EVENTS).await,
        store::job::erase_contents(db, now - DONE_JOBS, now - FAILED_MAILS).await.map(drop),
        store::job::sweep(db, now - FAILED_JOBS).await.map(drop),
        store::alert::sweep(db, now - ALERTS).await.map(drop),
        store::api_call::sweep(db, now - store::api_call::KEPT).await,
    ];
    for error in swept.into_iter().filter_map(Result::err) {
        internal(&error);
    }
    if let Err(error) = app.files.delete_objects(db).await {
        internal(&format!("{error:#}"));
    }
}
