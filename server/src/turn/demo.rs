//! The live demo on the site: one short answer for a visitor without an account. It is a turn of its own that is admitted, recorded and settled
//! like any other, with a budget of its own and a ledger row without a user. Nothing else is kept: its events are in this process's memory
//! until it ends.

use super::admit::caps;
use super::answer::Answer;
use super::close::{Grant, Uncounted, close, close_ended};
use super::drain;
use super::html::Presentation;
use super::open::open;
use super::persist::{PromptCall, persist_call};
use super::prompt::count;
use super::record::record_call;
use super::state::{ActiveTurn, OpenedTurn, RunningTurn};
use super::stream::stream;
use crate::AppState;
use crate::failure::{Failure, internal};
use app::components::duration::wait;
use domain::{
    Model, Plan, PlanId, PriceList, Problem, ProblemKind, PromptMessage, Role, Thinking, Tokens, TurnEvent, TurnId,
    UserId, Viewer, WireFormat, brand,
};
use quota::{Budget, Caps, Demand, Refused, Reservation, Verdict, quota_of};
use relay::{Relay, Tail};
use store::turn::{AvailableModel, CallOwner, TurnContext};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use uuid::Uuid;

/// Maximum length of an answer.
const MAX_OUTPUT: Tokens = Tokens(300);
/// Minimum output that is worth a call.
const MIN_OUTPUT: Tokens = Tokens(64);
/// Follows the visitor's question, so that the answer is complete within its maximum length.
const BRIEFLY: &str = "(Answer in at most 120 words.)";
/// What one address may use: questions in any minute, tokens in any 24 hours (about twenty answers), and answers at once. An address may be a
/// whole office.
const REQUESTS_PER_MINUTE: u64 = 4;
const TOKENS_PER_DAY: Tokens = Tokens(10_000);
const IN_FLIGHT: u64 = 2;

/// A demo that has begun.
pub(crate) struct StartedDemo {
    pub turn_id: TurnId,
    /// Represents the visitor, who has no account.
    pub viewer: Viewer,
    /// Its events from the first one.
    pub tail: Tail,
    /// What the HTML view shows in addition to its events.
    pub presentation: Presentation,
}

/// The result of starting a demo.
type Head = Result<StartedDemo, Failure>;

/// Answers a question and returns once the answer has begun. `subject` names the meter of the visitor's address, and `slot` is taken until the
/// answer has ended.
pub(crate) async fn begin(
    app: &AppState,
    subject: String,
    text: String,
    slot: OwnedSemaphorePermit,
) -> Result<StartedDemo, Failure> {
    // The rest runs in a server task, so a closed tab doesn't affect it.
    let (head, started) = oneshot::channel();
    app.turns.spawn(run(app.clone(), subject, text, slot, head));
    started.await.map_err(|_| internal(&"a demo's task ended without a result"))?
}

/// Rewords a problem for a visitor, who has no draft, no plan and no other models.
pub(crate) fn explain(problem: Problem) -> Problem {
    let again = problem.retry_after_ms.map(|ms| format!(" It works again in {}.", wait(ms))).unwrap_or_default();
    let message = match problem.kind {
        ProblemKind::Invalid => return problem,
        ProblemKind::SpendCap => format!("The demo has reached its daily spend cap.{again} Sign up to continue."),
        ProblemKind::InFlightLimit | ProblemKind::Overloaded => {
            "The demo is busy right now. Try again in a moment, or sign up to continue.".to_owned()
        }
        kind if kind.status() == 429 => {
            format!("You have reached the demo's limit for now.{again} Sign up to continue.")
        }
        _ => "The demo isn't available right now. Sign up to continue.".to_owned(),
    };
    Problem { message, upgrade: None, ..problem }
}

async fn run(app: AppState, subject: String, text: String, slot: OwnedSemaphorePermit, head: oneshot::Sender<Head>) {
    // The demo continues even if the receiver of `head` was dropped. Boxed, because what starting needs is dropped before the answer runs.
    match Box::pin(start(&app, &subject, &text)).await {
        Ok((running, started)) => {
            let _ = head.send(Ok(started));
            finish(&app, running).await;
        }
        Err(failure) => drop(head.send(Err(failure))),
    }
    drop(slot);
}

