//! Turns whose process is gone, and those whose meters were not told.

use super::PendingCall;
use crate::Result;
use domain::{ConversationId, ModelName, ModelPriceId, Picos, Tokens, TurnId, Vendor};
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

/// Says that the meters know what these turns used.
///
/// # Errors
/// When Postgres does.
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
    /// Who answered last.
    pub model: ModelName,
    /// What it used.
    pub used: Tokens,
    /// What it cost.
    pub cost: Picos,
}

/// Turns that ended fifteen seconds ago or more, by Postgres' clock, and whose meters aren't settled.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn unsettled(db: impl PgExecutor<'_>) -> Result<Vec<Unsettled>> {
    let rows = sqlx::query!(
        r#"select t.turn_id, t.subject, t.created_at,
                  (select model from ai_usage u where u.turn_id = t.turn_id and u.created_at = t.created_at order by call_no desc limit 1) as model,
                  (select coalesce(sum(input_tokens + cache_read_tokens + cache_write_tokens + output_tokens), 0)::bigint
                   from ai_usage u where u.turn_id = t.turn_id and u.created_at = t.created_at) as "used!",
                  (select coalesce(sum(cost_usd), 0) from ai_usage u where u.turn_id = t.turn_id and u.created_at = t.created_at) as "cost!"
           from turn t where t.settled_at is null and t.ended_at < now() - interval '15 seconds' order by t.ended_at limit 100"#
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Unsettled {
            turn_id: row.turn_id.into(),
            subject: row.subject,
            at: row.created_at,
            model: ModelName(row.model.unwrap_or_default()),
            used: Tokens::from_db(row.used),
            cost: Picos::from_usd(row.cost).unwrap_or_default(),
        })
        .collect())
}

/// A turn whose process has given no sign: what the reaper needs to end it.
pub struct Dead {
    /// The turn.
    pub turn_id: TurnId,
    /// Names the meters.
    pub subject: String,
    /// Where it belonged; none once that is deleted.
    pub conversation_id: Option<ConversationId>,
    /// Who was asked.
    pub model: ModelName,
    /// In whose wire format; its words are counted accordingly.
    pub vendor: Vendor,
    /// The price it was admitted at.
    pub price_id: ModelPriceId,
    /// Input as estimated.
    pub estimated: Tokens,
    /// The ledger row.
    pub call: PendingCall,
}

/// Turns with a pending row whose lease has expired, by Postgres' clock: their server is gone.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn dead(db: impl PgExecutor<'_>) -> Result<Vec<Dead>> {
    let rows = sqlx::query!(
        "select t.turn_id, t.subject, t.conversation_id, u.model, m.vendor, u.model_price_id, u.estimated_tokens, u.ai_usage_id, u.created_at
         from turn t join ai_usage u on u.turn_id = t.turn_id and u.created_at = t.created_at join model m using (model)
         where t.ended_at is null and t.alive_until < now() and u.status = 'pending' order by t.alive_until limit 100"
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Dead {
            turn_id: row.turn_id.into(),
            subject: row.subject,
            conversation_id: row.conversation_id.map(Into::into),
            model: ModelName(row.model),
            vendor: row.vendor.parse().unwrap_or(Vendor::OpenAi),
            price_id: row.model_price_id.into(),
            estimated: Tokens::from_db(row.estimated_tokens),
            call: PendingCall { id: row.ai_usage_id.into(), created_at: row.created_at },
        })
        .collect())
}
