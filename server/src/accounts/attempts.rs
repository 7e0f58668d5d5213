//! Attempt limits: what an account, a user, an address and all visitors together may try in a quarter of an hour (field note 17), and codes
//! also in a day. Counted in Redis, or while it is unavailable in this process.

use crate::AppState;
use crate::failure::Failure;
use domain::{Problem, UserId};
use quota::AttemptCount;
use std::time::Duration;

/// Guesses at an account from one origin in 15 minutes.
const GUESSES: u64 = 10;
/// Guesses at an account from browsers that its user has signed in with. Counted separately, so that strangers can't lock the user out of
/// them.
const KNOWN_BROWSER_GUESSES: u64 = 20;
/// Guesses at an account from anywhere that aren't delayed.
const UNDELAYED_GUESSES: u64 = 10;
/// Delay of the next guess. Doubles with each further one, up to the maximum. Guesses are never refused for what others did, because that
/// would lock out its user (field note 68).
const FIRST_DELAY: Duration = Duration::from_millis(100);
const MAX_DELAY: Duration = Duration::from_secs(5);
/// Codes of a second factor that can be entered for an account in 24 hours, including correct ones. Each guess is correct with a probability of
/// three in a million.
const CODES_A_DAY: u64 = 30;
/// The same from browsers that its user has signed in with, which are counted separately.
const KNOWN_BROWSER_CODES_A_DAY: u64 = 100;
/// Questions to the demo from all addresses of one IPv6 /48 in 24 hours: as many as three addresses get answers for. The tokens of each address
/// are limited as well (`turn::demo`), but a /48 has 65,536 of them, which could use up the demo's budget alone.
const DEMOS_PER_BLOCK_A_DAY: u64 = 60;
/// A limit above any real count, for attempts that are only counted.
const UNLIMITED: u64 = 1 << 40;
/// Number of addresses' worth of attempts that all addresses of one IPv6 /48 may make together.
const ADDRESSES_PER_BLOCK: u64 = 3;
/// Quarters of an hour in the window of sign-ups.
const QUARTERS: u64 = 4;

const TOO_MANY: &str = "Too many attempts. Wait a moment, then try again.";
const TOO_MANY_CODES: &str = "Too many codes were entered for this account today. Sign in with a browser that you have used before, or a passkey.";
const TOO_MANY_SIGN_UPS: &str = "Many people are signing up right now. Try again a little later.";

/// The action that an attempt is made for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Attempt<'a> {
    /// Creating an account.
    SignUp,
    /// Signing in.
    SignIn {
        /// Subject of the account, whether it exists or not.
        subject: &'a str,
        /// Whether its user has signed in with this browser before.
        is_known_browser: bool,
    },
    /// Starting a sign-in with another service.
    External,
    /// Entering the password of the account that is signed in, or by a link a new one that a service checks.
    Password {
        /// The user.
        user_id: UserId,
    },
    /// Requesting a link to reset a password.
    Reset {
        /// Subject of the account, whether it exists or not.
        subject: &'a str,
    },
    /// Entering a code of an authenticator app, or a recovery code.
    SecondFactor {
        /// The user who has proved another factor.
        user_id: UserId,
        /// Whether the user has signed in with this browser before.
        is_known_browser: bool,
    },
    /// Entering the first code of an authenticator app, whose secret the user sees.
    SetUpTotp {
        /// The signed-in user.
        user_id: UserId,
    },
    /// Starting to add a passkey, or to sign in or confirm with one.
    Passkey,
    /// Entering a code that was sent by mail.
    Verify {
        /// The signed-in user.
        user_id: UserId,
    },
    /// Requesting another mail with a link and a code.
    Resend {
        /// The signed-in user.
        user_id: UserId,
    },
    /// Opening Stripe's checkout or portal.
    Checkout {
        /// The signed-in user.
        user_id: UserId,
    },
    /// Exporting or importing data.
    Export {
        /// The signed-in user.
        user_id: UserId,
    },
    /// Trying the demo on the site.
    Demo,
}

/// The key of a counter, and the number of attempts that it allows.
type Counter = (String, u64);

