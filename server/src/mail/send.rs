//! Sends mail over SMTP.

use super::RenderedMail;
use crate::Config;
use anyhow::Context as _;
use domain::brand;
use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::AsyncSmtpTransportBuilder;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};
use secrecy::ExposeSecret as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Maximum time to connect to the mail server.
const CONNECT: Duration = Duration::from_secs(20);
/// Maximum time to send a mail: lettre bounds only the connecting. Shorter than Postgres keeps the transaction in which the job is locked.
const SEND: Duration = Duration::from_secs(40);

/// The SMTP client.
pub(crate) struct Mailer {
    smtp: Option<Smtp>,
    from: Mailbox,
    send_timeout: Duration,
}

/// Connections to the mail server, which are used for several mails.
struct Smtp {
    builder: AsyncSmtpTransportBuilder,
    transport: Mutex<AsyncSmtpTransport<Tokio1Executor>>,
}

impl Smtp {
    fn new(builder: AsyncSmtpTransportBuilder) -> Self {
        let builder = builder.timeout(Some(CONNECT));
        Self { transport: Mutex::new(builder.clone().build()), builder }
    }

    fn transport(&self) -> AsyncSmtpTransport<Tokio1Executor> {
        self.transport.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Begins with new connections. The response to a mail that was given up may still arrive on its connection, and would be taken for that to
    /// the next mail.
    fn drop_connections(&self) {
        *self.transport.lock().unwrap_or_else(PoisonError::into_inner) = self.builder.clone().build();
    }
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
                .map(|builder| Some(Smtp::new(builder)))?,
            None => None,
        };
        let mut from: Mailbox = config
            .mail_from
            .parse()
            .context("MAIL_FROM must be like: address@example.com, or Name <address@example.com>")?;
        from.name.get_or_insert_with(|| brand::MAIL_SENDER_NAME.to_owned());
        Ok(Self { smtp, from, send_timeout: SEND })
    }

    /// Sends a mail. Without SMTP it does nothing in development builds, where the outbox shows queued mail.
    ///
    /// # Errors
    /// Returns an error if the mail isn't accepted in time. The error contains no part of the mail.
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
        let Ok(sent) = tokio::time::timeout(self.send_timeout, smtp.transport().send(message)).await else {
            smtp.drop_connections();
            anyhow::bail!("the mail server doesn't respond in time");
        };
        sent.map(drop).map_err(|error| match error.status() {
            Some(code) => anyhow::anyhow!("the mail server responded with {code}"),
            None => anyhow::anyhow!("the mail server can't be reached"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mailer(mail_from: &str, smtp_url: &str) -> Mailer {
        let variables =
            [("DATABASE_URL", "postgres://127.0.0.1/app"), ("MAIL_FROM", mail_from), ("SMTP_URL", smtp_url)];
        let config = Config::read(variables.map(|(name, value)| (name.to_owned(), value.to_owned()))).unwrap();
        Mailer::new(&config).unwrap()
    }

    fn sender(mail_from: &str) -> Mailbox {
        mailer(mail_from, "").from
    }

    /// A server that accepts a connection and says nothing would otherwise hold up all mails for good.
    #[tokio::test]
    async fn a_mail_server_that_does_not_respond_is_given_up() {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut mailer = mailer("app@example.com", &format!("smtp://{}", silent.local_addr().unwrap()));
        assert_eq!(mailer.send_timeout, SEND);
        mailer.send_timeout = Duration::from_millis(100);
        let [subject, text, html] = ["Hello", "Hello", "<p>Hello</p>"].map(str::to_owned);
        let sending = mailer.send("ann@example.com", RenderedMail { subject, text, html });
        let sent = tokio::time::timeout(Duration::from_secs(120), sending).await;
        let error = sent.expect("it is given up").unwrap_err();
        assert_eq!(error.to_string(), "the mail server doesn't respond in time");
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