/// Chooses the model, admits, writes and opens a demo. Returns once its first event is in the log.
async fn start(app: &AppState, subject: &str, text: &str) -> Result<(RunningTurn, StartedDemo), Failure> {
    let turn_id = TurnId::at(AppState::now());
    let context = store::turn::load_turn_context(&app.db, turn_id, None, AppState::now()).await?;
    if app.draining.is_cancelled() {
        return Err(Problem::restarting().into());
    }
    if context.switches.paused {
        return Err(Problem::chat_paused().into());
    }
    let (call, viewer, reservation) = admit(app, &context, turn_id, subject, text).await?;
    let pending = persist_call(app, call.admitted(CallOwner::Visitor, viewer, turn_id, reservation)).await?;
    let mut log = Relay::memory().open(turn_id);
    let OpenedTurn { turn, sent, chunks } = open(app, pending, &log).await?;
    log.begin(&TurnEvent::Turn {
        turn_id,
        conversation_id: turn.conversation_id,
        model: turn.model.name.clone(),
        fallback_for: None,
        history_cut: None,
        quota: quota_of(&turn.viewer.plan, turn.reservation.permit.snapshot()),
    });
    let started = StartedDemo {
        turn_id,
        viewer: turn.viewer.clone(),
        tail: log.tail(),
        presentation: Presentation { label: turn.model.label.clone(), user_html: String::new(), question: None },
    };
    Ok((RunningTurn { turn, sent, chunks, log, untitled: None, reply: None }, started))
}

/// Reserves a call of the first model, in the order of [`candidates`], whose budget has room for it.
///
/// # Errors
/// Returns a problem with the time at which the demo would fit: if only budgets are used up, the earliest time of any of them.
async fn admit(
    app: &AppState,
    context: &TurnContext,
    turn_id: TurnId,
    subject: &str,
    text: &str,
) -> Result<(PromptCall, Viewer, Reservation), Failure> {
    let mut fits_in_ms = None::<u64>;
    for (model, price) in candidates(app, context) {
        let call = prepare(app, model, price, text).await?;
        let viewer = visitor(subject.to_owned(), model);
        let caps = Caps { demo: Some(app.config.demo_daily_spend), ..caps(app, context, [&model.name]) };
        match app.quotas.admit(&viewer, turn_id, call.demand, call.max_cost(), &caps).await? {
            Verdict::Granted(reservation) => return Ok((call, viewer, reservation)),
            // Its id is new, so this is no repeated request.
            Verdict::Running => return Err(Problem::overloaded().into()),
            Verdict::Refused(Refused::SpendCap { budget, retry_after_ms }) => {
                fits_in_ms = Some(fits_in_ms.map_or(retry_after_ms, |earliest| earliest.min(retry_after_ms)));
                // What all models share has no room for a more expensive one either.
                if matches!(budget, Budget::Global | Budget::Demo) {
                    break;
                }
            }
            Verdict::Refused(Refused::TooLarge { max }) => {
                return Err(Problem::too_large(Tokens(call.demand.input), Tokens(max), None).into());
            }
            // A visitor has no key.
            Verdict::Refused(Refused::Key { limit, retry_after_ms }) => {
                return Err(limit.problem(retry_after_ms).into());
            }
            Verdict::Refused(Refused::Limit { limit, retry_after_ms }) => {
                return Err(limit.problem(retry_after_ms, None).into());
            }
        }
    }
    Err(fits_in_ms.map_or_else(|| Problem::model_unavailable(60_000), Problem::spend_cap).into())
}

/// Returns the models that can be called now, each with its prices: the built-in demo model, which is offered while no provider has a key, then
/// the cheapest first. Models that always reason come last, because little would be left of the answer.
fn candidates<'a>(app: &AppState, context: &'a TurnContext) -> Vec<(&'a Model, &'a PriceList)> {
    let today = AppState::now().date();
    let is_usable = |model: &Model| {
        model.ends_at.is_none_or(|day| day > today)
            && app.providers.offers(model)
            && app.providers.open_for_ms(model).is_none()
    };
    let usable = context.offers.iter().filter(|offer| is_usable(&offer.model));
    let priced = usable.filter_map(|AvailableModel { model, price, .. }| Some((model, price.as_ref()?)));
    let mut candidates: Vec<_> = priced.collect();
    candidates.sort_by_key(|(model, price)| {
        let is_other = model.provider.wire_format != WireFormat::Demo;
        (is_other, model.thinking == Thinking::Always, price.tier(Tokens(0)).output)
    });
    candidates
}

