//! Sessions. Only a hash of the cookie's token is stored. The row itself decides when a session expires, in the SQL function
//! `session_ends_at`: after its idle time, which is twelve hours for admins, and 180 days after the sign-in.

use crate::{Result, Tx, account};
use domain::{UserId, Viewer};
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

/// Stores a session of a browser that isn't signed in. Returns false if the token already exists.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn create(
    db: impl PgExecutor<'_>,
    token_hash: &[u8],
    data: &serde_json::Value,
    expires_at: OffsetDateTime,
) -> Result<bool> {
    let done = sqlx::query!(
        "insert into session (token_hash, data, expires_at) values ($1, $2, $3) on conflict do nothing",
        token_hash,
        data,
        expires_at,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Updates the data of an existing session. Does nothing if it was deleted in the meantime.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn save(db: impl PgExecutor<'_>, token_hash: &[u8], data: &serde_json::Value) -> Result<()> {
    sqlx::query!("update session set data = $2 where token_hash = $1", token_hash, data).execute(db).await?;
    Ok(())
}

/// A session that begins with a proof of identity.
pub struct NewSession<'a> {
    /// Hash of its token.
    pub token_hash: &'a [u8],
    /// Its user.
    pub user_id: UserId,
    /// Whether the user has proved two factors.
    pub is_two_factor: bool,
    /// The browser, as it describes itself. Its first 200 characters are stored.
    pub user_agent: &'a str,
    /// Keyed hash of the client's address.
    pub origin: &'a str,
    /// When it expires if it isn't used.
    pub expires_at: OffsetDateTime,
    /// The current time, from which the absolute limit counts.
    pub now: OffsetDateTime,
}

/// Stores a user's new session.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn begin(db: impl PgExecutor<'_>, new: &NewSession<'_>) -> Result<()> {
    sqlx::query!(
        "insert into session (token_hash, user_id, data, expires_at, absolute_expires_at, created_at, last_seen_at, authenticated_at,
             is_two_factor, user_agent, origin)
         values ($1, $2, '{}', $3, $4::timestamptz + interval '180 days', $4, $4, $4, $5, left($6, 200), $7)",
        new.token_hash,
        Uuid::from(new.user_id),
        new.expires_at,
        new.now,
        new.is_two_factor,
        new.user_agent,
        new.origin,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Stores a session that waits for the second factor of a user until `expires_at`. Until then it counts as signed out.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn begin_pending(
    db: impl PgExecutor<'_>,
    token_hash: &[u8],
    user_id: UserId,
    expires_at: OffsetDateTime,
) -> Result<()> {
    sqlx::query!(
        "insert into session (token_hash, pending_user_id, data, expires_at, absolute_expires_at) values ($1, $2, '{}', $3, $3)",
        token_hash,
        Uuid::from(user_id),
        expires_at,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Takes the session that waits for the second factor of a user. Returns false if it has ended.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn take_pending(
    db: impl PgExecutor<'_>,
    token_hash: &[u8],
    user_id: UserId,
    now: OffsetDateTime,
) -> Result<bool> {
    let done = sqlx::query!(
        "delete from session where token_hash = $1 and user_id is null and pending_user_id = $2 and expires_at > $3",
        token_hash,
        Uuid::from(user_id),
        now,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Locks a user's account and live session until the transaction ends, so that nothing is changed in the name of a session that has ended
/// since its request began. Returns false if it has.
///
/// # Errors
/// Returns an error if a query fails.
pub async fn lock(tx: &mut Tx, owner: UserId, token_hash: &[u8], now: OffsetDateTime) -> Result<bool> {
    account::lock(tx, owner).await?;
    let found = sqlx::query!(
        "select 1 as one from session n join account a using (user_id)
         where n.token_hash = $1 and n.user_id = $2 and session_ends_at(n, a.role) > $3 for update of n",
        token_hash,
        Uuid::from(owner),
        now,
    )
    .fetch_optional(&mut *tx)
    .await?;
    Ok(found.is_some())
}

/// A session that continues under a new token, because its user has proved again who they are.
pub struct Rotation<'a> {
    /// Its user.
    pub owner: UserId,
    /// Hash of the token that it has.
    pub token_hash: &'a [u8],
    /// Hash of the new token.
    pub new_hash: &'a [u8],
    /// Whether two factors were proved. Once true, it stays true for the session.
    pub is_two_factor: bool,
    /// When it expires if it isn't used. Its absolute limit doesn't change.
    pub expires_at: OffsetDateTime,
    /// The current time.
    pub now: OffsetDateTime,
}

/// Locks a live session as [`lock`] does, and continues it under a new token. Returns false if it has ended.
///
/// # Errors
/// Returns an error if a query fails.
pub async fn rotate(tx: &mut Tx, rotation: &Rotation<'_>) -> Result<bool> {
    if !lock(tx, rotation.owner, rotation.token_hash, rotation.now).await? {
        return Ok(false);
    }
    sqlx::query!(
        "update session set token_hash = $3, is_two_factor = is_two_factor or $4, authenticated_at = $6, last_seen_at = $6,
             expires_at = least($5, absolute_expires_at)
         where token_hash = $1 and user_id = $2",
        rotation.token_hash,
        Uuid::from(rotation.owner),
        rotation.new_hash,
        rotation.is_two_factor,
        rotation.expires_at,
        rotation.now,
    )
    .execute(&mut *tx)
    .await?;
    Ok(true)
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
    account::load_viewer(db, account::ViewerKey::Session { token_hash, now }).await
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

/// Makes the sessions of a user who no longer has a second factor count as proved with one. Called where a second factor is removed, so that a
/// user who is required to have one adds another.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn forget_second_factor(db: impl PgExecutor<'_>, owner: UserId) -> Result<()> {
    sqlx::query!(
        "update session set is_two_factor = false
         where user_id = $1 and is_two_factor and not exists (select from totp where user_id = $1)
           and not exists (select from passkey where user_id = $1)",
        Uuid::from(owner),
    )
    .execute(db)
    .await?;
    Ok(())
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
