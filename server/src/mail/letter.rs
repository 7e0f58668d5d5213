//! Renders mails from the files in `templates/`. `templates/README.md` lists the values that a template can use.

use super::{Mail, Recipient, RenderedMail, Site};
use crate::accounts::tokens::Seed;
use app::components::browser_name::browser_name;
use domain::brand;
use store::account_token::TokenKind;
use time::OffsetDateTime;

/// The values that templates can use. Those that a mail doesn't have are empty.
#[derive(Default)]
struct Letter<'a> {
    brand: &'a str,
    support: &'a str,
    subject: String,
    name: &'a str,
    email: &'a str,
    link: String,
    code: String,
    plan: &'a str,
    day: String,
    price: &'a str,
    message: String,
    other_email: &'a str,
    moment: String,
    browser: String,
    what: &'a str,
}

/// Renders one format of a mail.
type Template = fn(&Letter<'_>) -> Result<String, askama::Error>;

/// Declares a module for each mail with its two templates.
macro_rules! templates {
    ($($name:ident $text:literal $html:literal)*) => {$(
        mod $name {
            use super::Letter;
            use askama::Template;

            #[derive(Template)]
            #[template(path = $text)]
            struct Text<'a> {
                mail: &'a Letter<'a>,
            }

            #[derive(Template)]
            #[template(path = $html)]
            struct Html<'a> {
                mail: &'a Letter<'a>,
            }

            pub(super) fn text(mail: &Letter<'_>) -> Result<String, askama::Error> {
                Text { mail }.render()
            }

            pub(super) fn html(mail: &Letter<'_>) -> Result<String, askama::Error> {
                Html { mail }.render()
            }
        }
    )*};
}

templates! {
    trial_ending "trial_ending.txt" "trial_ending.html"
    payment_failed "payment_failed.txt" "payment_failed.html"
    grace_over "grace_over.txt" "grace_over.html"
    plan_ended "plan_ended.txt" "plan_ended.html"
    alert "alert.txt" "alert.html"
    alert_resolved "alert_resolved.txt" "alert_resolved.html"
    verify_email "verify_email.txt" "verify_email.html"
    reset_password "reset_password.txt" "reset_password.html"
    password_changed "password_changed.txt" "password_changed.html"
    confirm_new_email "confirm_new_email.txt" "confirm_new_email.html"
    email_changed "email_changed.txt" "email_changed.html"
    email_confirmed "email_confirmed.txt" "email_confirmed.html"
    email_restored "email_restored.txt" "email_restored.html"
    identity_connected "identity_connected.txt" "identity_connected.html"
    identity_removed "identity_removed.txt" "identity_removed.html"
    name_changed "name_changed.txt" "name_changed.html"
    new_browser "new_browser.txt" "new_browser.html"
    factor_added "factor_added.txt" "factor_added.html"
    factor_removed "factor_removed.txt" "factor_removed.html"
    wrong_codes "wrong_codes.txt" "wrong_codes.html"
    recovery_code_used "recovery_code_used.txt" "recovery_code_used.html"
    api_key_created "api_key_created.txt" "api_key_created.html"
    api_key_loop "api_key_loop.txt" "api_key_loop.html"
    account_deleted "account_deleted.txt" "account_deleted.html"
}

/// Returns the templates of a mail, text first.
fn templates_of(mail: &Mail) -> (Template, Template) {
    match mail {
        Mail::TrialEnding { .. } => (trial_ending::text, trial_ending::html),
        Mail::PaymentFailed { .. } => (payment_failed::text, payment_failed::html),
        Mail::GraceOver { .. } => (grace_over::text, grace_over::html),
        Mail::PlanEnded { .. } => (plan_ended::text, plan_ended::html),
        Mail::Alert { is_over: false, .. } => (alert::text, alert::html),
        Mail::Alert { is_over: true, .. } => (alert_resolved::text, alert_resolved::html),
        Mail::VerifyEmail { .. } => (verify_email::text, verify_email::html),
        Mail::ResetPassword { .. } => (reset_password::text, reset_password::html),
        Mail::PasswordChanged { .. } => (password_changed::text, password_changed::html),
        Mail::ConfirmNewEmail { .. } => (confirm_new_email::text, confirm_new_email::html),
        Mail::EmailChanged { .. } => (email_changed::text, email_changed::html),
        Mail::EmailConfirmed => (email_confirmed::text, email_confirmed::html),
        Mail::EmailRestored { .. } => (email_restored::text, email_restored::html),
        Mail::IdentityConnected { .. } => (identity_connected::text, identity_connected::html),
        Mail::IdentityRemoved { .. } => (identity_removed::text, identity_removed::html),
        Mail::NameChanged { .. } => (name_changed::text, name_changed::html),
        Mail::NewBrowser { .. } => (new_browser::text, new_browser::html),
        Mail::FactorAdded { .. } => (factor_added::text, factor_added::html),
        Mail::FactorRemoved { .. } => (factor_removed::text, factor_removed::html),
        Mail::WrongCodes { .. } => (wrong_codes::text, wrong_codes::html),
        Mail::RecoveryCodeUsed { .. } => (recovery_code_used::text, recovery_code_used::html),
        Mail::ApiKeyCreated { .. } => (api_key_created::text, api_key_created::html),
        Mail::ApiKeyLoop { .. } => (api_key_loop::text, api_key_loop::html),
        Mail::AccountDeleted => (account_deleted::text, account_deleted::html),
    }
}

