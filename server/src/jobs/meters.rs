//! Compares meters and budgets with the ledger.

use crate::AppState;
use crate::failure::internal;
use crate::turn::caps;
use domain::Tokens;
use quota::{Caps, Limit};
use std::time::Duration;
use store::idle::{IdleKeys, IdleSubjects, is_idle};
use store::turn::TurnContext;

/// Maximum number of users' meters that are compared in one round.
const METERS_PER_ROUND: u16 = 5_000;
/// Maximum number of API keys' meters that are compared in one round.
const KEY_METERS_PER_ROUND: u16 = 1_000;

/// Where the last rounds of comparisons ended.
#[derive(Default)]
pub(super) struct Rounds {
    users: IdleSubjects,
    keys: IdleKeys,
}

/// Compares the budgets with the ledger and rebuilds those that differ. Also runs at startup: the environment may have a cap that it did
/// not have before, and a budget without a cap is not counted.
pub(crate) async fn compare_budgets(app: AppState) {
    let compared = async {
        let context = store::turn::load_turn_context(&app.db, uuid::Uuid::nil().into(), None, AppState::now()).await?;
        let caps = Caps { demo: Some(app.config.demo_daily_spend), ..all_caps(&app, &context) };
        anyhow::Ok(app.quotas.rebuild_drifted_budgets(&caps).await?)
    };
    if let Err(error) = compared.await {
        internal(&format!("{error:#}"));
    }
}

/// Returns all caps on the turns of users.
pub(super) fn all_caps(app: &AppState, context: &TurnContext) -> Caps {
    caps(app, context, context.offers.iter().map(|offer| &offer.model.name))
}

/// Compares the meters of API keys without running calls with the ledger, in a round that continues the last one. A meter that differs twice is
/// rebuilt.
pub(super) async fn compare_key_meters(app: &AppState, rounds: &mut Rounds) -> anyhow::Result<()> {
    let (quotas, now) = (&app.quotas, AppState::now());
    let differs = async |key| matches!(quotas.key_drift(key).await, Ok(Some(_)));
    let since = now - time::Duration::hours(25);
    for key in rounds.keys.next_round(&app.jobs_db, since, now, KEY_METERS_PER_ROUND).await? {
        if !differs(key).await {
            continue;
        }
        // A bucket may have left the window of one but not yet of the other, so the difference must persist for a second.
        tokio::time::sleep(Duration::from_secs(1)).await;
        if differs(key).await {
            tracing::warn!(%key, "meter of an API key differed from the ledger; rebuilding it");
            metrics::counter!("quotient_meter_drift_total").increment(1);
            quotas.discard_key(key).await?;
        }
    }
    Ok(())
}

/// Compares the meters of users without running turns with the ledger, in a round that continues the last one. A meter that differs twice is
/// reported to the owner and rebuilt.
pub(super) async fn compare_meters(app: &AppState, rounds: &mut Rounds) -> anyhow::Result<()> {
    let now = AppState::now();
    let since = now - time::Duration::hours(25);
    for subject in rounds.users.next_round(&app.jobs_db, since, now, METERS_PER_ROUND).await? {
        let quotas = &app.quotas;
        // A meter that can't be read now is compared the next time.
        if !matches!(quotas.drift(&subject).await, Ok(Some(_))) {
            continue;
        }
        // A bucket may have left the window of one but not yet of the other, so the difference must persist for a second.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let Ok(Some(drift)) = quotas.drift(&subject).await else { continue };
        if !is_idle(&app.db, &subject, since, AppState::now()).await? {
            continue;
        }
        let total = |snapshot: &limits::Snapshot| {
            let usage = Limit::Tokens.usage(snapshot).unwrap_or_default();
            Tokens(usage.used + usage.reserved)
        };
        let (found, ledger) = (total(&drift.found), total(&drift.expected));
        tracing::warn!(%found, %ledger, "meter differed from the ledger; rebuilding it");
        metrics::counter!("quotient_meter_drift_total").increment(1);
        store::usage::record_drift(&app.db, &subject, found, ledger, AppState::now()).await?;
        quotas.discard(&subject).await?;
    }
    Ok(())
}
