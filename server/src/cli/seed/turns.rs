//! A user's turns with their ledger rows, written as the server writes them.

use super::company::Member;
use super::content::{self, Exchange};
use anyhow::ensure;
use domain::{
    CacheMarks, ChatSettings, ConversationId, MessageStatus, ModelName, Outcome, PriceList, Tokens, TurnId, Usage,
    UsageSource, UserId,
};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use store::turn::{Branch, InsertOutcome, NewTurn, Record};
use time::{Duration, OffsetDateTime, Time};

/// Models by plan, each with the predecessor that is used before its first price. One that is listed twice is used twice as often.
const FREE: &[[&str; 2]] =
    &[["claude-haiku-5-5", "claude-haiku-4-5"], ["gpt-6-luna", "gpt-5-mini"], ["gpt-6-luna", "gpt-4o-mini"]];
const PRO: &[[&str; 2]] = &[
    ["claude-sonnet-5-5", "claude-sonnet-4-6"],
    ["claude-haiku-5-5", "claude-haiku-4-5"],
    ["gpt-6.1-terra", "gpt-5.4-mini"],
];
const MAX: &[[&str; 2]] =
    &[["claude-sonnet-5-5", "claude-sonnet-4-6"], ["claude-opus-5-5", "claude-opus-4-7"], ["gpt-6.1-sol", "gpt-5.4"]];

/// How long ago OpenAI's models failed, and for how long.
const OUTAGE: (Duration, Duration) = (Duration::days(12), Duration::hours(8));

/// How a turn ended.
#[derive(Clone, Copy)]
struct End {
    outcome: Outcome,
    status: MessageStatus,
    source: UsageSource,
}

const FINISHED: End = End { outcome: Outcome::Finished, status: MessageStatus::Finished, source: UsageSource::Exact };

/// A turn to add.
struct Turn<'a> {
    at: OffsetDateTime,
    conversation_id: ConversationId,
    /// Whether it begins the conversation.
    is_first: bool,
    exchange: &'a Exchange,
    model: &'a ModelName,
    price: &'a PriceList,
    usage: Usage,
    end: End,
    ttft_ms: i32,
}

/// Writes the turns of one user.
pub(super) struct Ledger<'a> {
    db: &'a store::Db,
    user_id: UserId,
    subject: &'a str,
    now: OffsetDateTime,
    /// The turns so far.
    turns: Vec<TurnId>,
}

impl<'a> Ledger<'a> {
    pub(super) fn new(db: &'a store::Db, user_id: UserId, subject: &'a str, now: OffsetDateTime) -> Self {
        Self { db, user_id, subject, now, turns: Vec::new() }
    }

