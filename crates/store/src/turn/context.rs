//! What a turn needs before it is admitted, in one query without a cache, so that every server applies a change from its next turn on.

use super::ExistingTurn;
use crate::Result;
use crate::chat_settings::TurnSettings;
use domain::{
    ChatSettings, ConversationId, MicrosPerMillion, Model, ModelName, Picos, Price, PriceList, Tokens, TurnId, UserId,
};
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

/// The owner's global switches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Switches {
    /// Whether all turns are refused.
    pub paused: bool,
    /// Maximum spend of all users in any 24 hours; `None` is unlimited.
    pub daily_spend: Option<Picos>,
}

/// An enabled model with the price in force.
#[derive(Clone, Debug)]
pub struct AvailableModel {
    /// The model.
    pub model: Model,
    /// The price in force; `None` if there is none, and then the model can't be used.
    pub price: Option<PriceList>,
    /// Maximum spend of all users on this model in any 24 hours; `None` is unlimited.
    pub daily_spend: Option<Picos>,
}

/// All data that a turn needs before it is admitted.
#[derive(Clone, Debug, Default)]
pub struct TurnContext {
    /// The turn, if it was sent before.
    pub known: Option<ExistingTurn>,
    /// The owner's global switches.
    pub switches: Switches,
    /// The enabled models among those requested, in the order of the model picker.
    pub offers: Vec<AvailableModel>,
    /// The instructions and settings that were requested with it.
    pub settings: TurnSettings,
}

/// The user and the conversation whose instructions and settings a turn has.
#[derive(Clone, Copy, Debug)]
pub struct SettingsKey {
    /// The user.
    pub owner: UserId,
    /// The conversation; `None` for a new one.
    pub conversation: Option<ConversationId>,
    /// A turn that is regenerated, whose conversation it is then. It may be imported.
    pub retry_of: Option<TurnId>,
}

/// Loads the switches, the enabled models (all, or only `model` and its fallback), their prices and whether the turn exists. One query
/// without a cache, so that every server applies a change from its next turn on.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn load_turn_context(
    db: impl PgExecutor<'_>,
    id: TurnId,
    model: Option<&ModelName>,
    now: OffsetDateTime,
) -> Result<TurnContext> {
    load_context(db, id, model, now, None).await
}

/// Loads the same for a turn of the chat, with its instructions and settings: defaults if the conversation doesn't exist or belongs to another
/// user.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn load_chat_context(
    db: impl PgExecutor<'_>,
    id: TurnId,
    model: Option<&ModelName>,
    now: OffsetDateTime,
    settings: SettingsKey,
) -> Result<TurnContext> {
    load_context(db, id, model, now, Some(settings)).await
}

/// Converts a row of [`load_context`] to its instructions and settings.
macro_rules! settings_from_row {
    ($row:ident) => {
        TurnSettings {
            account_instructions: $row.account_instructions.clone().unwrap_or_default(),
            conversation: ChatSettings {
                instructions: $row.instructions.clone(),
                model: $row.chosen_model.clone().map(ModelName),
                effort: $row.chosen_effort.clone(),
                answer_length: $row.answer_length.as_deref().and_then(|length| length.parse().ok()),
            },
        }
    };
}

/// Converts a row of [`load_context`] to one tier of its model's price; `None` if the model has no price.
macro_rules! price_from_row {
    ($row:ident) => {
        match ($row.model_price_id, $row.above, $row.input, $row.output) {
            (Some(id), Some(above), Some(input), Some(output)) => Some(Price {
                id: id.into(),
                above: Tokens::from_db(above),
                input: MicrosPerMillion(input),
                cache_read: $row.cache_read.map(MicrosPerMillion),
                cache_write: $row.cache_write.map(MicrosPerMillion),
                cache_write_long: $row.cache_write_long.map(MicrosPerMillion),
                output: MicrosPerMillion(output),
            }),
            _ => None,
        }
    };
}

