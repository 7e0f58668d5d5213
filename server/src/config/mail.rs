//! Outgoing mail.

use super::{Config, Variables};

/// Reads the section's variables.
pub(super) fn read(vars: &Variables, config: &mut Config) {
    config.smtp_url = vars.secret("SMTP_URL");
    if let Some(from) = vars.text("MAIL_FROM") {
        config.mail_from = from;
    }
}
