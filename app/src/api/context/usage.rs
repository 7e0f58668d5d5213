//! What a person used.

use super::{Refusal, fail, quota, sources};
use domain::{Picos, Viewer};

impl From<store::usage::Totals> for crate::api::usage::Sum {
    fn from(totals: store::usage::Totals) -> Self {
        Self {
            requests: totals.requests,
            input: totals.input,
            cached: totals.cached,
            output: totals.output,
            cost: totals.cost,
        }
    }
}

/// What somebody used in the last days, today included. Where its cost isn't shown it isn't there.
pub(crate) async fn usage_of(
    person: &Viewer,
    days: u16,
    shows_cost: bool,
) -> Result<crate::api::usage::UsageView, Refusal> {
    use crate::api::usage::{Sum, UsageView};
    let sources = sources();
    let (db, zone, now) = (&sources.db, person.time_zone.as_str(), (sources.now)());
    let today = store::usage::today(db, zone, now).await.map_err(fail)?;
    let first = today - time::Duration::days(i64::from(days.clamp(1, 90)) - 1);
    let rows = store::usage::by_day_and_model(db, person.user_id, zone, first).await.map_err(fail)?;
    let returns = store::usage::comes_back(db, &person.subject, zone, now).await.map_err(fail)?;
    let last = store::usage::last_turns(db, person.user_id, zone, 20).await.map_err(fail)?;
    let mut by_day: Vec<(time::Date, Sum)> =
        std::iter::successors(Some(first), |day| day.next_day().filter(|next| *next <= today))
            .map(|day| (day, Sum::default()))
            .collect();
    let mut models: Vec<(domain::ModelName, Sum)> = Vec::new();
    let mut total = Sum::default();
    for row in rows {
        let mut sum = Sum::from(row.totals);
        if !shows_cost {
            sum.cost = Picos::ZERO;
        }
        total = total.plus(sum);
        if let Some((_, of_day)) = by_day.iter_mut().find(|(day, _)| *day == row.day) {
            *of_day = of_day.plus(sum);
        }
        match models.iter_mut().find(|(model, _)| *model == row.model) {
            Some((_, of_model)) => *of_model = of_model.plus(sum),
            None => models.push((row.model, sum)),
        }
    }
    models.sort_by_key(|(_, sum)| std::cmp::Reverse((sum.cost, sum.tokens())));
    let turn = |turn: store::usage::LastTurn| crate::api::usage::Turn {
        at: turn.at,
        model: turn.model,
        status: turn.status,
        tokens: turn.tokens,
        cost: if shows_cost { turn.cost } else { Picos::ZERO },
    };
    Ok(UsageView {
        days: by_day,
        models,
        total,
        quota: quota(person).await.ok(),
        returns,
        last: last.into_iter().map(turn).collect(),
        shows_cost,
        time_zone: person.time_zone.clone(),
    })
}