async fn load_context(
    db: impl PgExecutor<'_>,
    id: TurnId,
    model: Option<&ModelName>,
    now: OffsetDateTime,
    key: Option<SettingsKey>,
) -> Result<TurnContext> {
    let rows = sqlx::query!(
        r#"select h.paused, h.daily_spend_usd as global_spend,
                  t.turn_id is not null as "is_known!", t.user_id as "user_id?", t.request_hash as "request_hash?",
                  t.ended_at is not null as "ended!", coalesce(t.alive_until >= now(), false) as "is_alive!",
                  m.model as "model?", m.label as "label?", m.context as "context?", m.max_output as "max_output?",
                  m.fallback as "fallback?", m.hedge_after_ms as "hedge_after_ms?", m.input_permille as "input_permille?",
                  m.output_limit as "output_limit?", m.thinking as "thinking?", m.takes_images as "takes_images?", m.efforts as "efforts?",
                  m.min_cacheable as "min_cacheable?", m.first_byte_timeout_ms as "first_byte_timeout_ms?",
                  m.idle_timeout_ms as "idle_timeout_ms?", m.ends_at as "ends_at?", m.daily_spend_usd as "model_spend?",
                  v.provider as "provider?", v.label as "provider_label?", v.wire_format as "wire_format?", v.base_url as "base_url?",
                  v.key_variable as "key_variable?", v.connect_timeout_ms as "connect_timeout_ms?",
                  v.first_byte_timeout_ms as "provider_first_byte_timeout_ms?",
                  v.idle_timeout_ms as "provider_idle_timeout_ms?", v.max_in_flight as "max_in_flight?",
                  p.model_price_id as "model_price_id?", p.above as "above?", p.input_micros_per_million as "input?",
                  p.cache_read_micros_per_million as "cache_read?", p.cache_write_micros_per_million as "cache_write?",
                  p.cache_write_long_micros_per_million as "cache_write_long?", p.output_micros_per_million as "output?",
                  a.instructions as "account_instructions?", coalesce(c.instructions, '') as "instructions!",
                  c.model as "chosen_model?", c.effort as "chosen_effort?", c.answer_length as "answer_length?"
           from deployment h
           left join turn t on t.turn_id = $1
           left join account a on a.user_id = $4
           left join conversation c on c.user_id = a.user_id and c.deleted_at is null
             and c.conversation_id = coalesce($5, (select m.conversation_id from message m where m.turn_id = $6 limit 1),
                                              (select r.conversation_id from turn r where r.turn_id = $6 and r.user_id = $4))
           left join (model m join provider v using (provider)) on m.enabled and ($3::text is null or m.model = $3
             or m.model = (select fallback from model where model = $3))
           left join lateral (
             select distinct on (coalesce(above_tokens, 0))
                    model_price_id, coalesce(above_tokens, 0) as above, input_micros_per_million, cache_read_micros_per_million,
                    cache_write_micros_per_million, cache_write_long_micros_per_million, output_micros_per_million
             from model_price where model = m.model and effective_at <= $2
             order by coalesce(above_tokens, 0), effective_at desc
           ) p on true
           order by m.sort, m.model, p.above"#,
        Uuid::from(id),
        now,
        model.map(|model| model.0.as_str()),
        key.map(|key| Uuid::from(key.owner)),
        key.and_then(|key| key.conversation).map(Uuid::from),
        key.and_then(|key| key.retry_of).map(Uuid::from),
    )
    .fetch_all(db)
    .await?;
    let mut context = TurnContext::default();
    if let Some(row) = rows.first() {
        context.settings = settings_from_row!(row);
    }
    let mut offers: Vec<(Model, Option<Picos>, Vec<Price>)> = Vec::new();
    for row in rows {
        context.switches = Switches { paused: row.paused, daily_spend: row.global_spend.and_then(Picos::from_usd) };
        if let (true, Some(request_hash)) = (row.is_known, row.request_hash) {
            let (user_id, is_alive) = (row.user_id.map(Into::into), row.is_alive);
            context.known = Some(ExistingTurn { user_id, request_hash, ended: row.ended, is_alive });
        }
        let price = price_from_row!(row);
        let daily_spend = row.model_spend.and_then(Picos::from_usd);
        let Some(model) = crate::model::from_row!(row).read() else { continue };
        match offers.last_mut() {
            Some((last, _, tiers)) if last.name == model.name => tiers.extend(price),
            _ => offers.push((model, daily_spend, price.into_iter().collect())),
        }
    }
    context.offers = offers
        .into_iter()
        .map(|(model, daily_spend, tiers)| AvailableModel { model, price: PriceList::new(tiers), daily_spend })
        .collect();
    Ok(context)
}
