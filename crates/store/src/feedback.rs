//! Users' ratings of responses, some with a comment for the owner.

use crate::Result;
use domain::{TurnId, UserId};
use serde::Serialize;
use sqlx::PgExecutor;
use std::collections::HashMap;
use time::OffsetDateTime;
use uuid::Uuid;

/// Stores a user's rating of the response of one of their turns, or replaces it. `comment` replaces its comment; `None` keeps the
/// one that is stored, and an empty one removes it. Returns false if the turn has no response, belongs to another
/// user, or doesn't exist: the file of an imported response may name any model.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn set(
    db: impl PgExecutor<'_>,
    owner: UserId,
    turn: TurnId,
    is_good: bool,
    comment: Option<&str>,
) -> Result<bool> {
    let done = sqlx::query!(
        "insert into feedback (turn_id, user_id, model, is_good, comment)
         select m.turn_id, c.user_id, m.model, $3::boolean, nullif($4::text, '')
         from message m join conversation c using (conversation_id) join turn t on t.turn_id = m.turn_id and t.user_id = c.user_id
         where m.turn_id = $1 and m.role = 'assistant' and m.model is not null and c.user_id = $2 and c.deleted_at is null
         on conflict (turn_id) do update set is_good = excluded.is_good, created_at = now(),
           comment = case when $4::text is null then feedback.comment else excluded.comment end",
        Uuid::from(turn),
        Uuid::from(owner),
        is_good,
        comment,
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

/// A comment on a response, for the owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comment {
    /// The model that responded.
    pub model: String,
    /// Whether the response was rated as good.
    pub is_good: bool,
    /// What the user wrote.
    pub text: String,
    /// The user.
    pub user_id: UserId,
    /// The user's email address.
    pub email: String,
    /// When the response was rated.
    pub created_at: OffsetDateTime,
}

/// Lists the latest comments on each model, at most `per_model` of one, newest first.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn latest_comments(db: impl PgExecutor<'_>, per_model: i64) -> Result<Vec<Comment>> {
    let rows = sqlx::query!(
        r#"select m.model, f.is_good, f.comment as "comment!", f.created_at, a.user_id, a.email
           from model m cross join lateral (
             select is_good, comment, created_at, user_id from feedback
             where model = m.model and comment is not null order by created_at desc limit $1
           ) f join account a using (user_id)
           order by m.sort, m.model, f.created_at desc"#,
        per_model,
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Comment {
            model: row.model,
            is_good: row.is_good,
            text: row.comment,
            user_id: row.user_id.into(),
            email: row.email,
            created_at: row.created_at,
        })
        .collect())
}

/// A rating in its user's export.
#[derive(Clone, Debug, Serialize)]
pub struct ExportedRating {
    /// The turn whose response was rated.
    pub turn_id: Uuid,
    /// The model that responded.
    pub model: String,
    /// Whether the response was rated as good.
    pub is_good: bool,
    /// What the user wrote; `None` without a comment.
    pub comment: Option<String>,
    /// When it was rated.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
}

/// Loads the next page of a user's ratings, at most `limit`: those after the last one of the previous page.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn next(
    db: impl PgExecutor<'_>,
    owner: UserId,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<ExportedRating>> {
    Ok(sqlx::query_as!(
        ExportedRating,
        "select turn_id, model, is_good, comment, created_at from feedback
         where user_id = $1 and turn_id > $2 order by turn_id limit $3",
        Uuid::from(owner),
        after.unwrap_or(Uuid::nil()),
        limit,
    )
    .fetch_all(db)
    .await?)
}
