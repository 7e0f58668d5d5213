//! Sessions. Only a hash of the cookie's token is stored. The row itself decides when a session expires, in the SQL function
//! `session_ends_at`: after its idle time, which is twelve hours for admins, and 180 days after the sign-in.

use crate::Result;
use domain::{UserId, Viewer};
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

/// Stores a new session. Returns false if the token already exists. [`describe`] adds where it began.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn create(
    db: impl PgExecutor<'_>,
    token_hash: &[u8],
    user_id: Option<UserId>,
    data: &serde_json::Value,
    expires_at: OffsetDateTime,
) -> Result<bool> {
    let done = sqlx::query!(
        "insert into session (token_hash, user_id, data, expires_at) values ($1, $2, $3, $4) on conflict do nothing",
        token_hash,
        user_id.map(Uuid::from),
        data,
        expires_at,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Updates an existing session. Does nothing if it was deleted in the meantime. No session is kept beyond its absolute limit.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn save(
    db: impl PgExecutor<'_>,
    token_hash: &[u8],
    user_id: Option<UserId>,
    data: &serde_json::Value,
    expires_at: OffsetDateTime,
) -> Result<()> {
    sqlx::query!(
        "update session set user_id = $2, data = $3, expires_at = least($4, absolute_expires_at) where token_hash = $1",
        token_hash,
        user_id.map(Uuid::from),
        data,
        expires_at,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Loads a session's data and expiry. Returns `None` if the session doesn't exist or has expired.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn load(
    db: impl PgExecutor<'_>,
    token_hash: &[u8],
    now: OffsetDateTime,
) -> Result<Option<(serde_json::Value, OffsetDateTime)>> {
    let row = sqlx::query!(
        r#"select n.data as "data!", n.expires_at as "expires_at!" from session n left join account a using (user_id)
           where n.token_hash = $1 and session_ends_at(n, a.role) > $2"#,
        token_hash,
        now,
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| (row.data, row.expires_at)))
}

/// Loads the user of a live session with their current plan.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn viewer(db: impl PgExecutor<'_>, token_hash: &[u8], now: OffsetDateTime) -> Result<Option<Viewer>> {
    crate::account::load_viewer(db, crate::account::ViewerKey::Session { token_hash, now }).await
}

/// Records where and when the user of a session signed in: the browser, as it describes itself (its first 200 characters), and the keyed
/// hash of the client's address. The absolute limit counts from `now`.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn describe(
    db: impl PgExecutor<'_>,
    token_hash: &[u8],
    user_agent: &str,
    origin: &str,
    now: OffsetDateTime,
) -> Result<()> {
    sqlx::query!(
        "update session set user_agent = left($2, 200), origin = $3, created_at = $4, last_seen_at = $4,
             absolute_expires_at = $4::timestamptz + interval '180 days'
         where token_hash = $1",
        token_hash,
        user_agent,
        origin,
        now,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Renews a live session that wasn't renewed within the last hour, so that it expires at `expires_at` or at its absolute limit.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn touch(
    db: impl PgExecutor<'_>,
    token_hash: &[u8],
    expires_at: OffsetDateTime,
    now: OffsetDateTime,
) -> Result<()> {
    sqlx::query!(
        "update session n set last_seen_at = $3, expires_at = least($2, n.absolute_expires_at)
         from account a
         where n.token_hash = $1 and a.user_id = n.user_id and n.last_seen_at <= $3::timestamptz - interval '1 hour'
           and session_ends_at(n, a.role) > $3",
        token_hash,
        expires_at,
        now,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Records that the user of a session has proved who they are, and whether with two factors.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn authenticate(
    db: impl PgExecutor<'_>,
    token_hash: &[u8],
    is_two_factor: bool,
    now: OffsetDateTime,
) -> Result<()> {
    sqlx::query!(
        "update session set authenticated_at = $3, is_two_factor = $2 where token_hash = $1",
        token_hash,
        is_two_factor,
        now,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Makes a session wait for the second factor of a user until `expires_at`. It is nobody's session until then.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn set_pending(
    db: impl PgExecutor<'_>,
    token_hash: &[u8],
    user_id: UserId,
    expires_at: OffsetDateTime,
) -> Result<()> {
    sqlx::query!(
        "update session set pending_user_id = $2, expires_at = $3, absolute_expires_at = $3 where token_hash = $1",
        token_hash,
        Uuid::from(user_id),
        expires_at,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Returns the user whose second factor a session waits for.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn pending(db: impl PgExecutor<'_>, token_hash: &[u8], now: OffsetDateTime) -> Result<Option<UserId>> {
    let user_id = sqlx::query_scalar!(
        r#"select pending_user_id as "user_id!" from session
           where token_hash = $1 and user_id is null and pending_user_id is not null and expires_at > $2"#,
        token_hash,
        now,
    )
    .fetch_optional(db)
    .await?;
    Ok(user_id.map(Into::into))
}

/// A session in a user's list.
pub struct SessionRow {
    /// Names the session on pages and in forms.
    pub session_id: Uuid,
    /// When the user signed in.
    pub created_at: OffsetDateTime,
    /// When it was last used, to the hour.
    pub last_seen_at: OffsetDateTime,
    /// The browser, as it describes itself; may be empty.
    pub user_agent: String,
    token_hash: Vec<u8>,
}

impl SessionRow {
    /// Returns whether this is the session with the given token.
    #[must_use]
    pub fn is_current(&self, token_hash: &[u8]) -> bool {
        self.token_hash == token_hash
    }
}

/// Lists a user's live sessions, the most recently used first.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn list(db: impl PgExecutor<'_>, owner: UserId, now: OffsetDateTime) -> Result<Vec<SessionRow>> {
    Ok(sqlx::query_as!(
        SessionRow,
        "select n.session_id, n.created_at, n.last_seen_at, n.user_agent, n.token_hash
         from session n join account a using (user_id)
         where n.user_id = $1 and session_ends_at(n, a.role) > $2 order by n.last_seen_at desc, n.session_id",
        Uuid::from(owner),
        now,
    )
    .fetch_all(db)
    .await?)
}

/// Ends one of a user's sessions. Returns false if the user has no such session.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn end(db: impl PgExecutor<'_>, owner: UserId, session_id: Uuid) -> Result<bool> {
    let done =
        sqlx::query!("delete from session where user_id = $1 and session_id = $2", Uuid::from(owner), session_id)
            .execute(db)
            .await?;
    Ok(done.rows_affected() == 1)
}

/// Ends all of a user's sessions except the one with the given token, and returns how many. An empty token ends all. Sessions that wait
/// for the user's second factor end too.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn end_others(db: impl PgExecutor<'_>, owner: UserId, token_hash: &[u8]) -> Result<u64> {
    let done = sqlx::query!(
        "delete from session where (user_id = $1 or pending_user_id = $1) and token_hash <> $2",
        Uuid::from(owner),
        token_hash,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}

/// Returns for each token, in order, whether its session is alive by Postgres' clock. One query for all streams of a server.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn is_alive(db: impl PgExecutor<'_>, token_hashes: &[[u8; 32]]) -> Result<Vec<bool>> {
    let hashes: Vec<Vec<u8>> = token_hashes.iter().map(|hash| hash.to_vec()).collect();
    Ok(sqlx::query_scalar!(
        r#"select exists (
             select from session n join account a using (user_id)
             where n.token_hash = t.token_hash and session_ends_at(n, a.role) > now()
           ) as "is_alive!"
           from unnest($1::bytea[]) with ordinality t (token_hash, position) order by t.position"#,
        &hashes,
    )
    .fetch_all(db)
    .await?)
}

/// Deletes a session.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn delete(db: impl PgExecutor<'_>, token_hash: &[u8]) -> Result<()> {
    sqlx::query!("delete from session where token_hash = $1", token_hash).execute(db).await?;
    Ok(())
}

/// Deletes expired sessions and returns how many.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn sweep(db: impl PgExecutor<'_>, now: OffsetDateTime) -> Result<u64> {
    let done = sqlx::query!("delete from session where expires_at <= $1 or absolute_expires_at <= $1", now)
        .execute(db)
        .await?;
    Ok(done.rows_affected())
}
