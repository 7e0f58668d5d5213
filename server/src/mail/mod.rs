//! Mail: the kinds of mails, and queueing in the transaction that causes them. Text and HTML have the same content. An owner edits the
//! files in `templates/`.

mod letter;
#[cfg(any(debug_assertions, test))]
pub(crate) mod preview;
mod send;

pub(crate) use send::Mailer;

use crate::accounts::tokens::Seed;
use domain::{ApiKeyId, TripReason, UserId, Viewer};
use serde::{Deserialize, Serialize};
use store::Tx;
use time::OffsetDateTime;

/// The job kind of mail.
pub(crate) const JOB: &str = "mail";

/// The content of a mail. Links and codes are queued as seeds, from which only this deployment can make them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "mail", rename_all = "snake_case")]
pub(crate) enum Mail {
    /// A trial ends soon and then renews as a paid subscription.
    TrialEnding {
        plan: String,
        #[serde(with = "time::serde::rfc3339")]
        at: OffsetDateTime,
        price: String,
    },
    /// A payment failed; the plan is kept until the grace period ends.
    PaymentFailed {
        plan: String,
        #[serde(with = "time::serde::rfc3339")]
        until: OffsetDateTime,
    },
    /// The grace period has ended without payment.
    GraceOver {
        plan: String,
        #[serde(with = "time::serde::rfc3339")]
        until: OffsetDateTime,
    },
    /// A subscription has ended.
    PlanEnded { plan: String },
    /// To an admin: an alert has begun or is resolved.
    Alert { message: String, is_over: bool },
    /// A link and a code that verify the account's address. The link leads on to `next`.
    VerifyEmail {
        seed: Seed,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next: Option<String>,
    },
    /// A link to set a new password.
    ResetPassword { seed: Seed },
    /// The password was changed or reset.
    PasswordChanged {
        #[serde(with = "time::serde::rfc3339")]
        at: OffsetDateTime,
    },
    /// To a new address: a link that makes it the account's.
    ConfirmNewEmail { seed: Seed },
    /// To the previous address: a link that undoes the change.
    EmailChanged { new_email: String, seed: Seed },
    /// To the new address: it is the account's from now on.
    EmailConfirmed,
    /// To both addresses: the previous one was restored.
    EmailRestored { email: String },
    /// An identity at another service was connected.
    IdentityConnected {
        service: String,
        #[serde(with = "time::serde::rfc3339")]
        at: OffsetDateTime,
    },
    /// An identity at another service was disconnected.
    IdentityRemoved {
        service: String,
        #[serde(with = "time::serde::rfc3339")]
        at: OffsetDateTime,
    },
    /// The display name was changed.
    NameChanged { name: String },
    /// A sign-in from a browser that was unknown until then.
    NewBrowser {
        user_agent: String,
        #[serde(with = "time::serde::rfc3339")]
        at: OffsetDateTime,
    },
    /// A passkey, an authenticator app or new recovery codes were added.
    FactorAdded {
        factor: String,
        #[serde(with = "time::serde::rfc3339")]
        at: OffsetDateTime,
    },
    /// A passkey, an authenticator app or the password was removed.
    FactorRemoved {
        factor: String,
        #[serde(with = "time::serde::rfc3339")]
        at: OffsetDateTime,
    },
    /// Several wrong codes of the second factor were entered in a day.
    WrongCodes {
        #[serde(with = "time::serde::rfc3339")]
        at: OffsetDateTime,
    },
    /// A recovery code was used, with the number of codes that are left.
    RecoveryCodeUsed {
        left: i64,
        #[serde(with = "time::serde::rfc3339")]
        at: OffsetDateTime,
    },
    /// An API key was created.
    ApiKeyCreated {
        key: String,
        #[serde(with = "time::serde::rfc3339")]
        at: OffsetDateTime,
    },
    /// The loop breaker refuses an API key. The link leads to the page that pauses it.
    ApiKeyLoop { key: String, key_id: ApiKeyId, reason: TripReason },
    /// The account was deleted.
    AccountDeleted,
}

/// A mail and its recipient, as queued.
#[derive(Serialize, Deserialize)]
pub(crate) struct QueuedMail {
    /// The user it is about.
    pub user_id: UserId,
    /// The address it is sent to; the account's address at that time if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    #[serde(flatten)]
    pub mail: Mail,
}

/// A recipient: address and name.
pub(crate) struct Recipient {
    pub email: String,
    pub name: String,
}

impl QueuedMail {
    /// Returns the recipient, given the account as it is now. `None` if the account was deleted meanwhile, except for the mail about the
    /// deletion.
    pub(crate) fn recipient(&self, account: Option<&Viewer>) -> Option<Recipient> {
        let to = self.to.clone();
        match account {
            Some(user) => Some(Recipient {
                email: to.unwrap_or_else(|| user.email.clone()),
                name: user.display_name().to_owned(),
            }),
            None => {
                let email = to.filter(|_| self.mail == Mail::AccountDeleted)?;
                let name = email.split('@').next().unwrap_or_default().to_owned();
                Some(Recipient { email, name })
            }
        }
    }
}

