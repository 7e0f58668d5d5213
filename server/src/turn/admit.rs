//! Admission: checks the switches that refuse a turn, and reserves its maximum usage in the user's meter and in the spend budgets.

use super::prompt::{Fallback, larger};
use super::turn_request::TurnRequest;
use crate::AppState;
use crate::failure::Failure;
use domain::{Model, ModelName, Plan, Problem, ProblemKind, Tokens, Viewer, WireFormat};
use quota::{Budget, Caps, Demand, Limit, Refused, Reservation, Verdict};
use store::turn::TurnContext;

/// Refuses while this server shuts down, chat is paused, or the user is paused.
pub(super) fn check_switches(app: &AppState, viewer: &Viewer, context: &TurnContext) -> Result<(), Problem> {
    if app.draining.is_cancelled() {
        return Err(Problem::restarting());
    }
    if context.switches.paused {
        return Err(Problem::chat_paused());
    }
    if viewer.is_paused {
        return Err(Problem::paused());
    }
    Ok(())
}

/// Refuses a call that costs money while the user's address isn't verified: anyone can enter any address (field note 64). The demo model is
/// free, and is offered only while no other model is.
pub(super) fn check_verified(viewer: &Viewer, model: &Model) -> Result<(), Problem> {
    if viewer.is_verified || model.provider.wire_format == WireFormat::Demo {
        return Ok(());
    }
    let message = format!(
        "Confirm your email address to use this model. We sent a link to {}. Your draft is kept.",
        viewer.email
    );
    Err(Problem::new(ProblemKind::VerifyEmail, message))
}

/// Refuses if the circuits of the model and of its fallback are both open, before anything is written (field note 100).
pub(super) fn check_circuit(app: &AppState, model: &Model, fallback: Option<&Fallback>) -> Result<(), Problem> {
    match (app.providers.open_for_ms(model), fallback.map(|fallback| app.providers.open_for_ms(&fallback.model))) {
        // Retrying doesn't help until the owner acts.
        (Some(_), None | Some(Some(_))) if app.providers.needs_owner(model) => {
            Err(Problem::out_of_service(&model.label))
        }
        (Some(retry_after_ms), None | Some(Some(_))) => Err(Problem::model_unavailable(retry_after_ms)),
        _ => Ok(()),
    }
}

/// Returns the spend caps for a turn: the smaller of the global caps in the environment and in the database, and the caps of these models.
pub(crate) fn caps<'a>(app: &AppState, context: &TurnContext, models: impl IntoIterator<Item = &'a ModelName>) -> Caps {
    let caps = [app.config.daily_spend, context.switches.daily_spend];
    let cap = |name: &ModelName| {
        let offer = context.offers.iter().find(|offer| offer.model.name == *name)?;
        offer.daily_spend.map(|cap| (name.clone(), cap))
    };
    Caps {
        global: caps.into_iter().flatten().min(),
        models: models.into_iter().filter_map(cap).collect(),
        ..Caps::default()
    }
}

/// Reserves the turn's maximum usage. Returns `None` if this turn was admitted before.
///
/// # Errors
/// Returns a problem with the time at which the turn would fit.
pub(super) async fn admit(
    app: &AppState,
    request: &mut TurnRequest,
    mut caps: Caps,
) -> Result<Option<Reservation>, Failure> {
    let mut verdict = reserve(app, request, &caps).await?;
    // A turn that is too large to be hedged may fit without hedging.
    if request.hedge_after.is_some() && matches!(verdict, Verdict::Refused(_)) {
        request.hedge_after = None;
        verdict = reserve(app, request, &caps).await?;
    }
    // If only the fallback has reached its spend cap, the turn runs without a fallback.
    if let Verdict::Refused(Refused::SpendCap { budget: Budget::Model(model), .. }) = &verdict
        && *model != request.model.name
    {
        caps.models.retain(|(name, _)| name != model);
        request.fallback = None;
        verdict = reserve(app, request, &caps).await?;
    }
    match verdict {
        Verdict::Granted(reservation) => Ok(Some(reservation)),
        Verdict::Running => Ok(None),
        Verdict::Refused(refused) => {
            let (plan, demand) = (&request.viewer.plan, request.demand);
            Err(refusal_problem(app, plan, &request.model, demand, refused).await?.into())
        }
    }
}

async fn reserve(app: &AppState, request: &TurnRequest, caps: &Caps) -> Result<Verdict, Failure> {
    let turn_id = request.chat_request.turn_id;
    Ok(app.quotas.admit(&request.viewer, turn_id, request.demand(), request.max_cost(), caps).await?)
}

/// Returns the problem of a refusal, with the smallest plan that would have admitted the demand.
pub(super) async fn refusal_problem(
    app: &AppState,
    plan: &Plan,
    model: &Model,
    demand: Demand,
    refused: Refused,
) -> Result<Problem, Failure> {
    Ok(match refused {
        Refused::SpendCap { budget, retry_after_ms } => spend_cap_problem(&budget, model, retry_after_ms),
        Refused::Key { limit, retry_after_ms } => limit.problem(retry_after_ms),
        Refused::TooLarge { max } => {
            let fits = |plan: &Plan| Limit::Tokens.of_plan(plan) >= demand.input + demand.output_min;
            Problem::too_large(Tokens(demand.input), Tokens(max), larger(app, plan, fits).await?)
        }
        Refused::Limit { limit, retry_after_ms } => {
            let upgrade = larger(app, plan, |larger| limit.of_plan(larger) > limit.of_plan(plan)).await?;
            limit.problem(retry_after_ms, upgrade)
        }
    })
}

/// Returns the problem of a budget that has reached its spend cap. `model` is the model that was requested.
pub(super) fn spend_cap_problem(budget: &Budget, model: &Model, retry_after_ms: u64) -> Problem {
    match budget {
        Budget::Global | Budget::Demo => Problem::spend_cap(retry_after_ms),
        Budget::Model(_) => Problem::model_spend_cap(&model.label, retry_after_ms),
    }
}
