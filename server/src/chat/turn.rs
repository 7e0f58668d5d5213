//! One chat turn as a straight line. Each step returns what the next one needs, so that steps can't run out of order.

use super::opening::{ask, open};
use super::prompt::{Fallback, Prompt, bound, ceiling, count, fallback, larger, pick, prompt};
use super::request::ChatRequest;
use super::running::{Running, run};
use crate::AppState;
use crate::error::{Refused, internal};
use crate::meters::{Budget, Caps, Reservation, Verdict};
use app::api::context::quota_of;
use domain::{
    Model, ModelName, Picos, PriceList, Problem, ProblemKind, Quota, Tokens, TurnEvent, TurnId, Usage, Viewer,
};
use limits::{Demand, Denial, Reason};
use providers::estimate::Estimate;
use relay::{Tail, Writer};
use std::time::Duration;
use store::turn::{Known, TurnContext};
use tokio::sync::oneshot;
use tokio::time::Instant;

/// Time that a duplicate request waits for the first one's events to begin.
const FOLLOW: Duration = Duration::from_secs(60);
/// Time that it waits for a turn that was admitted but isn't written. By then its hold has lapsed, and it may be sent again.
const UNWRITTEN: Duration = Duration::from_secs(11);

/// A turn that has begun.
pub(crate) struct Begun {
    /// Its events from the first one.
    pub tail: Tail,
    /// The remaining quota; `None` if the turn was already running.
    pub quota: Option<Quota>,
}

/// Begins a turn for a parsed request and returns once its response has begun.
pub(crate) async fn begin(app: &AppState, viewer: Viewer, chat_request: ChatRequest) -> Result<Begun, Problem> {
    // Known: a repeated request follows the existing turn and never runs twice.
    let context =
        store::turn::load_turn_context(&app.db, chat_request.turn_id, chat_request.model.as_ref(), AppState::now())
            .await
            .map_err(store_problem)?;
    if is_same(context.known.as_ref(), &viewer, &chat_request)? {
        return follow(app, &viewer, &chat_request).await;
    }
    if app.draining.is_cancelled() {
        return Err(Problem::restarting());
    }
    if context.switches.paused {
        return Err(Problem::chat_paused());
    }
    if viewer.is_paused {
        return Err(Problem::paused());
    }
    // Plan.
    let offer = pick(app, &viewer, &context, chat_request.model.as_ref()).await?;
    // History: loaded from Postgres, never taken from the client.
    let prompt = prompt(app, &viewer, &chat_request).await?;
    // Ceiling: the maximum usage, and the price that applies to it.
    bound(&viewer.plan, &prompt)?;
    let price = offer.price.clone().ok_or_else(|| Problem::model_unavailable(60_000))?;
    let counted = count(app, &viewer, &offer.model, &prompt).await?;
    let demand = ceiling(&viewer.plan, &offer.model, counted)?;
    let fallback = fallback(app, &viewer, &context, &offer.model, &prompt, demand).await?;
    check_circuit(app, &offer.model, fallback.as_ref())?;
    let hedge_after =
        offer.model.hedge_after_ms.filter(|_| fallback.is_some()).map(|ms| Duration::from_millis(ms.into()));
    let asking = Asking {
        viewer: viewer.clone(),
        chat_request: chat_request.clone(),
        model: offer.model,
        price,
        fallback,
        hedge_after,
        prompt,
        counted,
        demand,
    };
    let caps = caps(app, &context, asking.models());
    // The rest runs in a server task, so a closed tab doesn't affect it.
    let (head, begun) = oneshot::channel();
    app.turns.spawn(run_turn(app.clone(), asking, caps, head));
    match begun.await.map_err(|_| internal(&"a turn's task is gone"))?? {
        Some((tail, quota)) => Ok(Begun { tail, quota: Some(quota) }),
        None => follow(app, &viewer, &chat_request).await,
    }
}

/// A turn that is ready to be admitted.
pub(crate) struct Asking {
    pub viewer: Viewer,
    pub chat_request: ChatRequest,
    pub model: Model,
    pub price: PriceList,
    /// The model that answers if the requested one can't be reached.
    pub fallback: Option<Fallback>,
    /// Silence after which the fallback is called as well; with `None` it is called only if the model can't be reached.
    pub hedge_after: Option<Duration>,
    pub prompt: Prompt,
    pub counted: Estimate,
    pub demand: Demand,
}

impl Asking {
    /// Returns the models that may answer.
    fn models(&self) -> impl Iterator<Item = &ModelName> {
        [Some(&self.model), self.fallback.as_ref().map(|other| &other.model)]
            .into_iter()
            .flatten()
            .map(|model| &model.name)
    }