impl<'a> Letter<'a> {
    /// Fills in the values of a mail.
    fn of(mail: &'a Mail, to: &'a Recipient, site: &Site<'_>) -> anyhow::Result<Self> {
        let page = |path: &str| format!("{}{path}", site.public_url);
        let by_token = |path: &str, seed: &Seed, kind: TokenKind| {
            seed.token(site.codes_key, kind).map(|token| page(&format!("{path}?token={token}")))
        };
        let letter = Self {
            brand: brand::NAME,
            support: brand::SUPPORT_EMAIL,
            name: &to.name,
            email: &to.email,
            ..Self::default()
        };
        let billing = || page("/settings/billing");
        Ok(match mail {
            Mail::TrialEnding { plan, at, price } => Self { plan, day: day(*at), price, link: billing(), ..letter },
            Mail::PaymentFailed { plan, until } | Mail::GraceOver { plan, until } => {
                Self { plan, day: day(*until), link: billing(), ..letter }
            }
            Mail::PlanEnded { plan } => Self { plan, link: page("/pricing"), ..letter },
            Mail::Alert { message, .. } => Self { message: one_line(message), link: page("/admin/health"), ..letter },
            Mail::VerifyEmail { seed, next } => Self {
                link: with_next(by_token("/verify", seed, TokenKind::VerifyEmail)?, next.as_deref()),
                code: seed.code(site.codes_key, TokenKind::VerifyEmail)?,
                ..letter
            },
            Mail::ResetPassword { seed } => {
                Self { link: by_token("/reset", seed, TokenKind::ResetPassword)?, ..letter }
            }
            Mail::PasswordChanged { at } => Self { moment: moment(*at), link: page("/forgot"), ..letter },
            Mail::ConfirmNewEmail { seed } => {
                Self { link: by_token("/verify", seed, TokenKind::ChangeEmail)?, ..letter }
            }
            Mail::EmailChanged { new_email, seed } => {
                Self { other_email: new_email, link: by_token("/email/undo", seed, TokenKind::UndoEmail)?, ..letter }
            }
            Mail::EmailConfirmed => Self { link: page("/settings"), ..letter },
            Mail::EmailRestored { email } => Self { other_email: email, link: page("/forgot"), ..letter },
            Mail::IdentityConnected { service, at } | Mail::IdentityRemoved { service, at } => {
                Self { message: one_line(service), moment: moment(*at), link: page("/settings/security"), ..letter }
            }
            Mail::NameChanged { name } => Self { message: one_line(name), link: page("/settings"), ..letter },
            Mail::NewBrowser { user_agent, at } => Self {
                browser: browser_name(user_agent),
                moment: moment(*at),
                link: page("/settings/security"),
                ..letter
            },
            Mail::FactorAdded { factor, at } | Mail::FactorRemoved { factor, at } => {
                Self { message: one_line(factor), moment: moment(*at), link: page("/settings/security"), ..letter }
            }
            Mail::WrongCodes { at } => Self { moment: moment(*at), link: page("/settings/security"), ..letter },
            Mail::RecoveryCodeUsed { left, at } => {
                Self { message: codes_left(*left), moment: moment(*at), link: page("/settings/security"), ..letter }
            }
            Mail::ApiKeyCreated { key, at } => {
                Self { message: one_line(key), moment: moment(*at), link: page("/settings/keys"), ..letter }
            }
            Mail::ApiKeyLoop { key, key_id, reason } => Self {
                message: one_line(key),
                what: reason.describe(),
                link: page(&format!("/settings/keys/{key_id}/pause")),
                ..letter
            },
            Mail::AccountDeleted => letter,
        })
    }
}

impl Mail {
    /// Renders the mail. The first line of the text template is the subject.
    ///
    /// # Errors
    /// Returns an error if a template can't be rendered or a link can't be made.
    pub(crate) fn render(&self, to: &Recipient, site: &Site<'_>) -> anyhow::Result<RenderedMail> {
        let (text, html) = templates_of(self);
        let mut letter = Letter::of(self, to, site)?;
        let rendered = text(&letter)?;
        let (first, body) = rendered.split_once('\n').unwrap_or((rendered.as_str(), ""));
        letter.subject = one_line(first.strip_prefix("Subject:").unwrap_or(first));
        let html = without_gaps(&html(&letter)?);
        Ok(RenderedMail { text: without_gaps(body), html, subject: letter.subject })
    }
}

/// Adds the path that a link leads on to.
fn with_next(link: String, next: Option<&str>) -> String {
    match next {
        Some(next) => {
            let query = form_urlencoded::Serializer::new(String::new()).append_pair("next", next).finish();
            format!("{link}&{query}")
        }
        None => link,
    }
}

