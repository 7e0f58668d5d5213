//! Loads a user's usage.

use super::{PageState, Refusal, quota};
use crate::view::usage::{Turn, UsageView, UsedModel};
use domain::{ModelName, Picos, UsageSum, Viewer};
use std::collections::{BTreeMap, HashMap};
use store::rollup::Sums;
use store::usage::UsageOf;

/// Number of recent turns that are listed.
const TURNS: i64 = 12;

/// Who reads a user's usage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reader {
    /// The user, who sees costs if the plan shows them.
    User,
    /// The owner, who sees costs but no titles of conversations.
    Owner,
}

/// Loads a user's usage of the last `days` days, including today. All costs are zero if the reader doesn't see them.
pub(crate) async fn usage_of(
    state: &PageState,
    db: &store::Db,
    user: &Viewer,
    days: u16,
    reader: Reader,
) -> Result<UsageView, Refusal> {
    let fail = |error| state.fail(error);
    let shows_conversations = reader == Reader::User;
    let shows_cost = reader == Reader::Owner || user.plan.shows_cost;
    let (zone, now) = (store::local_time::known_zone(db, &user.time_zone).await.map_err(fail)?, (state.now)());
    let today = store::local_time::today(db, zone, now).await.map_err(fail)?;
    let first = today - time::Duration::days(i64::from(days.clamp(1, 90)) - 1);
    let rows = store::usage::by_day(db, user.user_id, zone, first).await.map_err(fail)?;
    let refills = store::usage::refill_schedule(db, &user.subject, zone, now).await.map_err(fail)?;
    let recent_turns = store::usage::last_turns(db, user.user_id, zone, TURNS).await.map_err(fail)?;
    let known_models = store::model_rule::list(db, now).await.map_err(fail)?;
    let labels: HashMap<_, _> = known_models.into_iter().map(|row| (row.model.name, row.model.label)).collect();
    let used_model = |name: String| {
        let name = ModelName(name);
        UsedModel { label: labels.get(&name).unwrap_or(&name.0).clone(), name }
    };
    // Sums are exact ledger values and are converted for display only at the end, so that a correction recorded on another day counts in
    // full.
    let (mut total, mut by_model) = (Sums::default(), BTreeMap::<String, Sums>::new());
    let mut by_caller = BTreeMap::<UsageOf, Sums>::new();
    let every_day = std::iter::successors(Some(first), |day| day.next_day().filter(|next| *next <= today));
    let mut by_day: BTreeMap<time::Date, Sums> = every_day.map(|day| (day, Sums::default())).collect();
    for mut row in rows {
        if !shows_cost {
            row.sums.cost = 0;
        }
        total += &row.sums;
        *by_day.entry(row.day).or_default() += &row.sums;
        *by_model.entry(row.model.0).or_default() += &row.sums;
        *by_caller.entry(row.of).or_default() += &row.sums;
    }
    let mut models: Vec<(UsedModel, UsageSum)> =
        by_model.into_iter().map(|(model, sums)| (used_model(model), UsageSum::from(&sums))).collect();
    models.sort_by_key(|(_, sum)| std::cmp::Reverse((sum.cost, sum.tokens())));
    let mut callers: Vec<(String, UsageSum)> =
        by_caller.into_iter().map(|(of, sums)| (label_of(of), UsageSum::from(&sums))).collect();
    callers.sort_by_key(|(_, sum)| std::cmp::Reverse((sum.cost, sum.tokens())));
    let turn = |turn: store::usage::LastTurn| Turn {
        at: turn.at,
        conversation: turn.conversation.filter(|_| shows_conversations),
        model: used_model(turn.model),
        status: turn.status,
        tokens: turn.tokens,
        cost: if shows_cost { turn.cost } else { Picos::ZERO },
    };
    Ok(UsageView {
        days: by_day.into_iter().map(|(day, sums)| (day, UsageSum::from(&sums))).collect(),
        models,
        callers,
        total: UsageSum::from(&total),
        quota: quota(state, user).await.ok(),
        refills,
        recent_turns: recent_turns.into_iter().map(turn).collect(),
        shows_cost,
        shows_conversations,
        time_zone: zone.to_owned(),
    })
}

/// Names what usage was made with.
fn label_of(of: UsageOf) -> String {
    match of {
        UsageOf::Chat => "Chat".to_owned(),
        UsageOf::Key { name, .. } => name.unwrap_or_else(|| "Deleted key".to_owned()),
    }
}
