//! Presets: settings of conversations that a user has saved under a name.

use crate::chat_settings::from_row;
use crate::{Db, Result};
use domain::{AnswerLength, ChatSettings, Preset, PresetId, UserId};
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

/// Maximum number of presets per user.
pub const MAX_PRESETS: i64 = 50;

/// The result of saving a preset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saved {
    /// It was saved.
    Yes,
    /// Another preset of the user has this name, regardless of case.
    NameTaken,
    /// The user has the maximum number of presets.
    TooMany,
    /// The preset doesn't exist or belongs to another user.
    NotFound,
}

/// Lists a user's presets by name.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn list(db: impl PgExecutor<'_>, owner: UserId) -> Result<Vec<Preset>> {
    let rows = sqlx::query!(
        "select preset_id, name, instructions, model, effort, answer_length from preset where user_id = $1 order by lower(name)",
        Uuid::from(owner),
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Preset { id: row.preset_id.into(), name: row.name, settings: from_row!(row) })
        .collect())
}

/// Loads one preset. Returns `None` if it doesn't exist or belongs to another user.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn load(db: impl PgExecutor<'_>, owner: UserId, id: PresetId) -> Result<Option<Preset>> {
    let row = sqlx::query!(
        "select preset_id, name, instructions, model, effort, answer_length from preset where user_id = $1 and preset_id = $2",
        Uuid::from(owner),
        Uuid::from(id),
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| Preset { id: row.preset_id.into(), name: row.name, settings: from_row!(row) }))
}

/// Creates a preset, unless its name is taken or the user has [`MAX_PRESETS`]. Requests of one user wait for each other.
///
/// # Errors
/// Returns an error if a query fails.
pub async fn create(db: &Db, owner: UserId, name: &str, settings: &ChatSettings, now: OffsetDateTime) -> Result<Saved> {
    let mut tx = crate::begin(db).await?;
    // A statement of its own: the next one must see what an earlier holder of this lock has written.
    sqlx::query!("select user_id from account where user_id = $1 for no key update", Uuid::from(owner))
        .fetch_optional(&mut tx)
        .await?;
    let (length, model) = columns(settings);
    let row = sqlx::query!(
        r#"with counted as (select count(*) as n from preset where user_id = $2),
           created as (
             insert into preset (preset_id, user_id, name, instructions, model, effort, answer_length, created_at)
             select $1, $2, $3, $4, $5, $6, $7, $8 from counted where n < $9
             on conflict (user_id, lower(name)) do nothing returning preset_id
           )
           select n < $9 as "has_room!", exists (select from created) as "is_created!" from counted"#,
        Uuid::from(PresetId::at(now)),
        Uuid::from(owner),
        name,
        settings.instructions,
        model,
        settings.effort,
        length,
        now,
        MAX_PRESETS,
    )
    .fetch_one(&mut tx)
    .await?;
    tx.commit().await?;
    Ok(match (row.has_room, row.is_created) {
        (false, _) => Saved::TooMany,
        (true, false) => Saved::NameTaken,
        (true, true) => Saved::Yes,
    })
}

/// Changes a preset. Conversations that it was used for keep their settings.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn update(
    db: impl PgExecutor<'_>,
    owner: UserId,
    id: PresetId,
    name: &str,
    settings: &ChatSettings,
) -> Result<Saved> {
    let (length, model) = columns(settings);
    let done = sqlx::query!(
        "update preset set name = $3, instructions = $4, model = $5, effort = $6, answer_length = $7
         where user_id = $1 and preset_id = $2",
        Uuid::from(owner),
        Uuid::from(id),
        name,
        settings.instructions,
        model,
        settings.effort,
        length,
    )
    .execute(db)
    .await;
    match done {
        Ok(done) if done.rows_affected() == 1 => Ok(Saved::Yes),
        Ok(_) => Ok(Saved::NotFound),
        Err(error) if error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_unique_violation) => {
            Ok(Saved::NameTaken)
        }
        Err(error) => Err(error.into()),
    }
}

/// Returns the columns `answer_length` and `model` of settings.
fn columns(settings: &ChatSettings) -> (Option<&'static str>, Option<&str>) {
    (settings.answer_length.map(AnswerLength::as_str), settings.model.as_ref().map(|model| model.0.as_str()))
}

/// Deletes a preset. Returns false if it doesn't exist or belongs to another user.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn delete(db: impl PgExecutor<'_>, owner: UserId, id: PresetId) -> Result<bool> {
    let done =
        sqlx::query!("delete from preset where user_id = $1 and preset_id = $2", Uuid::from(owner), Uuid::from(id))
            .execute(db)
            .await?;
    Ok(done.rows_affected() == 1)
}
