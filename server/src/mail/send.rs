//! Sends mail over SMTP.

use super::RenderedMail;
use crate::Config;
use anyhow::Context as _;
use domain::brand;
use lettre::message::{Mailbox, MultiPart};
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};
use secrecy::ExposeSecret as _;
use std::time::Duration;

/// The SMTP client.
pub(crate) struct Mailer {
    smtp: Option<AsyncSmtpTransport<Tokio1Executor>>,
    from: Mailbox,
}

impl Mailer {
    /// Creates the client from the configuration.
    ///
    /// # Errors
    /// Returns an error if `SMTP_URL` or `MAIL_FROM` can't be parsed.
    pub(crate) fn new(config: &Config) -> anyhow::Result<Self> {
        let smtp = match &config.smtp_url {
            // The original error contains the URL, and with it the password.
            Some(url) => AsyncSmtpTransport::<Tokio1Executor>::from_url(url.expose_secret())
                .map_err(|_| anyhow::anyhow!("SMTP_URL is invalid; expected smtps://user:password@host"))
                .map(|builder| Some(builder.timeout(Some(Duration::from_secs(20))).build()))?,
            None => None,
        };
        let mut from: Mailbox = config
            .mail_from
            .parse()
            .context("MAIL_FROM must be like: address@example.com, or Name <address@example.com>")?;
        from.name.get_or_insert_with(|| brand::MAIL_SENDER_NAME.to_owned());
        Ok(Self { smtp, from })
    }

    /// Sends a mail. Without SMTP it does nothing in development builds, where the outbox shows queued mail.
    ///
    /// # Errors
    /// Returns an error if the mail isn't accepted. The error contains no part of the mail.
    pub(crate) async fn send(&self, to: &str, rendered: RenderedMail) -> anyhow::Result<()> {
        let Some(smtp) = &self.smtp else {
            anyhow::ensure!(cfg!(debug_assertions), "SMTP_URL isn't set");
            return Ok(());
        };
        let to = Mailbox::new(None, to.parse().map_err(|_| anyhow::anyhow!("the recipient's address is invalid"))?);
        let message = Message::builder()
            .from(self.from.clone())
            .to(to)
            .subject(rendered.subject)
            .multipart(MultiPart::alternative_plain_html(rendered.text, rendered.html))?;
        let sent = smtp.send(message).await;
        sent.map(drop).map_err(|error| match error.status() {
            Some(code) => anyhow::anyhow!("the mail server responded with {code}"),
            None => anyhow::anyhow!("the mail server can't be reached"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sender(mail_from: &str) -> Mailbox {
        let variables = [("DATABASE_URL", "postgres://127.0.0.1/app"), ("MAIL_FROM", mail_from)];
        let config = Config::read(variables.map(|(name, value)| (name.to_owned(), value.to_owned()))).unwrap();
        Mailer::new(&config).unwrap().from
    }

    #[test]
    fn the_name_of_the_sender_comes_from_the_brand_unless_it_is_set() {
        let plain = sender("app@example.com");
        assert_eq!(plain.name.as_deref(), Some(brand::MAIL_SENDER_NAME));
        assert_eq!(plain.email.to_string(), "app@example.com");
        assert_eq!(sender("The App <app@example.com>").name.as_deref(), Some("The App"));
        assert_eq!(sender("").email.to_string(), brand::SUPPORT_EMAIL);
    }
}
