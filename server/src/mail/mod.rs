//! Mail: templates, and queueing in the transaction that causes it. Text and HTML have the same content.

mod send;

pub(crate) use send::Mailer;

use askama::Template;
use domain::{UserId, brand};
use serde::{Deserialize, Serialize};
use store::Tx;
use time::OffsetDateTime;

/// The job kind of mail.
pub(crate) const JOB: &str = "mail";

/// A queued mail: its content without the recipient's address.
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
}

/// A mail and its recipient.
#[derive(Serialize, Deserialize)]
pub(crate) struct QueuedMail {
    pub user_id: UserId,
    #[serde(flatten)]
    pub mail: Mail,
}

/// A rendered mail.
pub(crate) struct RenderedMail {
    pub subject: String,
    pub text: String,
    pub html: String,
}

#[derive(Template)]
#[template(path = "letter.txt")]
struct Text<'a> {
    body: &'a Body<'a>,
}

#[derive(Template)]
#[template(path = "letter.html")]
struct Html<'a> {
    body: &'a Body<'a>,
}

struct Body<'a> {
    brand: &'a str,
    subject: &'a str,
    hello: &'a str,
    paragraphs: &'a [String],
    label: &'a str,
    link: &'a str,
    support: &'a str,
}

impl Mail {
    /// Returns the key that makes a mail unique. `about` identifies its subject, such as a subscription.
    fn key(&self, about: &str) -> String {
        match self {
            Self::TrialEnding { at, .. } => format!("mail:trial_ending:{about}:{}", at.unix_timestamp()),
            Self::PaymentFailed { until, .. } => format!("mail:payment_failed:{about}:{}", until.unix_timestamp()),
            Self::GraceOver { until, .. } => format!("mail:grace_over:{about}:{}", until.unix_timestamp()),
            Self::PlanEnded { .. } => format!("mail:plan_ended:{about}"),
            Self::Alert { is_over, .. } => format!("mail:alert:{about}:{is_over}"),
        }
    }

    /// Renders the mail.
    ///
    /// # Errors
    /// Returns an error if the template can't be rendered.
    pub(crate) fn render(&self, name: &str, public_url: &str) -> Result<RenderedMail, askama::Error> {
        let (subject, paragraphs, label, path) = match self {
            Self::TrialEnding { plan, at, price } => (
                format!("Your {plan} trial ends on {}", day(*at)),
                vec![
                    format!(
                        "Your {plan} trial ends on {}. It then renews at {price}, charged to your card on file.",
                        day(*at)
                    ),
                    "To keep the plan, you don't need to do anything. To avoid being charged, cancel before that day."
                        .to_owned(),
                ],
                "View your plan",
                "/settings/billing",
            ),
            Self::PaymentFailed { plan, until } => (
                format!("Your payment for {plan} failed"),
                vec![
                    format!("We couldn't charge your card for {plan}. Your plan stays active until {}.", day(*until)),
                    "We will retry the payment over the next few days. If your card has changed, please update it."
                        .to_owned(),
                ],
                "Update card",
                "/settings/billing",
            ),
            Self::GraceOver { plan, .. } => (
                "Your account moved to the free plan".to_owned(),
                vec![
                    format!(
                        "The payment for {plan} is overdue, so your account is on the free plan for now. Your conversations are kept."
                    ),
                    "Your plan is restored as soon as the invoice is paid.".to_owned(),
                ],
                "Pay the invoice",
                "/settings/billing",
            ),
            Self::PlanEnded { plan } => (
                format!("Your {plan} plan has ended"),
                vec![
                    format!(
                        "Your {plan} subscription has ended and you won't be charged again. Your conversations are kept."
                    ),
                    "You can subscribe again at any time.".to_owned(),
                ],
                "See plans",
                "/pricing",
            ),
            Self::Alert { message, is_over: false } => (
                format!("{}: {message}", brand::NAME),
                vec![message.clone(), "You will get another email when it is resolved.".to_owned()],
                "View details",
                "/admin/health",
            ),
            Self::Alert { message, is_over: true } => (
                format!("{}, resolved: {message}", brand::NAME),
                vec![format!("Resolved: {message}")],
                "View details",
                "/admin/health",
            ),
        };
        let link = format!("{public_url}{path}");
        let body = Body {
            brand: brand::NAME,
            subject: &subject,
            hello: name,
            paragraphs: &paragraphs,
            label,
            link: &link,
            support: brand::SUPPORT_EMAIL,
        };
        let (text, html) = (Text { body: &body }.render()?, Html { body: &body }.render()?);
        Ok(RenderedMail { subject, text, html })
    }
}

/// Formats a day as in "3 March 2026", in UTC.
fn day(at: OffsetDateTime) -> String {
    let at = at.to_offset(time::UtcOffset::UTC);
    format!("{} {} {}", at.day(), at.month(), at.year())
}

/// Queues a mail in the transaction that causes it, once per kind and `about`.
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
    let payload = serde_json::to_value(QueuedMail { user_id, mail: mail.clone() })?;
    Ok(store::job::add(&mut *tx, JOB, Some(&mail.key(about)), &payload, now).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_html_have_the_same_content_and_user_text_is_escaped() {
        let until = OffsetDateTime::from_unix_timestamp(1_772_534_400).unwrap();
        let rendered =
            Mail::PaymentFailed { plan: "Pro <b>".into(), until }.render("Ann <script>", "https://x.example").unwrap();
        assert_eq!(rendered.subject, "Your payment for Pro <b> failed");
        assert!(rendered.text.contains("Hello Ann <script>,") && rendered.text.contains("until 3 March 2026"));
        assert!(rendered.text.contains("https://x.example/settings/billing"));
        assert!(!rendered.html.contains("<script>") && rendered.html.contains("until 3 March 2026"));
        assert!(rendered.html.contains("href=\"https://x.example/settings/billing\""));
    }
}