impl Attempt<'_> {
    fn name(self) -> &'static str {
        match self {
            Self::SignUp => "sign_up",
            Self::SignIn { .. } => "sign_in",
            Self::External => "external",
            Self::Password { .. } => "password",
            Self::Reset { .. } => "reset",
            Self::SecondFactor { .. } => "second_factor",
            Self::SetUpTotp { .. } => "set_up_totp",
            Self::Passkey => "passkey",
            Self::Verify { .. } => "verify",
            Self::Resend { .. } => "resend",
            Self::Checkout { .. } => "checkout",
            Self::Export { .. } => "export",
            Self::Demo => "demo",
        }
    }

    /// Returns the counter of the account or user that the attempt is about.
    fn own_counter(self, origin: &str) -> Option<Counter> {
        let name = self.name();
        Some(match self {
            Self::SignUp | Self::External | Self::Passkey | Self::Demo => return None,
            Self::SignIn { subject, is_known_browser: true } => (format!("known:{subject}"), KNOWN_BROWSER_GUESSES),
            Self::SignIn { subject, is_known_browser: false } => (format!("guess:{subject}:{origin}"), GUESSES),
            Self::SecondFactor { user_id, is_known_browser: true } => (format!("{name}:known:{user_id}"), 10),
            Self::Password { user_id }
            | Self::SetUpTotp { user_id }
            | Self::SecondFactor { user_id, is_known_browser: false } => (format!("{name}:{user_id}"), 10),
            Self::Reset { subject } => (format!("{name}:{subject}"), 5),
            Self::Verify { user_id } => (format!("{name}:{user_id}"), 15),
            Self::Resend { user_id } => (format!("{name}:{user_id}"), 5),
            Self::Checkout { user_id } | Self::Export { user_id } => (format!("{name}:{user_id}"), 20),
        })
    }

    /// Returns what the attempt is counted under in a day, and how many of it are allowed then.
    fn daily_counter(self, origin: &str) -> Option<Counter> {
        let limit = match self {
            Self::SecondFactor { is_known_browser: true, .. } => KNOWN_BROWSER_CODES_A_DAY,
            Self::SecondFactor { is_known_browser: false, .. } => CODES_A_DAY,
            Self::Demo => {
                let (_, block) = origin.split_once('-')?;
                return Some((format!("{}:{block}", self.name()), DEMOS_PER_BLOCK_A_DAY));
            }
            _ => return None,
        };
        self.own_counter(origin).map(|(key, _)| (key, limit))
    }

    /// Returns how many attempts one address may make for all accounts together. An office may have one address. `None` is not counted.
    fn limit_per_address(self) -> Option<u64> {
        match self {
            Self::SignIn { is_known_browser: true, .. } | Self::SecondFactor { is_known_browser: true, .. } => None,
            Self::Demo => Some(10),
            Self::SignUp => Some(30),
            Self::Reset { .. } | Self::Resend { .. } => Some(20),
            Self::SignIn { .. }
            | Self::External
            | Self::Password { .. }
            | Self::SecondFactor { .. }
            | Self::SetUpTotp { .. }
            | Self::Passkey
            | Self::Verify { .. }
            | Self::Checkout { .. }
            | Self::Export { .. } => Some(60),
        }
    }

    /// Returns what the attempt is counted under, the narrowest first.
    fn counters(self, origin: &str) -> Vec<Counter> {
        let mut counters: Vec<Counter> = self.own_counter(origin).into_iter().collect();
        if let Some(limit) = self.limit_per_address() {
            let name = self.name();
            counters.push((format!("{name}:{origin}"), limit));
            // An IPv6 origin also has the block that its address belongs to.
            if let Some((_, block)) = origin.split_once('-') {
                counters.push((format!("{name}:{block}"), limit * ADDRESSES_PER_BLOCK));
            }
        }
        counters
    }
}

/// Counts attempts in Redis, or from its first failure on in this process.
struct Tally<'a> {
    app: &'a AppState,
    is_local: bool,
}