    /// Returns the tokens to reserve. For a hedged turn they include the input of the abandoned call.
    fn demand(&self) -> Demand {
        match &self.fallback {
            Some(fallback) if self.hedge_after.is_some() => {
                Demand { input: self.demand.input + fallback.estimated.0, ..self.demand }
            }
            _ => self.demand,
        }
    }

    /// Returns the maximum cost, whichever model answers.
    fn max_cost(&self) -> Picos {
        let all = self.demand.input + self.demand.output_max;
        let cost = |price: &PriceList, input: u64, output: u64| {
            price.price(&Usage { input: Tokens(input), output: Tokens(output), ..Usage::default() }).1
        };
        let whole = |price: &PriceList, input: u64| cost(price, input, all.saturating_sub(input));
        let own = whole(&self.price, self.demand.input);
        let Some(fallback) = &self.fallback else { return own };
        let (price, input) = (&fallback.price, fallback.estimated.0);
        if self.hedge_after.is_none() {
            return own.max(whole(price, input));
        }
        let first_answers = own.plus(cost(price, input, 0));
        let fallback_answers = whole(price, input).plus(cost(&self.price, self.demand.input, 0));
        first_answers.max(fallback_answers)
    }
}

/// The result of starting a turn: its events from the first one and the remaining quota, or `None` if the turn was already running.
type Head = Result<Option<(Tail, Quota)>, Problem>;

/// Runs a turn from admission to its end. `head` is sent once the provider has accepted the call.
async fn run_turn(app: AppState, asking: Asking, caps: Caps, head: oneshot::Sender<Head>) {
    // The turn continues even if the receiver of `head` is gone. Boxed, because what starting needs is dropped before the response runs.
    match Box::pin(start(&app, asking, caps)).await {
        Ok(Some((running, tail, quota))) => {
            let _ = head.send(Ok(Some((tail, quota))));
            run(app, running).await;
        }
        Ok(None) => drop(head.send(Ok(None))),
        Err(problem) => drop(head.send(Err(problem))),
    }
}

/// Admits, writes and opens a turn. Returns once its first event is in the log.
async fn start(app: &AppState, mut asking: Asking, caps: Caps) -> Result<Option<(Running, Tail, Quota)>, Problem> {
    // Admit.
    let Some(reservation) = admit(app, &mut asking, caps).await? else { return Ok(None) };
    crate::fault::point("reserved");
    let mut log: Writer = app.relay.open(asking.chat_request.turn_id);
    // Write: durable before any money is spent.
    let Some(written) = ask(app, asking, reservation).await? else { return Ok(None) };
    crate::fault::point("pending");
    // Open.
    let opened = open(app, written, &log).await?;
    // Relay: from here on a failure is an event.
    let quota = quota_of(&opened.viewer.plan, opened.reservation.permit.snapshot());
    log.begin(&TurnEvent::Turn {
        turn_id: opened.turn_id,
        conversation_id: opened.conversation_id,
        model: opened.model.name.clone(),
        fallback_for: opened.fallback_for.clone(),
        quota: quota.clone(),
    });
    let tail = log.tail();
    Ok(Some((opened.into_running(log), tail, quota)))
}

/// Refuses if the circuits of the model and of its fallback are both open, before anything is written (field note 100).
fn check_circuit(app: &AppState, model: &Model, fallback: Option<&Fallback>) -> Result<(), Problem> {
    match (app.providers.open_for_ms(model), fallback.map(|fallback| app.providers.open_for_ms(&fallback.model))) {
        (Some(retry_after_ms), None | Some(Some(_))) => Err(Problem::model_unavailable(retry_after_ms)),
        _ => Ok(()),
    }
}

/// Returns whether this user sent this request before.
///
/// # Errors
/// Returns a problem if the turn belongs to another user or has a different body.
fn is_same(known: Option<&Known>, viewer: &Viewer, chat_request: &ChatRequest) -> Result<bool, Problem> {
    match known {
        None => Ok(false),
        Some(known) if known.user_id != Some(viewer.user_id) => Err(Problem::not_found("answer")),
        Some(known) if known.request_hash != chat_request.hash => Err(Problem::new(
            ProblemKind::Conflict,
            "This turn_id was already used for another message. Send it with a new one.",
        )),
        Some(_) => Ok(true),
    }
}

/// Returns the events of this user's turn from the first one. Refuses a turn of another user or with a different body.
async fn follow(app: &AppState, viewer: &Viewer, chat_request: &ChatRequest) -> Result<Begun, Problem> {
    let tail = tail(app, chat_request.turn_id, 0).await?;
    let known = store::turn::find(&app.db, chat_request.turn_id).await.map_err(store_problem)?;
    is_same(known.as_ref(), viewer, chat_request)?;
    Ok(Begun { tail, quota: None })
}