/// Counts a question's tokens for a model and returns the call.
async fn prepare(app: &AppState, model: &Model, price: &PriceList, text: &str) -> Result<PromptCall, Failure> {
    let messages = vec![PromptMessage::text(Role::User, format!("{text}\n\n{BRIEFLY}"))];
    let counted = count(app, no_user(), model, brand::SYSTEM_PROMPT, &messages).await?;
    let output_max = MAX_OUTPUT.min(model.max_output);
    if counted.estimated + output_max > model.context {
        return Err(Problem::too_large(counted.estimated, model.context, None).into());
    }
    let demand =
        Demand { input: counted.estimated.0, output_min: MIN_OUTPUT.min(output_max).0, output_max: output_max.0 };
    Ok(PromptCall { model: model.clone(), price: price.clone(), messages, counted, demand })
}

/// The id in the place of a visitor's. No account has it, and no row is written with it.
fn no_user() -> UserId {
    UserId::from(Uuid::nil())
}

/// Returns a viewer for a visitor: without an account, on a plan that no account has.
fn visitor(subject: String, model: &Model) -> Viewer {
    let plan = Plan {
        id: PlanId("demo".to_owned()),
        name: "Demo".to_owned(),
        sort: 0,
        requests_per_minute: REQUESTS_PER_MINUTE,
        tokens_per_day: TOKENS_PER_DAY,
        in_flight: IN_FLIGHT,
        max_output: MAX_OUTPUT,
        storage_bytes: 0,
        monthly_cents: 0,
        yearly_cents: 0,
        currency: "usd".to_owned(),
        trial_days: 0,
        monthly_price_id: None,
        yearly_price_id: None,
        shows_cost: false,
        pitch: String::new(),
        models: vec![model.name.clone()],
    };
    Viewer {
        user_id: no_user(),
        email: String::new(),
        name: String::new(),
        is_admin: false,
        is_paused: false,
        time_zone: "UTC".to_owned(),
        subject,
        plan,
        grace_until: None,
        is_verified: false,
        authenticated_at: None,
        is_two_factor: false,
    }
}

/// Passes the answer on, records and settles it, and ends its log.
async fn finish(app: &AppState, mut running: RunningTurn) {
    let mut answer = stream(app, &mut running).await;
    let RunningTurn { turn, chunks, mut log, .. } = running;
    let last = last_event(&turn, &answer);
    if drain::is_due(&turn.model, &answer) {
        // The visitor doesn't wait while the rest of the call is read.
        log.append(&[last]).await;
        drop(log);
        drain::read(app, &turn, chunks, &mut answer.receipt).await;
        let usage = close_ended(&turn, &answer);
        // A problem is logged; the reaper then ends this turn as lost.
        drop(record_call(app, turn, &answer, usage).await);
    } else {
        // Dropping the chunks cancels the call.
        drop(chunks);
        let usage = close_ended(&turn, &answer);
        drop(record_call(app, turn, &answer, usage).await);
        log.append(&[last]).await;
    }
}

fn last_event(turn: &ActiveTurn, answer: &Answer) -> TurnEvent {
    if let Some(problem) = answer.problem() {
        return TurnEvent::Failed { problem: explain(problem) };
    }
    let (usage, usage_source) = close(Grant::of(turn), answer, Uncounted::Streamed);
    let quota = quota_of(&turn.viewer.plan, turn.reservation.permit.snapshot());
    TurnEvent::Finish { outcome: answer.outcome(), usage, usage_source, cost_usd: None, quota }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_lead_to_the_sign_up_and_keep_their_retry_time() {
        for problem in [
            Problem::spend_cap(60_000),
            Problem::attempts_limit("Too many attempts. Wait a moment, then try again.", 60_000),
            Problem { retry_after_ms: Some(60_000), ..Problem::restarting() },
            Problem::model_unavailable(60_000),
        ] {
            let explained = explain(problem.clone());
            assert!(explained.message.contains("ign up to continue") && !explained.message.contains("draft"));
            assert_eq!((explained.kind, explained.retry_after_ms), (problem.kind, Some(60_000)));
        }
        let invalid = Problem::invalid("text", "Enter a question.");
        assert_eq!(explain(invalid.clone()), invalid);
    }
}