impl Tally<'_> {
    async fn count(&mut self, key: &str, limit: u64) -> AttemptCount {
        if !self.is_local {
            match self.app.quotas.count_attempt(key, limit).await {
                Ok(count) => return count,
                Err(error) => self.go_local(&error),
            }
        }
        self.app.protection.attempts.count(key, limit)
    }

    /// Counts an attempt among those of 24 hours. In this process, only those of a quarter of an hour are counted.
    async fn count_daily(&mut self, key: &str, limit: u64) -> AttemptCount {
        if !self.is_local {
            match self.app.quotas.count_daily_attempt(key, limit).await {
                Ok(count) => return count,
                Err(error) => self.go_local(&error),
            }
        }
        AttemptCount::Counted(0)
    }

    /// Counts a sign-up among those of all visitors in an hour. In this process, a quarter of them fit into a quarter of an hour.
    async fn count_sign_up(&mut self, cap: u64) -> AttemptCount {
        if !self.is_local {
            match self.app.quotas.count_sign_up(cap).await {
                Ok(count) => return count,
                Err(error) => self.go_local(&error),
            }
        }
        self.app.protection.attempts.count("sign_up", cap.div_ceil(QUARTERS))
    }

    fn go_local(&mut self, error: &quota::Unavailable) {
        tracing::warn!(%error, "attempts are counted in this process only");
        self.is_local = true;
    }
}

/// Counts an attempt before what was entered is checked. Sign-ins are counted by [`count_guess`].
///
/// # Errors
/// Returns a 429 problem with the time to try again if there were too many. If one counter refuses, those before it have counted the attempt.
pub(crate) async fn count_attempt(app: &AppState, origin: &str, attempt: Attempt<'_>) -> Result<(), Failure> {
    let mut tally = Tally { app, is_local: false };
    count(&mut tally, origin, attempt).await?;
    let Attempt::SignUp = attempt else { return Ok(()) };
    let counted = tally.count_sign_up(app.config.sign_up_hourly_cap).await;
    let AttemptCount::Refused { retry_after_ms } = counted else { return Ok(()) };
    // Admins are alerted of it.
    app.protection.note_refused_sign_up(AppState::now());
    log_refusal(attempt, origin);
    Err(Problem::attempts_limit(TOO_MANY_SIGN_UPS, retry_after_ms).into())
}

/// Counts a guess at the account with this subject before its password is checked. Returns how long the check has to wait: the longer, the
/// more guesses there were in the last 15 minutes, and not at all in a browser that its user has signed in with.
///
/// # Errors
/// Returns a 429 problem as [`count_attempt`] does.
pub(super) async fn count_guess(
    app: &AppState,
    origin: &str,
    (subject, is_known_browser): (&str, bool),
) -> Result<Duration, Failure> {
    let mut tally = Tally { app, is_local: false };
    count(&mut tally, origin, Attempt::SignIn { subject, is_known_browser }).await?;
    if is_known_browser {
        return Ok(Duration::ZERO);
    }
    let limit = if tally.is_local { UNDELAYED_GUESSES } else { UNLIMITED };
    Ok(match tally.count(&format!("guess:{subject}"), limit).await {
        AttemptCount::Counted(guesses) => guess_delay(guesses),
        AttemptCount::Refused { .. } => MAX_DELAY,
    })
}

/// Counts an attempt by account, user, address and day.
async fn count(tally: &mut Tally<'_>, origin: &str, attempt: Attempt<'_>) -> Result<(), Failure> {
    for (key, limit) in attempt.counters(origin) {
        if let AttemptCount::Refused { retry_after_ms } = tally.count(&key, limit).await {
            log_refusal(attempt, origin);
            return Err(Problem::attempts_limit(TOO_MANY, retry_after_ms).into());
        }
    }
    if let Some((key, limit)) = attempt.daily_counter(origin)
        && let AttemptCount::Refused { retry_after_ms } = tally.count_daily(&key, limit).await
    {
        log_refusal(attempt, origin);
        let message = if matches!(attempt, Attempt::Demo) { TOO_MANY } else { TOO_MANY_CODES };
        return Err(Problem::attempts_limit(message, retry_after_ms).into());
    }
    Ok(())
}

/// Clears a user's guesses of the last 15 minutes after a correct one. Attempts of other kinds stay counted, because their successes are
/// limited too. So do those of a day and of the address: otherwise an attacker could clear them by signing in to an account of their own.
pub(crate) async fn clear_attempts(app: &AppState, origin: &str, attempt: Attempt<'_>) {
    let own = match attempt {
        Attempt::SignIn { .. }
        | Attempt::Password { .. }
        | Attempt::SecondFactor { .. }
        | Attempt::SetUpTotp { .. }
        | Attempt::Verify { .. } => attempt.own_counter(origin),
        _ => None,
    };
    let anywhere = match attempt {
        Attempt::SignIn { subject, .. } => Some(format!("guess:{subject}")),
        _ => None,
    };
    for key in own.map(|(key, _)| key).into_iter().chain(anywhere) {
        if let Err(error) = app.quotas.clear_attempts(&key).await {
            tracing::warn!(%error, "attempts not cleared");
            return;
        }
    }
}

