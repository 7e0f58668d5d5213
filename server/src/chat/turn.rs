//! One chat turn in a straight line. Each step yields what the next one needs, so the order can't be broken.

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

/// How long a second copy of a question waits for the first one's events to begin.
const FOLLOW: Duration = Duration::from_secs(60);
/// How long it waits for a question that was admitted and isn't written: then its hold has lapsed, and it may be asked anew.
const UNWRITTEN: Duration = Duration::from_secs(11);

/// A turn that runs.
pub(crate) struct Begun {
    /// Its events from the first.
    pub tail: Tail,
    /// What is left; none where the turn was running before.
    pub quota: Option<Quota>,
}

/// From a parsed question to an answer that has begun.
pub(crate) async fn begin(app: &AppState, viewer: Viewer, chat_request: ChatRequest) -> Result<Begun, Problem> {
    // 2b known: the same question again is followed, never run twice
    let context =
        store::turn::load_turn_context(&app.db, chat_request.turn_id, chat_request.model.as_ref(), AppState::now())
            .await
            .map_err(lost)?;
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
    // 3 plan
    let offer = pick(app, &viewer, &context, chat_request.model.as_ref()).await?;
    // 4 history: ours, never the client's
    let prompt = prompt(app, &viewer, &chat_request).await?;
    // 5 ceiling: what it may use at most, and the price that holds for it
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
    // 6 to 13 belong to the server: from here on a closed tab changes nothing
    let (head, begun) = oneshot::channel();
    app.turns.spawn(carry(app.clone(), asking, caps, head));
    match begun.await.map_err(|_| internal(&"a turn's task is gone"))?? {
        Some((tail, quota)) => Ok(Begun { tail, quota: Some(quota) }),
        None => follow(app, &viewer, &chat_request).await,
    }
}

/// A question that is ready to be admitted.
pub(crate) struct Asking {
    pub viewer: Viewer,
    pub chat_request: ChatRequest,
    pub model: Model,
    pub price: PriceList,
    /// Who answers where the model can't be reached.
    pub fallback: Option<Fallback>,
    /// After how much silence the fallback is asked as well; none only where the model can't be reached.
    pub hedge_after: Option<Duration>,
    pub prompt: Prompt,
    pub counted: Estimate,
    pub demand: Demand,
}

impl Asking {
    /// Whoever may answer.
    fn models(&self) -> impl Iterator<Item = &ModelName> {
        [Some(&self.model), self.fallback.as_ref().map(|other| &other.model)]
            .into_iter()
            .flatten()
            .map(|model| &model.name)
    }

    /// The tokens it may use. A hedged turn's include the input of the call that is given up.
    fn demand(&self) -> Demand {
        match &self.fallback {
            Some(fallback) if self.hedge_after.is_some() => {
                Demand { input: self.demand.input + fallback.estimated.0, ..self.demand }
            }
            _ => self.demand,
        }
    }

