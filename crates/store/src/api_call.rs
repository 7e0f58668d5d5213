//! API requests with an `Idempotency-Key`, and their answers.

use crate::{Db, Result};
use domain::{TurnId, UserId};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

/// How long an answer is kept.
pub const KEPT: Duration = Duration::DAY;
/// How long a request without an answer counts as running although its turn isn't written or has ended.
const CLAIMED: Duration = Duration::MINUTE;

/// A request that is to be answered once.
#[derive(Clone, Copy, Debug)]
pub struct NewApiCall {
    /// Its user.
    pub user_id: UserId,
    /// SHA-256 of the `Idempotency-Key`.
    pub idempotency_hash: [u8; 32],
    /// SHA-256 of endpoint and body.
    pub request_hash: [u8; 32],
    /// The turn that will answer it.
    pub turn_id: TurnId,
}

/// A stored answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAnswer {
    /// The HTTP status.
    pub status: u16,
    /// The media type of `body`.
    pub content_type: String,
    /// The body, as it was sent.
    pub body: Vec<u8>,
}

/// The result of claiming a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The request is new.
    New,
    /// The same request is being answered.
    Running,
    /// The key was used for another request.
    OtherRequest,
    /// The request was answered.
    Answered(StoredAnswer),
}

/// Claims a request, so that it is answered once. A claim that is older than a day, or whose turn ended without an answer, is taken over.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn claim(db: &Db, new: &NewApiCall, now: OffsetDateTime) -> Result<Claim> {
    let row = sqlx::query!(
        r#"with claimed as (
             insert into api_call as c (user_id, idempotency_hash, request_hash, turn_id, created_at) values ($1, $2, $3, $4, $5)
             on conflict (user_id, idempotency_hash) do update
               set request_hash = excluded.request_hash, turn_id = excluded.turn_id, created_at = excluded.created_at,
                   status = null, content_type = null, body = null
               where c.created_at < $6
                 or (c.body is null and c.created_at < $7
                     and not exists (select from turn t where t.turn_id = c.turn_id and t.ended_at is null and t.alive_until >= now()))
             returning user_id
           )
           select exists (select from claimed) as "is_new!", c.request_hash as "request_hash?", c.status, c.content_type, c.body
           from (select) one left join api_call c on c.user_id = $1 and c.idempotency_hash = $2"#,
        Uuid::from(new.user_id),
        &new.idempotency_hash,
        &new.request_hash,
        Uuid::from(new.turn_id),
        now,
        now - KEPT,
        now - CLAIMED,
    )
    .fetch_one(db)
    .await?;
    if row.is_new {
        return Ok(Claim::New);
    }
    // Without a row in this snapshot, the same request was claimed a moment ago.
    if row.request_hash.is_some_and(|hash| hash != new.request_hash) {
        return Ok(Claim::OtherRequest);
    }
    let status = row.status.and_then(|status| u16::try_from(status).ok());
    Ok(match (status, row.content_type, row.body) {
        (Some(status), Some(content_type), Some(body)) => Claim::Answered(StoredAnswer { status, content_type, body }),
        _ => Claim::Running,
    })
}

/// Stores the complete answer to a claimed request.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn save_answer(db: &Db, call: &NewApiCall, answer: &StoredAnswer) -> Result<()> {
    sqlx::query!(
        "update api_call set status = $4, content_type = $5, body = $6 where user_id = $1 and idempotency_hash = $2 and turn_id = $3",
        Uuid::from(call.user_id),
        &call.idempotency_hash,
        Uuid::from(call.turn_id),
        i32::from(answer.status),
        answer.content_type,
        &answer.body,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Deletes a claim that has no complete answer, so that the request can be sent again.
///
/// # Errors
/// Returns an error if the query fails. The claim is then taken over a minute after its turn.
pub async fn release(db: &Db, call: &NewApiCall) -> Result<()> {
    sqlx::query!(
        "delete from api_call where user_id = $1 and idempotency_hash = $2 and turn_id = $3 and body is null",
        Uuid::from(call.user_id),
        &call.idempotency_hash,
        Uuid::from(call.turn_id),
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Deletes requests from before `before`.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn sweep(db: &Db, before: OffsetDateTime) -> Result<()> {
    sqlx::query!("delete from api_call where created_at < $1", before).execute(db).await?;
    Ok(())
}