/// Returns a turn's events after an event id. Waits for them while the turn is being started.
pub(crate) async fn tail(app: &AppState, turn_id: TurnId, after: u64) -> Result<Tail, Problem> {
    let (began, mut was_written) = (Instant::now(), false);
    loop {
        if let Some(tail) = app.relay.tail(turn_id, after).await.map_err(|error| Refused::from(error).0)? {
            return Ok(tail);
        }
        // Admitted or written, without a first event yet: another request is starting the turn.
        match store::turn::find(&app.db, turn_id).await.map_err(store_problem)? {
            // The turn was undone, or never written.
            None if was_written || began.elapsed() > UNWRITTEN => return Err(Problem::model_unavailable(1_000)),
            Some(turn) if turn.ended => {
                return Err(Problem::new(
                    ProblemKind::Gone,
                    "This response has ended. Reload the conversation to read it.",
                ));
            }
            // The server of this turn is gone and nothing was streamed, so there is nothing to wait for.
            Some(turn) if !turn.is_alive || began.elapsed() > FOLLOW => {
                return Err(Problem::new(
                    ProblemKind::Gone,
                    "This response was interrupted before it began. Send your message again.",
                ));
            }
            found => {
                was_written = found.is_some();
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// Returns the spend caps for a turn: the smaller of the global caps in the environment and in the database, and the caps of these models.
pub(crate) fn caps<'a>(app: &AppState, context: &TurnContext, models: impl IntoIterator<Item = &'a ModelName>) -> Caps {
    let caps = [app.config.daily_spend, context.switches.daily_spend];
    let cap = |name: &ModelName| {
        let offer = context.offers.iter().find(|offer| offer.model.name == *name)?;
        offer.daily_spend.map(|cap| (name.clone(), cap))
    };
    Caps { global: caps.into_iter().flatten().min(), models: models.into_iter().filter_map(cap).collect() }
}

/// Reserves the turn's maximum usage. Returns `None` if this turn was admitted before.
///
/// # Errors
/// Returns a problem that says when the turn would fit.
async fn admit(app: &AppState, asking: &mut Asking, mut caps: Caps) -> Result<Option<Reservation>, Problem> {
    let turn_id = asking.chat_request.turn_id;
    let mut verdict = app.meters.admit(&asking.viewer, turn_id, asking.demand(), asking.max_cost(), &caps).await;
    // A turn that is too large to be hedged may fit without hedging.
    if asking.hedge_after.is_some() && !matches!(verdict, Ok(Verdict::Granted(_) | Verdict::Running) | Err(_)) {
        asking.hedge_after = None;
        verdict = app.meters.admit(&asking.viewer, turn_id, asking.demand(), asking.max_cost(), &caps).await;
    }
    // If only the fallback has reached its spend cap, the turn runs without a fallback.
    if let Ok(Verdict::SpendCap { budget: Budget::Model(spent), .. }) = &verdict
        && *spent != asking.model.name
    {
        caps.models.retain(|(model, _)| model != spent);
        asking.fallback = None;
        verdict = app.meters.admit(&asking.viewer, turn_id, asking.demand(), asking.max_cost(), &caps).await;
    }
    let Asking { viewer, demand, .. } = asking;
    let plan = &viewer.plan;
    match verdict.map_err(|error| Refused::from(error).0)? {
        Verdict::Granted(reservation) => Ok(Some(reservation)),
        Verdict::Running => Ok(None),
        Verdict::SpendCap { budget: Budget::Global, retry_after_ms } => Err(Problem::spend_cap(retry_after_ms)),
        Verdict::SpendCap { budget: Budget::Model(_), retry_after_ms } => {
            Err(Problem::model_spend_cap(&asking.model.label, retry_after_ms))
        }
        Verdict::TooLarge { max } => {
            let upgrade = larger(app, plan, |plan| plan.tokens_per_day.0 >= demand.input + demand.output_min).await?;
            Err(Problem::too_large(Tokens(demand.input), Tokens(max), upgrade))
        }
        Verdict::Denied(Denial { reason, retry_after_ms, .. }) => {
            // The indexes of `USER`.
            let (kind, upgrade) = match reason {
                Reason::Window(0) => (
                    ProblemKind::RequestsLimit,
                    larger(app, plan, |larger| larger.requests_per_minute > plan.requests_per_minute).await?,
                ),
                Reason::Window(_) => (
                    ProblemKind::TokensLimit,
                    larger(app, plan, |larger| larger.tokens_per_day > plan.tokens_per_day).await?,
                ),
                Reason::InFlight => {
                    (ProblemKind::InFlightLimit, larger(app, plan, |larger| larger.in_flight > plan.in_flight).await?)
                }
            };
            Err(Problem::limit(kind, retry_after_ms, upgrade))
        }
    }
}

fn store_problem(error: store::StoreError) -> Problem {
    internal(&error)
}