/// Returns the delay of the nth guess at an account in 15 minutes.
fn guess_delay(n: u64) -> Duration {
    let Some(further) = n.checked_sub(UNDELAYED_GUESSES + 1) else { return Duration::ZERO };
    let factor = u32::try_from(further).ok().and_then(|further| 2_u32.checked_pow(further)).unwrap_or(u32::MAX);
    FIRST_DELAY.saturating_mul(factor).min(MAX_DELAY)
}

fn log_refusal(attempt: Attempt<'_>, origin: &str) {
    tracing::warn!(target: "security", event = "attempts_limit", attempt = attempt.name(), origin, "too many attempts");
    metrics::counter!("quotient_attempts_refused_total", "attempt" => attempt.name()).increment(1);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use uuid::Uuid;

    fn keys(attempt: Attempt<'_>, origin: &str) -> Vec<String> {
        attempt.counters(origin).into_iter().map(|(key, _)| key).collect()
    }

    #[test]
    fn guesses_are_delayed_twice_as_long_each_time_up_to_five_seconds() {
        let ms: Vec<u128> = (0..20).map(|n| guess_delay(n).as_millis()).collect();
        assert_eq!(ms[..11], [0; 11]);
        assert_eq!(ms[11..], [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000, 5_000]);
    }

    #[test]
    fn strangers_and_known_browsers_share_no_counter() {
        let known = Attempt::SignIn { subject: "ann", is_known_browser: true };
        let stranger = Attempt::SignIn { subject: "ann", is_known_browser: false };
        assert_eq!(keys(known, "home"), ["known:ann"]);
        assert_eq!(keys(stranger, "home"), ["guess:ann:home", "sign_in:home"]);
        let user_id = UserId::from(Uuid::from_u128(1));
        let code = |is_known_browser| Attempt::SecondFactor { user_id, is_known_browser };
        assert_eq!(keys(code(true), "home"), [format!("second_factor:known:{user_id}")]);
        let daily = |attempt: Attempt<'_>| attempt.daily_counter("home");
        assert_eq!(daily(code(true)), Some((format!("second_factor:known:{user_id}"), 100)));
        assert_eq!(daily(code(false)), Some((format!("second_factor:{user_id}"), 30)));
        assert_eq!(daily(stranger), None);
    }

    #[test]
    fn demos_of_an_ipv6_block_are_counted_by_day() {
        assert_eq!(keys(Attempt::Demo, "a-b"), ["demo:a-b", "demo:b"]);
        assert_eq!(Attempt::Demo.daily_counter("a-b"), Some(("demo:b".to_owned(), 60)));
        assert_eq!(Attempt::Demo.daily_counter("a"), None, "an IPv4 address has its own limit of tokens");
    }

    #[test]
    fn attempts_are_counted_by_account_address_and_block() {
        let user_id = UserId::from(Uuid::from_u128(1));
        assert_eq!(keys(Attempt::SignUp, "a-b"), ["sign_up:a-b", "sign_up:b"]);
        assert_eq!(keys(Attempt::Passkey, "a"), ["passkey:a"]);
        assert_eq!(keys(Attempt::Reset { subject: "ann" }, "a"), ["reset:ann", "reset:a"]);
        for attempt in [
            Attempt::Password { user_id },
            Attempt::SecondFactor { user_id, is_known_browser: false },
            Attempt::SetUpTotp { user_id },
            Attempt::Verify { user_id },
            Attempt::Resend { user_id },
            Attempt::Checkout { user_id },
            Attempt::Export { user_id },
        ] {
            let name = attempt.name();
            assert_eq!(keys(attempt, "a"), [format!("{name}:{user_id}"), format!("{name}:a")]);
        }
        let limits: Vec<u64> = Attempt::SignUp.counters("a-b").into_iter().map(|(_, limit)| limit).collect();
        assert_eq!(limits, [30, 90], "a block may do as much as three addresses");
    }

    proptest! {
        #[test]
        fn delays_never_decrease_and_are_bounded(n in any::<u64>()) {
            prop_assert!(guess_delay(n) <= guess_delay(n.saturating_add(1)) && guess_delay(n) <= MAX_DELAY);
        }
    }
}
