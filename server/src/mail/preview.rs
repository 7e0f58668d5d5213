//! Every mail once, with example values: for `/dev/mail` and for tests.

use super::Mail;
use crate::accounts::tokens::Seed;
use domain::{ApiKeyId, TripReason};
use time::OffsetDateTime;
use time::macros::datetime;

/// A browser as it describes itself.
const USER_AGENT: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

/// Returns every mail with the name of its templates.
pub(crate) fn all() -> Vec<(&'static str, Mail)> {
    let at: OffsetDateTime = datetime!(2026-11-27 14:05 UTC);
    let plan = || "Pro".to_owned();
    let message = || "Spend is at 80 % of the daily cap".to_owned();
    vec![
        ("verify_email", Mail::VerifyEmail { seed: Seed::new(), next: None }),
        ("reset_password", Mail::ResetPassword { seed: Seed::new() }),
        ("password_changed", Mail::PasswordChanged { at }),
        ("confirm_new_email", Mail::ConfirmNewEmail { seed: Seed::new() }),
        ("email_changed", Mail::EmailChanged { new_email: "ann.lee@example.org".to_owned(), seed: Seed::new() }),
        ("email_confirmed", Mail::EmailConfirmed),
        ("email_restored", Mail::EmailRestored { email: "ann@example.com".to_owned() }),
        ("identity_connected", Mail::IdentityConnected { service: "Google".to_owned(), at }),
        ("identity_removed", Mail::IdentityRemoved { service: "Google".to_owned(), at }),
        ("name_changed", Mail::NameChanged { name: "Ann Lee".to_owned() }),
        ("new_browser", Mail::NewBrowser { user_agent: USER_AGENT.to_owned(), at }),
        ("factor_added", Mail::FactorAdded { factor: "The passkey \"Laptop\"".to_owned(), at }),
        ("factor_removed", Mail::FactorRemoved { factor: "An authenticator app".to_owned(), at }),
        ("wrong_codes", Mail::WrongCodes { at }),
        ("recovery_code_used", Mail::RecoveryCodeUsed { left: 9, at }),
        ("api_key_created", Mail::ApiKeyCreated { key: "Editor".to_owned(), at }),
        (
            "api_key_loop",
            Mail::ApiKeyLoop { key: "Editor".to_owned(), key_id: ApiKeyId::at(at), reason: TripReason::Repeats },
        ),
        ("account_deleted", Mail::AccountDeleted),
        ("trial_ending", Mail::TrialEnding { plan: plan(), at, price: "$20 a month".to_owned() }),
        ("payment_failed", Mail::PaymentFailed { plan: plan(), until: at }),
        ("grace_over", Mail::GraceOver { plan: plan(), until: at }),
        ("plan_ended", Mail::PlanEnded { plan: plan() }),
        ("alert", Mail::Alert { message: message(), is_over: false }),
        ("alert_resolved", Mail::Alert { message: message(), is_over: true }),
    ]
}