    /// The most it may cost, whoever answers.
    fn worst(&self) -> Picos {
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

/// What a head says: its events from the first and what is left, or nothing where the turn was running before.
type Head = Result<Option<(Tail, Quota)>, Problem>;

/// Steps 6 to 13. The head is sent once the provider has accepted.
async fn carry(app: AppState, asking: Asking, caps: Caps, head: oneshot::Sender<Head>) {
    // A head that nobody waits for any more is no reason to stop.
    // In a box, since what it needs is gone once the answer runs.
    match Box::pin(start(&app, asking, caps)).await {
        Ok(Some((running, tail, quota))) => {
            let _ = head.send(Ok(Some((tail, quota))));
            run(app, running).await;
        }
        Ok(None) => drop(head.send(Ok(None))),
        Err(problem) => drop(head.send(Err(problem))),
    }
}

/// Steps 6 to 9: from a counted question to a stream whose first event stands in the log.
async fn start(app: &AppState, mut asking: Asking, caps: Caps) -> Result<Option<(Running, Tail, Quota)>, Problem> {
    // 6 admit
    let Some(reservation) = admit(app, &mut asking, caps).await? else { return Ok(None) };
    crate::fault::point("reserved");
    let mut log: Writer = app.relay.open(asking.chat_request.turn_id);
    // 7 ask: durable before any money is spent
    let Some(asked) = ask(app, asking, reservation).await? else { return Ok(None) };
    crate::fault::point("pending");
    // 8 open
    let opened = open(app, asked, &log).await?;
    // 9 relay: from here a failure is an event
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

/// Refuses while the circuits of the model's provider and of its fallback's are open, before anything is written (field note 100).
fn check_circuit(app: &AppState, model: &Model, fallback: Option<&Fallback>) -> Result<(), Problem> {
    match (app.providers.open_for_ms(model), fallback.map(|fallback| app.providers.open_for_ms(&fallback.model))) {
        (Some(retry_after_ms), None | Some(Some(_))) => Err(Problem::model_unavailable(retry_after_ms)),
        _ => Ok(()),
    }
}

/// Whether this user sent this very question before.
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

/// The events of this user's turn from the first; another body or another's turn is refused here too.
async fn follow(app: &AppState, viewer: &Viewer, chat_request: &ChatRequest) -> Result<Begun, Problem> {
    let tail = tail(app, chat_request.turn_id, 0).await?;
    let known = store::turn::find(&app.db, chat_request.turn_id).await.map_err(lost)?;
    is_same(known.as_ref(), viewer, chat_request)?;
    Ok(Begun { tail, quota: None })
}

/// A turn's events after a number; waits for them while the turn is being begun.
pub(crate) async fn tail(app: &AppState, turn_id: TurnId, after: u64) -> Result<Tail, Problem> {
    let (began, mut was_written) = (Instant::now(), false);
    loop {
        if let Some(tail) = app.relay.tail(turn_id, after).await.map_err(|error| Refused::from(error).0)? {
            return Ok(tail);
        }
        // Admitted or written, and its first event still to come: another request is at steps 6 to 8.
        match store::turn::find(&app.db, turn_id).await.map_err(lost)? {
            // It was taken back, or never written.
            None if was_written || began.elapsed() > UNWRITTEN => return Err(Problem::model_unavailable(1_000)),
            Some(turn) if turn.ended => {
                return Err(Problem::new(
                    ProblemKind::Gone,
                    "This response has ended. Reload the conversation to read it.",
                ));
            }
            // Its server is gone, and nothing of it was ever shown: there is nothing to wait for.
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

/// What may be spent on these models today: the smaller of what the environment and the owner's switches say, and each model's own cap.
pub(crate) fn caps<'a>(app: &AppState, context: &TurnContext, models: impl IntoIterator<Item = &'a ModelName>) -> Caps {
    let caps = [app.config.daily_spend, context.switches.daily_spend];
    let cap = |name: &ModelName| {
        let offer = context.offers.iter().find(|offer| offer.model.name == *name)?;
        offer.daily_spend.map(|cap| (name.clone(), cap))
    };
    Caps { global: caps.into_iter().flatten().min(), models: models.into_iter().filter_map(cap).collect() }
}

/// A reservation, a refusal that says when, or none where this turn was admitted before.
async fn admit(app: &AppState, asking: &mut Asking, mut caps: Caps) -> Result<Option<Reservation>, Problem> {
    let turn_id = asking.chat_request.turn_id;
    let mut verdict = app.meters.admit(&asking.viewer, turn_id, asking.demand(), asking.worst(), &caps).await;
    // What doesn't fit twice may fit once.
    if asking.hedge_after.is_some() && !matches!(verdict, Ok(Verdict::Granted(_) | Verdict::Running) | Err(_)) {
        asking.hedge_after = None;
        verdict = app.meters.admit(&asking.viewer, turn_id, asking.demand(), asking.worst(), &caps).await;
    }
    // Where only the one who might stand in has spent their day, nobody stands in.
    if let Ok(Verdict::SpendCap { budget: Budget::Model(spent), .. }) = &verdict
        && *spent != asking.model.name
    {
        caps.models.retain(|(model, _)| model != spent);
        asking.fallback = None;
        verdict = app.meters.admit(&asking.viewer, turn_id, asking.demand(), asking.worst(), &caps).await;
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
            // The places of `USER`.
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

fn lost(error: store::StoreError) -> Problem {
    internal(&error)
}
