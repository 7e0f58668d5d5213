//! One chat turn in a straight line. Each step yields what the next one needs, so the order can't be broken.

use super::request::Question;
use super::running::{BEAT, Running, run};
use crate::House;
use crate::error::{Refused, internal};
use crate::meters::{Leave, Verdict};
use app::api::context::quota_of;
use domain::{
    ConversationId, MessageStatus, Model, ModelName, Plan, PlanId, PriceList, Problem, ProblemKind, PromptMessage,
    Quota, Role, Tokens, TurnEvent, TurnId, Usage, Vendor, Viewer,
};
use limits::{Denial, Need, Reason};
use providers::{Chunks, estimate};
use relay::Tail;
use std::time::Duration;
use store::turn::{Ask, Asked, PendingCall};
use time::OffsetDateTime;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// The shortest answer worth asking for.
const OUTPUT_MIN: Tokens = Tokens(256);
/// How long a second copy of a question waits for the first one's events to begin.
const FOLLOW: Duration = Duration::from_secs(60);

/// A turn that runs.
pub(crate) struct Begun {
    /// Its events from the first.
    pub tail: Tail,
    /// What is left; none where the turn was running before.
    pub quota: Option<Quota>,
}

/// From a parsed question to an answer that has begun.
pub(crate) async fn begin(house: &House, viewer: Viewer, question: Question) -> Result<Begun, Problem> {
    // 2b known: the same question again is followed, never run twice
    if is_known(house, &viewer, &question).await? {
        return follow(house, &viewer, &question).await;
    }
    if house.draining.is_cancelled() {
        return Err(Problem::model_unavailable(2_000));
    }
    // 3 plan
    let model = pick(house, &viewer, question.model.as_ref()).await?;
    // 4 history: ours, never the client's
    let prompt = prompt(house, &viewer, &question).await?;
    // 5 ceiling: what it may use at most, and the price that holds for it
    let price = price(house, &model).await?;
    let (need, prompt) = ceiling(&viewer.plan, &model, prompt).await?;
    // 6 admit
    let Some(leave) = admit(house, &viewer, question.turn_id, need, &price).await? else {
        return follow(house, &viewer, &question).await;
    };
    // 7 to 13 belong to the server: from here on a closed tab changes nothing
    let (head, begun) = oneshot::channel();
    let admitted = Admitted { viewer: viewer.clone(), question: question.clone(), model, prompt, price, need, leave };
    house.turns.spawn(carry(house.clone(), admitted, head));
    let quota = begun.await.map_err(|_| internal(&"a turn's task is gone"))??;
    follow(house, &viewer, &question).await.map(|begun| Begun { quota, ..begun })
}

/// A question with leave to spend.
struct Admitted {
    viewer: Viewer,
    question: Question,
    model: Model,
    prompt: Vec<PromptMessage>,
    price: PriceList,
    need: Need,
    leave: Leave,
}

/// Steps 7 to 13. The head says what is left once the vendor has accepted, or nothing where the turn was running before.
async fn carry(house: House, admitted: Admitted, head: oneshot::Sender<Result<Option<Quota>, Problem>>) {
    // A head that nobody waits for any more is no reason to stop.
    match start(&house, admitted).await {
        Ok(Some((running, quota))) => {
            let _ = head.send(Ok(Some(quota)));
            run(house, running).await;
        }
        Ok(None) => drop(head.send(Ok(None))),
        Err(problem) => drop(head.send(Err(problem))),
    }
}

/// Steps 7 to 9: from a permit to a stream whose first event stands in the log.
async fn start(house: &House, admitted: Admitted) -> Result<Option<(Running, Quota)>, Problem> {
    let Admitted { viewer, question, model, prompt, price, need, leave } = admitted;
    // 7 ask: durable before any money is spent
    let (asked, leave) = ask(house, &viewer, &question, &model, &price, leave).await?;
    let Some(asked) = asked else { return Ok(None) };
    // 8 open
    let (chunks, leave) = open(house, &asked, &model, &prompt, leave).await?;
    // 9 relay: from here a failure is an event
    let quota = quota_of(&viewer.plan, leave.permit.picture());
    let (turn_id, conversation_id) = (question.turn_id, asked.conversation_id);
    let mut log = house.relay.open(turn_id);
    log.append(&[TurnEvent::Turn { turn_id, conversation_id, model: model.name.clone(), quota: quota.clone() }]).await;
    let (call, estimated) = (asked.call, Tokens(need.input));
    Ok(Some((Running { viewer, turn_id, conversation_id, call, model, price, estimated, leave, chunks, log }, quota)))
}