/// What links are made with.
pub(crate) struct Site<'a> {
    pub public_url: &'a str,
    pub codes_key: &'a [u8],
}

/// A rendered mail.
pub(crate) struct RenderedMail {
    pub subject: String,
    pub text: String,
    pub html: String,
}

impl Mail {
    /// Returns the key that makes a mail unique; `None` for mails that are queued once for each of their causes. `about` identifies the
    /// mail's subject, such as a subscription.
    fn key(&self, about: &str) -> Option<String> {
        Some(match self {
            Self::TrialEnding { at, .. } => format!("mail:trial_ending:{about}:{}", at.unix_timestamp()),
            Self::PaymentFailed { until, .. } => format!("mail:payment_failed:{about}:{}", until.unix_timestamp()),
            Self::GraceOver { until, .. } => format!("mail:grace_over:{about}:{}", until.unix_timestamp()),
            Self::PlanEnded { .. } => format!("mail:plan_ended:{about}"),
            Self::Alert { is_over, .. } => format!("mail:alert:{about}:{is_over}"),
            Self::WrongCodes { at } => format!("mail:wrong_codes:{about}:{}", at.date()),
            Self::VerifyEmail { .. }
            | Self::ResetPassword { .. }
            | Self::PasswordChanged { .. }
            | Self::ConfirmNewEmail { .. }
            | Self::EmailChanged { .. }
            | Self::EmailConfirmed
            | Self::EmailRestored { .. }
            | Self::IdentityConnected { .. }
            | Self::IdentityRemoved { .. }
            | Self::NameChanged { .. }
            | Self::NewBrowser { .. }
            | Self::FactorAdded { .. }
            | Self::FactorRemoved { .. }
            | Self::RecoveryCodeUsed { .. }
            | Self::ApiKeyCreated { .. }
            | Self::ApiKeyLoop { .. }
            | Self::AccountDeleted => return None,
        })
    }

    /// Gives the day that a billing mail names the offset of the recipient's time zone, by which it is then written.
    ///
    /// # Errors
    /// Returns an error if a query fails.
    pub(crate) async fn in_zone(mut self, db: &store::Db, zone: &str) -> store::Result<Self> {
        if let Self::TrialEnding { at: day, .. }
        | Self::PaymentFailed { until: day, .. }
        | Self::GraceOver { until: day, .. } = &mut self
        {
            for local in store::local_time::in_zone(db, zone, &[*day]).await? {
                *day = local;
            }
        }
        Ok(self)
    }
}

/// Queues a mail to a user in the transaction that causes it, once per kind and `about`.
///
/// # Errors
/// Returns an error if the query fails.
pub(crate) async fn queue(
    tx: &mut Tx,
    user_id: UserId,
    mail: &Mail,
    about: &str,
    now: OffsetDateTime,
) -> anyhow::Result<()> {
    let payload = serde_json::to_value(QueuedMail { user_id, to: None, mail: mail.clone() })?;
    Ok(store::job::add(&mut *tx, JOB, mail.key(about).as_deref(), &payload, now).await?)
}

/// Queues a mail to an address in the transaction that causes it.
///
/// # Errors
/// Returns an error if the query fails.
pub(crate) async fn queue_to(
    tx: &mut Tx,
    user_id: UserId,
    to: &str,
    mail: Mail,
    now: OffsetDateTime,
) -> anyhow::Result<()> {
    let payload = serde_json::to_value(QueuedMail { user_id, to: Some(to.to_owned()), mail })?;
    Ok(store::job::add(&mut *tx, JOB, None, &payload, now).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mails_queued_by_an_earlier_release_are_read() {
        let text = r#"{"user_id":"019ac0b4-0000-7000-8000-000000000000","mail":"plan_ended","plan":"Pro"}"#;
        let queued: QueuedMail = serde_json::from_str(text).unwrap();
        assert!(queued.to.is_none() && queued.mail == Mail::PlanEnded { plan: "Pro".into() });
    }

    #[test]
    fn only_the_mail_about_a_deletion_is_sent_without_an_account() {
        let user_id = UserId::at(time::macros::datetime!(2026-11-27 12:00 UTC));
        for (name, mail) in preview::all() {
            let queued = QueuedMail { user_id, to: Some("ann@example.com".to_owned()), mail };
            let read: QueuedMail = serde_json::from_value(serde_json::to_value(&queued).unwrap()).unwrap();
            assert_eq!(read.mail, queued.mail);
            assert_eq!(read.recipient(None).map(|to| to.name).as_deref(), (name == "account_deleted").then_some("ann"));
        }
    }
}
