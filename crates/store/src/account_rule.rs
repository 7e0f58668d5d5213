//! Limit overrides, pauses and roles that admins set. Each action is one transaction with its audit row.

use crate::audit::{self, Entry};
use crate::{Db, Result, Tx, session};
use domain::UserId;
use time::OffsetDateTime;
use uuid::Uuid;

/// An action on a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountChange {
    /// Overrides limits of the plan until a given time; `None` keeps the plan's limit.
    Limit {
        /// Requests per minute.
        requests: Option<i64>,
        /// Tokens per 24 hours.
        tokens: Option<i64>,
        /// When the override ends.
        until: OffsetDateTime,
    },
    /// Removes the override.
    Unlimit,
    /// Pauses the user: they can read but not send messages.
    Pause,
    /// Ends a pause.
    Resume,
    /// Ends all of the user's sessions, and those that wait for the user's second factor.
    SignOut,
    /// Makes the user an admin; refused if their address isn't verified.
    MakeAdmin,
    /// Removes the admin role; refused for the last admin.
    UnmakeAdmin,
}

impl AccountChange {
    /// The action's name in the audit log.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Limit { .. } => "set_limits",
            Self::Unlimit => "lift_limits",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::SignOut => "sign_out_everywhere",
            Self::MakeAdmin => "make_admin",
            Self::UnmakeAdmin => "remove_admin",
        }
    }
}

/// The result of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeOutcome {
    /// The action was carried out.
    Yes,
    /// The user doesn't exist.
    NoUser,
    /// Refused: no admin would be left.
    LastAdmin,
    /// Refused: the address isn't verified, so anyone may have created the account.
    Unverified,
}

/// Carries out an action and writes an audit row with actor, action, previous and new value, and reason. An action that changes nothing is
/// recorded as well.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn apply(
    db: &Db,
    actor: UserId,
    user_id: UserId,
    change: AccountChange,
    why: Option<&str>,
    now: OffsetDateTime,
) -> Result<ChangeOutcome> {
    let mut tx = crate::begin(db).await?;
    // Locks all admins, so that two of them can't remove each other at the same time and leave none.
    if change == AccountChange::UnmakeAdmin {
        sqlx::query!("select user_id from account where role = 'admin' order by user_id for no key update")
            .fetch_all(&mut tx)
            .await?;
    }
    let Some(before) = sqlx::query!(
        r#"select role, paused_at, limit_requests, limit_tokens, limit_until, email_verified_at is not null as "is_verified!"
           from account where user_id = $1 for no key update"#,
        Uuid::from(user_id)
    )
    .fetch_optional(&mut tx)
    .await?
    else {
        return Ok(ChangeOutcome::NoUser);
    };
    if change == AccountChange::MakeAdmin && !before.is_verified {
        return Ok(ChangeOutcome::Unverified);
    }
    let previous_limits = describe_limits(before.limit_requests, before.limit_tokens, before.limit_until);
    let id = Uuid::from(user_id);
    let (was, is) = match change {
        AccountChange::Limit { requests, tokens, until } => {
            set_limits(&mut tx, id, requests, tokens, until).await?;
            (previous_limits, describe_limits(requests, tokens, Some(until)))
        }
        AccountChange::Unlimit => {
            clear_limits(&mut tx, id).await?;
            (previous_limits, None)
        }
        AccountChange::Pause | AccountChange::Resume => {
            let paused = (change == AccountChange::Pause).then_some(now);
            sqlx::query!("update account set paused_at = $2 where user_id = $1", id, paused).execute(&mut tx).await?;
            let state = |paused: bool| Some(if paused { "paused" } else { "not paused" }.to_owned());
            (state(before.paused_at.is_some()), state(paused.is_some()))
        }
        AccountChange::SignOut => {
            let ended = session::end_others(&mut tx, user_id, &[]).await?;
            (Some(format!("{ended} sessions")), Some("0 sessions".to_owned()))
        }
        AccountChange::MakeAdmin | AccountChange::UnmakeAdmin => {
            let role = if change == AccountChange::MakeAdmin { "admin" } else { "member" };
            if !set_role(&mut tx, id, role).await? {
                return Ok(ChangeOutcome::LastAdmin);
            }
            (Some(before.role), Some(role.to_owned()))
        }
    };
    let entry = Entry {
        actor: Some(actor),
        target: Some(user_id),
        action: change.as_str(),
        before: was.as_deref(),
        after: is.as_deref(),
        why,
    };
    audit::write(&mut tx, &entry, now).await?;
    tx.commit().await?;
    Ok(ChangeOutcome::Yes)
}

/// Formats a limit override for the audit log. Returns `None` if there is none.
fn describe_limits(requests: Option<i64>, tokens: Option<i64>, until: Option<OffsetDateTime>) -> Option<String> {
    let number = |n: Option<i64>| n.map_or_else(|| "the plan's".to_owned(), |n| n.to_string());
    until.map(|until| format!("{} requests, {} tokens until {until}", number(requests), number(tokens)))
}

async fn set_limits(
    tx: &mut Tx,
    id: Uuid,
    requests: Option<i64>,
    tokens: Option<i64>,
    until: OffsetDateTime,
) -> Result<()> {
    sqlx::query!(
        "update account set limit_requests = $2, limit_tokens = $3, limit_until = $4 where user_id = $1",
        id,
        requests,
        tokens,
        until
    )
    .execute(tx)
    .await?;
    Ok(())
}

async fn clear_limits(tx: &mut Tx, id: Uuid) -> Result<()> {
    sqlx::query!(
        "update account set limit_requests = null, limit_tokens = null, limit_until = null where user_id = $1",
        id
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Sets a user's role. Returns false without a change if no admin would be left.
async fn set_role(tx: &mut Tx, id: Uuid, role: &str) -> Result<bool> {
    let others =
        sqlx::query_scalar!(r#"select count(*) as "n!" from account where role = 'admin' and user_id <> $1"#, id)
            .fetch_one(&mut *tx)
            .await?;
    if role != "admin" && others == 0 {
        return Ok(false);
    }
    sqlx::query!("update account set role = $2 where user_id = $1", id, role).execute(tx).await?;
    Ok(true)
}

/// A user's limit override, pause and sessions.
pub struct AccountOverrides {
    /// Requests per minute of the active override, if it sets them.
    pub requests: Option<i64>,
    /// Tokens per 24 hours of the active override, if it sets them.
    pub tokens: Option<i64>,
    /// When the active override ends; `None` if there is none.
    pub until: Option<OffsetDateTime>,
    /// When the user was paused; `None` if not paused.
    pub paused_at: Option<OffsetDateTime>,
    /// Expiry of each live session, latest first.
    pub sessions: Vec<OffsetDateTime>,
}

/// Loads a user's limit override, pause and live sessions. Returns `None` if the user doesn't exist.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn load(db: &Db, user_id: UserId, now: OffsetDateTime) -> Result<Option<AccountOverrides>> {
    let row = sqlx::query!(
        r#"select limit_requests, limit_tokens, limit_until, paused_at,
                  array(select session_ends_at(s, a.role) from session s
                        where s.user_id = a.user_id and session_ends_at(s, a.role) > $2 order by 1 desc) as "sessions!"
           from account a where user_id = $1"#,
        Uuid::from(user_id),
        now,
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| {
        let until = row.limit_until.filter(|until| *until > now);
        AccountOverrides {
            requests: until.and(row.limit_requests),
            tokens: until.and(row.limit_tokens),
            until,
            paused_at: row.paused_at,
            sessions: row.sessions,
        }
    }))
}