/// Whether this person sent this very question before.
async fn is_known(house: &House, viewer: &Viewer, question: &Question) -> Result<bool, Problem> {
    match store::turn::find(&house.db, question.turn_id).await.map_err(lost)? {
        None => Ok(false),
        Some(known) if known.user_id != Some(viewer.user_id) => Err(Problem::not_found("answer")),
        Some(known) if known.request_hash != question.hash => Err(Problem::new(
            ProblemKind::Conflict,
            "This turn was sent before with other words. Send it as a new one.",
        )),
        Some(_) => Ok(true),
    }
}

/// The events of this person's turn from the first; another body or another's turn is refused here too.
async fn follow(house: &House, viewer: &Viewer, question: &Question) -> Result<Begun, Problem> {
    let tail = tail(house, question.turn_id, 0).await?;
    is_known(house, viewer, question).await?;
    Ok(Begun { tail, quota: None })
}

/// A turn's events after a number; waits for them while the turn is being begun.
pub(crate) async fn tail(house: &House, turn_id: TurnId, after: u64) -> Result<Tail, Problem> {
    let until = Instant::now() + FOLLOW;
    loop {
        match house.relay.tail(turn_id, after).await {
            Ok(Some(tail)) => return Ok(tail),
            // Admitted or written, and its first event still to come: another request is at steps 6 to 8.
            Ok(None) if Instant::now() < until && !has_ended(house, turn_id).await? => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Ok(None) => return Err(Problem::new(ProblemKind::Gone, "This answer has ended. The conversation has it.")),
            Err(error) => return Err(Refused::from(error).0),
        }
    }
}

async fn has_ended(house: &House, turn_id: TurnId) -> Result<bool, Problem> {
    Ok(store::turn::find(&house.db, turn_id).await.map_err(lost)?.is_some_and(|turn| turn.ended))
}

/// The model that is asked: the one named, else the first that plan and vendors both offer.
pub(crate) async fn pick(house: &House, viewer: &Viewer, named: Option<&ModelName>) -> Result<Model, Problem> {
    let models = store::model::list(&house.db).await.map_err(lost)?;
    let Some(name) = named else {
        let offered = |name: &ModelName| models.iter().find(|model| model.name == *name && house.vendors.offers(model));
        return viewer.plan.models.iter().find_map(offered).cloned().ok_or_else(|| Problem::model_unavailable(60_000));
    };
    let known = models.into_iter().find(|model| model.name == *name);
    let model = known.ok_or_else(|| Problem::invalid("model", "There is no such model."))?;
    if !viewer.plan.allows(name) {
        let upgrade = larger(house, &viewer.plan, |plan| plan.allows(name)).await?;
        return Err(Problem::plan_too_small(&model.label, upgrade));
    }
    if !house.vendors.offers(&model) {
        return Err(Problem::model_unavailable(60_000));
    }
    Ok(model)
}

/// The smallest larger plan that would do.
async fn larger(house: &House, current: &Plan, would: impl Fn(&Plan) -> bool) -> Result<Option<PlanId>, Problem> {
    let plans = store::plan::list(&house.db).await.map_err(lost)?;
    Ok(plans.into_iter().find(|plan| plan.sort > current.sort && would(plan)).map(|plan| plan.id))
}

