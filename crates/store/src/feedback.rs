//! Users' ratings of responses.

use crate::Result;
use domain::{TurnId, UserId};
use sqlx::PgExecutor;
use std::collections::HashMap;
use uuid::Uuid;

/// Stores a user's rating of the response of one of their turns, or replaces it. Returns false if the turn has no response, or belongs to
/// another user.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn set(db: impl PgExecutor<'_>, owner: UserId, turn: TurnId, is_good: bool) -> Result<bool> {
    let done = sqlx::query!(
        "insert into feedback (turn_id, user_id, model, is_good)
         select m.turn_id, c.user_id, m.model, $3::boolean from message m join conversation c using (conversation_id)
         where m.turn_id = $1 and m.role = 'assistant' and m.model is not null and c.user_id = $2 and c.deleted_at is null
         on conflict (turn_id) do update set is_good = excluded.is_good, created_at = now()",
        Uuid::from(turn),
        Uuid::from(owner),
        is_good,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Deletes a user's rating of a response, if there is one.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn clear(db: impl PgExecutor<'_>, owner: UserId, turn: TurnId) -> Result<()> {
    sqlx::query!("delete from feedback where turn_id = $1 and user_id = $2", Uuid::from(turn), Uuid::from(owner))
        .execute(db)
        .await?;
    Ok(())
}

/// How often the responses of a model were rated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ratings {
    /// Number of rated responses.
    pub rated: u64,
    /// Those that were rated as good.
    pub good: u64,
}

/// Counts the ratings of all users by model.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn by_model(db: impl PgExecutor<'_>) -> Result<HashMap<String, Ratings>> {
    let rows = sqlx::query!(
        r#"select model, count(*) as "rated!", count(*) filter (where is_good) as "good!" from feedback group by model"#
    )
    .fetch_all(db)
    .await?;
    let ratings = |rated: i64, good: i64| Ratings { rated: rated.unsigned_abs(), good: good.unsigned_abs() };
    Ok(rows.into_iter().map(|row| (row.model, ratings(row.rated, row.good))).collect())
}