/// Leaves at most one empty line between two lines, and none at either end.
fn without_gaps(text: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for line in text.trim().lines().map(str::trim_end) {
        if !line.is_empty() || kept.last().is_some_and(|last| !last.is_empty()) {
            kept.push(line);
        }
    }
    kept.join("\n") + "\n"
}

/// Joins all lines of a text, because a subject has only one.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Returns a sentence with the number of recovery codes that are left.
fn codes_left(left: i64) -> String {
    match left {
        0 => "No codes are left. Create new ones.".to_owned(),
        1 => "1 code is left.".to_owned(),
        left => format!("{left} codes are left."),
    }
}

/// Formats a day as in "3 March 2026", by the timestamp's own offset.
fn day(at: OffsetDateTime) -> String {
    format!("{} {} {}", at.day(), at.month(), at.year())
}

/// Formats a moment as in "3 March 2026, 12:05 UTC".
fn moment(at: OffsetDateTime) -> String {
    let utc = at.to_offset(time::UtcOffset::UTC);
    format!("{}, {:02}:{:02} UTC", day(utc), utc.hour(), utc.minute())
}

#[cfg(test)]
mod tests {
    use super::super::preview;
    use super::*;

    const SITE: Site<'_> = Site { public_url: "https://x.example", codes_key: &[7; 32] };

    fn recipient(name: &str) -> Recipient {
        Recipient { email: "ann@example.com".to_owned(), name: name.to_owned() }
    }

    #[test]
    fn text_and_html_have_the_same_content_and_user_text_is_escaped() {
        let until = OffsetDateTime::from_unix_timestamp(1_772_534_400).unwrap();
        let mail = Mail::PaymentFailed { plan: "Pro <b>".into(), until };
        let rendered = mail.render(&recipient("Ann <script>"), &SITE).unwrap();
        assert_eq!(rendered.subject, "Your payment for Pro <b> failed");
        assert!(rendered.text.contains("Hello Ann <script>,") && rendered.text.contains("until 3 March 2026"));
        assert!(rendered.text.contains("https://x.example/settings/billing"));
        assert!(!rendered.html.contains("<script>") && rendered.html.contains("until 3 March 2026"));
        assert!(rendered.html.contains("href=\"https://x.example/settings/billing\""));
    }

    #[test]
    fn every_template_is_that_of_an_example() {
        let mut shown: Vec<_> = preview::all().into_iter().map(|(name, _)| format!("{name}.txt")).collect();
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/mail/templates");
        let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
        let mut templates: Vec<_> = files.filter(|name| name.ends_with(".txt") && name != "layout.txt").collect();
        shown.sort_unstable();
        templates.sort_unstable();
        assert_eq!(templates, shown);
    }

    #[test]
    fn every_mail_renders_with_a_subject_and_the_same_link_in_both_formats() {
        for (name, mail) in preview::all() {
            let rendered = mail.render(&recipient("Ann"), &SITE).unwrap();
            let RenderedMail { subject, text, html } = rendered;
            assert!(!subject.is_empty() && !subject.contains("Subject:"), "{name}: {subject}");
            assert!(text.starts_with("Hello Ann,") && html.contains("<p>Hello Ann,</p>"), "{name}: {text}");
            assert!(html.contains("<title>") && !html.contains("<title></title>"), "{name}");
            assert!(!text.contains("\n\n\n") && !text.contains("{{"), "{name}: {text}");
            let link = text.split_whitespace().find(|word| word.starts_with("https://x.example/"));
            match link {
                Some(link) => assert!(html.contains(&format!("href=\"{link}\"")), "{name}: {link}"),
                None => assert_eq!(name, "account_deleted"),
            }
        }
    }

    #[test]
    fn the_links_and_codes_are_those_that_the_table_knows() {
        use crate::accounts::tokens;
        let seed = Seed::new();
        let mail = Mail::VerifyEmail { seed: seed.clone(), next: Some("/pricing?plan=pro".to_owned()) };
        let text = mail.render(&recipient("Ann"), &SITE).unwrap().text;
        let token = seed.token(SITE.codes_key, TokenKind::VerifyEmail).unwrap();
        let link = format!("https://x.example/verify?token={token}&next=%2Fpricing%3Fplan%3Dpro");
        assert!(text.contains(&link), "{text}");
        assert!(text.contains(&seed.code(SITE.codes_key, TokenKind::VerifyEmail).unwrap()), "{text}");
        assert!(tokens::token_hash(&token).is_some());
        // A queued mail opens nothing without the key.
        assert!(!serde_json::to_string(&mail).unwrap().contains(&token));
    }

    #[test]
    fn a_name_with_line_breaks_stays_in_its_line() {
        let mail = Mail::Alert { message: "one\r\nBcc: eve@example.com".into(), is_over: false };
        let subject = mail.render(&recipient("Ann"), &SITE).unwrap().subject;
        assert!(subject.ends_with("one Bcc: eve@example.com") && !subject.contains('\n'), "{subject}");
    }
}