    /// Adds a member's usage from the day they joined, at random but the same every time. What exceeds the limit of a day is refused.
    pub(super) async fn add_days(
        &mut self,
        number: u64,
        member: &Member,
        limit: impl Fn(OffsetDateTime) -> anyhow::Result<Tokens>,
    ) -> anyhow::Result<()> {
        let (mut rng, exchanges) = (StdRng::seed_from_u64(number), content::short());
        let last = member.left_at.map_or(self.now, |left_at| left_at.min(self.now));
        for day in 0..=(last - member.joined_at).whole_days() {
            let morning = (member.joined_at + Duration::days(day)).replace_time(Time::MIDNIGHT) + Duration::hours(6);
            let is_weekend = matches!(morning.weekday(), time::Weekday::Saturday | time::Weekday::Sunday);
            if member.weight == 0 || rng.random_range(0..10) < if is_weekend { 8 } else { 5 } {
                continue;
            }
            let mut used = 0;
            for _ in 0..rng.random_range(1..=member.weight.min(4)) {
                let at = morning + Duration::minutes(rng.random_range(0..900));
                let exchange = &exchanges[rng.random_range(0..exchanges.len())];
                if at < member.joined_at + Duration::minutes(5) || last - Duration::minutes(5) < at {
                    continue;
                }
                let plan = member.plan_at(at);
                let Some((model, price)) = pick_model(self.db, &mut rng, plan, at).await? else { continue };
                let usage = random_usage(&model, &mut rng, member.weight);
                if used + usage.counted().0 > limit(at)?.0 {
                    store::refusal::add(self.db, self.user_id, "tokens_limit", at, rng.random_range(1..4)).await?;
                    continue;
                }
                used += usage.counted().0;
                if plan == "free" && rng.random_range(0..40) == 0 {
                    store::refusal::add(self.db, self.user_id, "requests_limit", at, rng.random_range(1..3)).await?;
                }
                let failing = self.now - OUTAGE.0..self.now - OUTAGE.0 + OUTAGE.1;
                let end = random_end(&mut rng, model.0.starts_with("gpt") && failing.contains(&at));
                // Longer prompts have a longer time to first token.
                let ttft_ms = rng.random_range(240..900) + i32::try_from(usage.prompt().0 / 40)?;
                let (model, price) = (&model, &price);
                let (conversation_id, is_first) = (ConversationId::at(at), true);
                let turn = Turn { at, conversation_id, is_first, exchange, model, price, usage, end, ttft_ms };
                let turn_id = self.add(&turn).await?;
                if end.outcome == Outcome::Finished && rng.random_range(0..9) == 0 {
                    store::feedback::set(self.db, self.user_id, turn_id, rng.random_range(0..8) > 0, None).await?;
                    store::backdate::feedback(self.db, turn_id, at + Duration::minutes(2)).await?;
                }
            }
        }
        Ok(())
    }

    /// Adds conversations of several turns, the first of them an hour ago, the next ones a day or more before it.
    pub(super) async fn add_conversations(&mut self, conversations: &[Vec<Exchange>]) -> anyhow::Result<()> {
        let mut begins_at = self.now - Duration::hours(1);
        for exchanges in conversations {
            let (conversation_id, mut is_first, mut prompt) = (ConversationId::at(begins_at), true, 400);
            for (index, exchange) in exchanges.iter().enumerate() {
                let at = begins_at + Duration::minutes(3) * u32::try_from(index)?;
                let Some((model, price)) = priced(self.db, PRO[0], at).await? else { continue };
                prompt += tokens(exchange.question)?;
                let output = tokens(exchange.answer)?;
                let usage = Usage { input: Tokens(prompt), output: Tokens(output), ..Usage::default() };
                let (end, ttft_ms, model, price) = (FINISHED, 420, &model, &price);
                let turn = Turn { at, conversation_id, is_first, exchange, model, price, usage, end, ttft_ms };
                self.add(&turn).await?;
                prompt += output;
                is_first = false;
            }
            begins_at -= Duration::hours(29);
        }
        Ok(())
    }

    /// Marks all turns as settled: no meter counts them. Returns their number.
    pub(super) async fn finish(self) -> anyhow::Result<u32> {
        store::turn::mark_settled(self.db, &self.turns).await?;
        Ok(u32::try_from(self.turns.len())?)
    }

    async fn add(&mut self, turn: &Turn<'_>) -> anyhow::Result<TurnId> {
        let Turn { at, conversation_id, model, usage, end, .. } = *turn;
        let turn_id = TurnId::at(at);
        let title = markdown::plain_title(turn.exchange.question);
        let (price_id, cost) = turn.price.price(&usage);
        let new = NewTurn {
            turn_id,
            user_id: self.user_id,
            subject: self.subject,
            conversation_id,
            new_title: turn.is_first.then_some(title.as_str()),
            is_temporary: false,
            settings: &ChatSettings::default(),
            branch: Branch::End { leaf_id: None },
            attachments: &[],
            edit_of: None,
            text: turn.exchange.question,
            html: None,
            request_hash: b"seed",
            history_cut: None,
            model,
            price_id,
            counted: usage.prompt(),
            // Estimates are a little too high, more so for longer answers.
            estimated: Tokens(usage.prompt().0 * (98 + usage.output.0 % 13) / 100),
            reserved: usage.counted(),
            cache_marks: CacheMarks::None,
            now: at,
        };
        let InsertOutcome::New(call, _) = store::turn::write_pending(self.db, &new).await? else {
            anyhow::bail!("a demo turn was not written");
        };
        let is_whole = end.status == MessageStatus::Finished;
        let failed = end.outcome == Outcome::Failed;
        let record = Record {
            turn_id,
            conversation_id: Some(conversation_id),
            call,
            model,
            text: if is_whole { turn.exchange.answer } else { first_paragraph(turn.exchange.answer) },
            html: None,
            reasoning: "",
            message_status: end.status,
            outcome: end.outcome,
            usage: &usage,
            source: end.source,
            price_id,
            cost,
            provider_request_id: None,
            provider_failed: failed,
            ttft_ms: Some(turn.ttft_ms),
            other_failed: false,
            now: at + Duration::seconds(9),
        };
        ensure!(store::turn::record(self.db, &record).await?, "a demo turn was recorded twice");
        self.turns.push(turn_id);
        Ok(turn_id)
    }
}