/// Everything the model will read: the conversation so far, as we kept it, and the new words.
pub(crate) async fn prompt(house: &House, viewer: &Viewer, question: &Question) -> Result<Vec<PromptMessage>, Problem> {
    let mut prompt = Vec::new();
    if let Some(id) = question.conversation_id {
        let open = store::conversation::open(&house.db, viewer.user_id, id).await.map_err(lost)?;
        open.ok_or_else(|| Problem::not_found("conversation"))?;
        let past = store::message::list(&house.db, viewer.user_id, id).await.map_err(lost)?;
        // An answer that broke off before its first word says nothing, and vendors refuse empty messages.
        let said =
            past.into_iter().filter(|message| message.status != MessageStatus::Failed || !message.text.is_empty());
        prompt.extend(
            said.filter(|message| !message.text.is_empty())
                .map(|message| PromptMessage { role: message.role, text: message.text }),
        );
    }
    prompt.push(PromptMessage { role: Role::User, text: question.text.clone() });
    Ok(prompt)
}

/// The price in force; a model without one is never free, it is not for sale.
async fn price(house: &House, model: &Model) -> Result<PriceList, Problem> {
    let price = store::model::price(&house.db, &model.name, House::now()).await.map_err(lost)?;
    price.ok_or_else(|| Problem::model_unavailable(60_000))
}

/// The least output that makes a call worth it, never above what the model can say.
pub(crate) fn output_min(model: &Model) -> Tokens {
    OUTPUT_MIN.min(model.max_output)
}

/// What the call may use at most; 413 where it could never fit the model. Hands the prompt back.
async fn ceiling(
    plan: &Plan,
    model: &Model,
    prompt: Vec<PromptMessage>,
) -> Result<(Need, Vec<PromptMessage>), Problem> {
    let (input, prompt) = count(model.vendor, prompt).await?;
    let least = output_min(model);
    let max = Tokens(model.context.0.saturating_sub(least.0));
    if input > max {
        return Err(Problem::too_large(input, max, None));
    }
    let room = Tokens(model.context.0 - input.0);
    let most = plan.max_output.min(model.max_output).min(room).max(least);
    Ok((Need { input: input.0, output_min: least.0, output_max: most.0 }, prompt))
}

/// A prompt's tokens, counted off the async workers: a long one takes many milliseconds.
pub(crate) async fn count(vendor: Vendor, prompt: Vec<PromptMessage>) -> Result<(Tokens, Vec<PromptMessage>), Problem> {
    let counting =
        tokio::task::spawn_blocking(move || (estimate::prompt(vendor, domain::brand::SYSTEM_PROMPT, &prompt), prompt));
    counting.await.map_err(|error| internal(&error))
}

/// Leave to spend, a refusal that says when, or none where this turn was admitted before.
async fn admit(
    house: &House,
    viewer: &Viewer,
    turn_id: TurnId,
    need: Need,
    price: &PriceList,
) -> Result<Option<Leave>, Problem> {
    let plan = &viewer.plan;
    let most = Usage { input: Tokens(need.input), output: Tokens(need.output_max), ..Usage::default() };
    let (_, worst) = price.price(&most);
    let verdict = house.meters.admit(viewer, turn_id, need, worst).await;
    match verdict.map_err(|error| Refused::from(error).0)? {
        Verdict::Granted(leave) => Ok(Some(leave)),
        Verdict::Running => Ok(None),
        Verdict::SpendCap { retry_after_ms } => Err(Problem::spend_cap(retry_after_ms)),
        Verdict::TooLarge { max } => {
            let upgrade = larger(house, plan, |plan| plan.tokens_per_day.0 >= need.input + need.output_min).await?;
            Err(Problem::too_large(Tokens(need.input), Tokens(max), upgrade))
        }
        Verdict::Denied(Denial { reason, retry_after_ms, .. }) => {
            // The places of `PERSON`.
            let (kind, upgrade) = match reason {
                Reason::Window(0) => (
                    ProblemKind::RequestsLimit,
                    larger(house, plan, |larger| larger.requests_per_minute > plan.requests_per_minute).await?,
                ),
                Reason::Window(_) => (
                    ProblemKind::TokensLimit,
                    larger(house, plan, |larger| larger.tokens_per_day > plan.tokens_per_day).await?,
                ),
                Reason::InFlight => {
                    (ProblemKind::InFlightLimit, larger(house, plan, |larger| larger.in_flight > plan.in_flight).await?)
                }
            };
            Err(Problem::limit(kind, retry_after_ms, upgrade))
        }
    }
}

