//! Turns whose process is gone, and turns whose meters aren't settled.

use super::PendingCall;
use crate::Result;
use domain::{ConversationId, ModelName, ModelPriceId, Picos, Provider, Tokens, TurnId};
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

/// Says that the meters know what these turns used.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn settled(db: impl PgExecutor<'_>, ids: &[TurnId]) -> Result<()> {
    let ids: Vec<Uuid> = ids.iter().copied().map(Uuid::from).collect();
    sqlx::query!("update turn set settled_at = now() where turn_id = any($1)", &ids).execute(db).await?;
    Ok(())
}

/// A turn that has ended and whose hold may still stand.
pub struct Unsettled {
    /// The turn.
    pub turn_id: TurnId,
    /// Names the meters.
    pub subject: String,
    /// When it was admitted.
    pub at: OffsetDateTime,
    /// What it used.
    pub used: Tokens,
    /// What each of its calls cost, the one that answered last.
    pub costs: Vec<(ModelName, Picos)>,
}

/// Turns whose meters aren't settled: the one that is named, or all that ended fifteen seconds ago or more, by Postgres' clock.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn unsettled(db: impl PgExecutor<'_>, turn_id: Option<TurnId>) -> Result<Vec<Unsettled>> {
    let rows = sqlx::query!(
        r#"select t.turn_id, t.subject, t.created_at,
                  array(select model from ai_usage u where u.turn_id = t.turn_id and u.created_at = t.created_at
                        order by call_no, ai_usage_id) as "models!",
                  array(select cost_usd from ai_usage u where u.turn_id = t.turn_id and u.created_at = t.created_at
                        order by call_no, ai_usage_id) as "costs!: Vec<rust_decimal::Decimal>",
                  (select coalesce(sum(input_tokens + cache_read_tokens + cache_write_tokens + output_tokens), 0)::bigint
                   from ai_usage u where u.turn_id = t.turn_id and u.created_at = t.created_at) as "used!"
           from turn t
           where t.settled_at is null and t.ended_at is not null
             and (t.turn_id = $1 or ($1::uuid is null and t.ended_at < now() - interval '15 seconds'))
           order by t.ended_at limit 100"#,
        turn_id.map(Uuid::from),
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Unsettled {
            turn_id: row.turn_id.into(),
            subject: row.subject,
            at: row.created_at,
            used: Tokens::from_db(row.used),
            costs: row
                .models
                .into_iter()
                .map(ModelName)
                .zip(row.costs.into_iter().map(|cost| Picos::from_usd(cost).unwrap_or_default()))
                .collect(),
        })
        .collect())
}

/// A turn whose process has given no sign: what the reaper needs to end it.
pub struct ExpiredTurn {
    /// The turn.
    pub turn_id: TurnId,
    /// Names the meters.
    pub subject: String,
    /// Where it belonged; none once that is deleted.
    pub conversation_id: Option<ConversationId>,
    /// Who was asked.
    pub model: ModelName,
    /// In whose wire format; its words are counted accordingly.
    pub provider: Provider,
    /// The price it was admitted at.
    pub price_id: ModelPriceId,
    /// Input as estimated.
    pub estimated: Tokens,
    /// The ledger row.
    pub call: PendingCall,
}

/// The pending calls of turns whose lease has expired, by Postgres' clock: their server is gone. Of a hedged turn's two calls only the
/// one that answered or would be used.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn expired(db: impl PgExecutor<'_>) -> Result<Vec<ExpiredTurn>> {
    let rows = sqlx::query!(
        "select t.turn_id, t.subject, t.conversation_id, u.model, m.provider, u.model_price_id, u.estimated_tokens, u.ai_usage_id, u.created_at
         from turn t join ai_usage u on u.turn_id = t.turn_id and u.created_at = t.created_at join model m using (model)
         where t.ended_at is null and t.alive_until < now() and u.status = 'pending'
           and not exists (select from ai_usage o where o.turn_id = u.turn_id and o.created_at = u.created_at and o.status = 'pending'
                             and o.call_no > u.call_no)
         order by t.alive_until limit 100"
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| ExpiredTurn {
            turn_id: row.turn_id.into(),
            subject: row.subject,
            conversation_id: row.conversation_id.map(Into::into),
            model: ModelName(row.model),
            provider: row.provider.parse().unwrap_or(Provider::OpenAi),
            price_id: row.model_price_id.into(),
            estimated: Tokens::from_db(row.estimated_tokens),
            call: PendingCall { id: row.ai_usage_id.into(), created_at: row.created_at },
        })
        .collect())
}