fn first_paragraph(text: &'static str) -> &'static str {
    text.split("\n\n").next().unwrap_or(text)
}

/// Returns roughly how many tokens a text has.
fn tokens(text: &str) -> anyhow::Result<u64> {
    Ok(u64::try_from(text.len())? / 4 + 1)
}

/// Picks a model of a plan that had a price at an instant, with that price.
async fn pick_model(
    db: &store::Db,
    rng: &mut StdRng,
    plan: &str,
    at: OffsetDateTime,
) -> anyhow::Result<Option<(ModelName, PriceList)>> {
    let models = match plan {
        "free" => FREE,
        "pro" => PRO,
        _ => MAX,
    };
    priced(db, models[rng.random_range(0..models.len())], at).await
}

/// Returns the first of the models that had a price at an instant, with that price.
async fn priced(
    db: &store::Db,
    models: [&str; 2],
    at: OffsetDateTime,
) -> anyhow::Result<Option<(ModelName, PriceList)>> {
    for name in models {
        let model = ModelName(name.to_owned());
        if let Some(price) = store::model::price(db, &model, at).await? {
            return Ok(Some((model, price)));
        }
    }
    Ok(None)
}

/// Returns the usage of a call. A third of the calls read half of their prompt from a cache; of them, Claude models write a quarter of the
/// prompt to the cache, a tenth of that with the longer lifetime.
fn random_usage(model: &ModelName, rng: &mut StdRng, weight: u64) -> Usage {
    let (prompt, output) = (rng.random_range(200..6_000) * weight, rng.random_range(80..1_800));
    let is_cached = rng.random_range(0..3) == 0;
    let is_claude = model.0.starts_with("claude");
    let cache_read = if is_cached { prompt / 2 } else { 0 };
    let cache_write = if is_cached && is_claude { prompt / 4 } else { 0 };
    Usage {
        input: Tokens(prompt - cache_read - cache_write),
        cache_read: Tokens(cache_read),
        cache_write: Tokens(cache_write),
        cache_write_long: Tokens(cache_write / 10),
        output: Tokens(output),
        // Only OpenAI reports reasoning tokens, and gpt-4o-mini doesn't reason.
        reasoning: Tokens(if is_claude || model.0.starts_with("gpt-4") { 0 } else { output / 3 }),
    }
}

/// Returns how a call ended: mostly as it should, in an outage mostly not.
fn random_end(rng: &mut StdRng, is_outage: bool) -> End {
    let end = |outcome, status, source| End { outcome, status, source };
    match rng.random_range(0..200) {
        0..150 if is_outage => end(Outcome::Failed, MessageStatus::Failed, UsageSource::Estimated),
        0..3 => end(Outcome::Failed, MessageStatus::Failed, UsageSource::Estimated),
        3..7 => end(Outcome::Stopped, MessageStatus::Stopped, UsageSource::Estimated),
        7..9 => end(Outcome::Truncated, MessageStatus::Truncated, UsageSource::Exact),
        9 => end(Outcome::Refused, MessageStatus::Refused, UsageSource::Exact),
        _ => FINISHED,
    }
}