/// A question that is written down.
struct Written {
    turn_id: TurnId,
    conversation_id: ConversationId,
    /// Whether the conversation was begun for it.
    began: bool,
    call: PendingCall,
}

/// Writes the question and a pending ledger row, then confirms the hold. None where the same turn was written before:
/// the permit is dropped then, and its hold lapses.
async fn ask(
    house: &House,
    viewer: &Viewer,
    question: &Question,
    model: &Model,
    price: &PriceList,
    leave: Leave,
) -> Result<(Option<Written>, Leave), Problem> {
    let permit = &leave.permit;
    // The instant of admission, by Redis' clock: meter and ledger count the usage at the same moment.
    let now = i64::try_from(permit.at_ms())
        .ok()
        .and_then(|ms| OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000).ok());
    let now = now.unwrap_or_else(House::now);
    let conversation_id = question.conversation_id.unwrap_or_else(|| ConversationId::at(now));
    let began = question.conversation_id.is_none();
    let title: String = question.text.trim().lines().next().unwrap_or_default().chars().take(80).collect();
    let asked = store::turn::ask(
        &house.db,
        &Ask {
            turn_id: question.turn_id,
            user_id: viewer.user_id,
            subject: &viewer.subject,
            conversation_id,
            new_title: began.then_some(title.as_str()),
            text: &question.text,
            request_hash: &question.hash,
            model: &model.name,
            price_id: price.tier(Tokens(permit.reserved() - permit.output())).id,
            estimated: Tokens(permit.reserved() - permit.output()),
            reserved: Tokens(permit.reserved()),
            now,
        },
    )
    .await;
    match asked {
        Ok(Asked::New(call)) => {
            let written = Written { turn_id: question.turn_id, conversation_id, began, call };
            match house.meters.confirm(&leave).await {
                Ok(true) => Ok((Some(written), leave)),
                // It took so long that the hold lapsed: what isn't held isn't spent.
                Ok(false) => {
                    undo(house, &written, leave).await;
                    Err(Problem::limits_unavailable())
                }
                Err(error) => {
                    undo(house, &written, leave).await;
                    Err(Refused::from(error).0)
                }
            }
        }
        Ok(Asked::Known) => Ok((None, leave)),
        Ok(Asked::NoConversation) => {
            release(house, leave).await;
            Err(Problem::not_found("conversation"))
        }
        Err(error) => {
            release(house, leave).await;
            Err(lost(error))
        }
    }
}

/// Opens the vendor's stream; where it is refused, everything is as it was before the question.
async fn open(
    house: &House,
    asked: &Written,
    model: &Model,
    prompt: &[PromptMessage],
    leave: Leave,
) -> Result<(Chunks, Leave), Problem> {
    let opened = {
        let opening = house.vendors.open(&leave.permit, model, prompt);
        tokio::pin!(opening);
        let mut beat = tokio::time::interval(BEAT);
        loop {
            tokio::select! {
                opened = &mut opening => break opened,
                () = house.cut.cancelled() => break Err(Problem::model_unavailable(2_000)),
                // A vendor may take longer to begin than a turn counts as alive.
                _ = beat.tick() => {
                    if let Err(error) = store::turn::beat(&house.db, asked.turn_id, House::now()).await {
                        tracing::warn!(%error, turn = %asked.turn_id, "no sign of life written");
                    }
                }
            }
        }
    };
    match opened {
        Ok(chunks) => Ok((chunks, leave)),
        Err(problem) => {
            undo(house, asked, leave).await;
            Err(problem)
        }
    }
}

/// Takes a written question back.
async fn undo(house: &House, asked: &Written, leave: Leave) {
    let undone =
        store::turn::refused(&house.db, asked.turn_id, asked.conversation_id, asked.began, asked.call, House::now())
            .await;
    if let Err(error) = undone {
        // The row stays pending, and the hold with it; the reaper ends both.
        internal(&error);
        return;
    }
    release(house, leave).await;
}

async fn release(house: &House, leave: Leave) {
    if let Err(error) = house.meters.release(leave).await {
        tracing::warn!(%error, "hold not released");
    }
}

fn lost(error: store::StoreError) -> Problem {
    internal(&error)
}
