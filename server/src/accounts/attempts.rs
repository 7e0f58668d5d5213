//! Attempt limits: sign-ups and sign-ins are counted per origin, sign-ins also per account (field note 17).

use crate::AppState;
use crate::failure::Failure;
use domain::{Problem, ProblemKind};

/// Sign-ups per origin in 15 minutes. An origin may be a whole office.
const SIGN_UPS: u64 = 30;
/// Sign-ins per origin in 15 minutes.
const SIGN_INS: u64 = 60;
/// Sign-ins per account and origin in 15 minutes. Limits password guesses.
const GUESSES: u64 = 10;
/// Sign-ins per account from all origins in 15 minutes. Higher, so that other people's guesses don't lock out the owner.
const GUESSES_ANYWHERE: u64 = 100;

/// The action that an attempt is made for.
pub(crate) enum Attempt<'a> {
    /// Creating an account.
    SignUp,
    /// Signing in to the account with this subject.
    SignIn(&'a str),
}

/// Counts an attempt, or refuses it with the time to try again. If the meters are unavailable, attempts are allowed: a Redis outage must
/// not lock users out, the password hash makes guessing slow, and nothing that costs money runs without meters.
pub(crate) async fn count_attempt(app: &AppState, origin: &str, attempt: Attempt<'_>) -> Result<(), Failure> {
    let attempts = match attempt {
        Attempt::SignUp => vec![(format!("up:{origin}"), SIGN_UPS)],
        Attempt::SignIn(subject) => vec![
            (format!("in:{origin}"), SIGN_INS),
            (format!("guess:{subject}:{origin}"), GUESSES),
            (format!("guess:{subject}"), GUESSES_ANYWHERE),
        ],
    };
    for (key, limit) in attempts {
        match app.quotas.count_attempt(&key, limit).await {
            Ok(None) => {}
            Ok(Some(retry_after_ms)) => return Err(Failure(too_many(retry_after_ms))),
            Err(error) => tracing::warn!(%error, "attempt not counted"),
        }
    }
    Ok(())
}

fn too_many(retry_after_ms: u64) -> Problem {
    let message = "Too many attempts. Wait a moment, then try again.";
    Problem { retry_after_ms: Some(retry_after_ms), ..Problem::new(ProblemKind::RequestsLimit, message) }
}
