//! Email addresses: what is entered, validation and normalization.

use domain::text::is_format_character;
use std::collections::HashSet;
use std::sync::LazyLock;
use unicode_normalization::UnicodeNormalization as _;

/// Domains of disposable addresses.
static DISPOSABLE: LazyLock<HashSet<&str>> = LazyLock::new(|| mailchecker::blacklist().into_iter().collect());

/// Returns an address as it is stored, given what was entered: in composed form, so that it has one account however it was typed (field note
/// 71), and without NUL, which Postgres can't store.
pub(crate) fn entered(typed: &str) -> String {
    typed.trim().nfc().filter(|c| *c != '\0').collect()
}

/// Checks an address and returns an error message if it is invalid. Rejects only addresses that can't be delivered to.
pub(crate) fn check(email: &str) -> Result<(), &'static str> {
    let Some((local, host)) = email.rsplit_once('@') else {
        return Err("Enter a valid email address.");
    };
    let plain = email.chars().all(|c| !c.is_whitespace() && !c.is_control() && c != '<' && c != '>' && c != ',');
    if local.is_empty() || !host.contains('.') || host.starts_with('.') || host.ends_with('.') || !plain {
        return Err("Enter a valid email address.");
    }
    if email.len() > 254 {
        return Err("This email address is too long.");
    }
    Ok(())
}

/// Checks an address for an account, and returns an error message if it is invalid or of a provider of disposable addresses (field note 64).
pub(crate) fn check_new(email: &str) -> Result<(), &'static str> {
    check(email)?;
    if email.chars().any(is_format_character) {
        return Err("Enter a valid email address.");
    }
    match is_disposable(email) {
        true => Err("This is a disposable address. Enter one that you keep."),
        false => Ok(()),
    }
}

/// Returns whether an address belongs to a provider of disposable addresses: its domain or a parent of it is listed.
fn is_disposable(email: &str) -> bool {
    let host = email.rsplit_once('@').map_or("", |(_, host)| host).to_lowercase();
    let parents = host.match_indices('.').filter_map(|(at, _)| host.get(at + 1..));
    std::iter::once(host.as_str()).chain(parents).any(|domain| DISPOSABLE.contains(domain))
}

/// Normalizes an address, so that all spellings that reach the same user are equal. Subjects are derived from it, so that a plus sign
/// doesn't get a user a second free plan.
pub(crate) fn normalised(email: &str) -> String {
    let lower = entered(email).to_lowercase();
    let Some((local, host)) = lower.rsplit_once('@') else {
        return lower;
    };
    let local = local.split('+').next().unwrap_or(local);
    match host {
        "gmail.com" | "googlemail.com" => format!("{}@gmail.com", local.replace('.', "")),
        _ => format!("{local}@{host}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_rejects_only_undeliverable_addresses() {
        for good in ["a@b.co", "Ann.Lee+x@mail.example.com", "ü@exämple.de"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "a",
            "a@",
            "@b.co",
            "a@b",
            "a b@c.de",
            "a@.de",
            "a@b.",
            "a,b@c.de",
            &format!("{}@b.co", "a".repeat(250)),
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }

    /// Refused too are addresses that are shown in another order than they are stored (field note 93).
    #[test]
    fn disposable_addresses_are_refused_for_accounts() {
        for bad in ["a@mailinator.com", "a@x.mailinator.com", "a@Guerrillamail.com", "a\u{202e}b@example.com"] {
            assert!(check_new(bad).is_err() && check(bad).is_ok(), "{bad}");
        }
        for good in ["a@example.com", "a@gmail.com", "a@notmailinator.com.example.org"] {
            assert_eq!(check_new(good), Ok(()), "{good}");
        }
    }

    /// Field note 71: one account for each address, however it is typed.
    #[test]
    fn addresses_are_composed() {
        assert_eq!(entered(" ju\u{308}rgen@example.com\0 "), "j\u{fc}rgen@example.com");
        assert_eq!(normalised("JU\u{308}RGEN@example.com"), normalised("j\u{fc}rgen@example.com"));
    }

    #[test]
    fn spellings_of_one_mailbox_are_normalized() {
        assert_eq!(normalised(" Ann.Lee+free@GMail.com"), "annlee@gmail.com");
        assert_eq!(normalised("ann.lee@googlemail.com"), "annlee@gmail.com");
        assert_eq!(normalised("Ann.Lee+x@example.com"), "ann.lee@example.com");
    }
}
