//! Rules for new passwords. NIST SP 800-63B requires a length and a list of common passwords instead of kinds of characters.

use domain::brand;
use secrecy::{ExposeSecret as _, SecretString};
use std::collections::HashSet;
use std::sync::LazyLock;
use unicode_normalization::UnicodeNormalization as _;

/// Minimum length in characters.
const MIN_CHARS: usize = 12;
/// Maximum length in characters. Hashing longer ones would let an attacker keep the server busy.
const MAX_CHARS: usize = 128;
/// Number of characters around a common password that don't make it another one.
const PADDING: usize = 6;
/// Length below which a repeated part is easy to guess.
const SHORT: usize = 5;

/// The message about a password that others use.
pub(super) const COMMON_PASSWORD: &str =
    "This password is easy to guess because many people use it. Choose another one.";

/// The most common passwords, in lower case. `common_passwords.license.txt` has their source.
static COMMON: LazyLock<HashSet<&str>> = LazyLock::new(|| include_str!("common_passwords.txt").lines().collect());

/// Checks a new password of the account with this address, and returns an error message if it can't be used.
pub(crate) fn check(password: &SecretString, email: &str) -> Result<(), String> {
    let password: String = password.expose_secret().nfc().collect();
    let length = password.chars().count();
    if length < MIN_CHARS {
        return Err(format!("Use at least {MIN_CHARS} characters."));
    }
    if length > MAX_CHARS {
        return Err(format!("Use at most {MAX_CHARS} characters."));
    }
    let lower = password.to_lowercase();
    if is_common(&lower) {
        return Err(COMMON_PASSWORD.to_owned());
    }
    if names(email).iter().any(|name| lower.contains(name)) {
        return Err("Choose a password that doesn't contain your email address.".to_owned());
    }
    // A name of up to three letters is part of many words.
    if brand::NAME.chars().count() > 3 && lower.contains(&brand::NAME.to_lowercase()) {
        return Err(format!("Choose a password that doesn't contain \"{}\".", brand::NAME));
    }
    Ok(())
}

/// Returns the parts of an address that a password must not contain: the one before the @, and that without a plus sign and what follows.
fn names(email: &str) -> Vec<String> {
    let lower: String = email.trim().nfc().collect::<String>().to_lowercase();
    let local = lower.rsplit_once('@').map_or(lower.as_str(), |(local, _)| local);
    let mailbox = local.split('+').next().unwrap_or(local);
    [local, mailbox].into_iter().filter(|name| name.chars().count() >= 4).map(str::to_owned).collect()
}

/// Returns whether a password in lower case is a common one, also with a few digits or signs around it, or the repetition of a common or
/// short one.
fn is_common(password: &str) -> bool {
    let core = password.trim_matches(|c: char| !c.is_alphabetic());
    let padding = password.chars().count() - core.chars().count();
    let repeated = repeated_part(password);
    COMMON.contains(password)
        || (padding <= PADDING && COMMON.contains(core))
        || repeated.is_some_and(|part| part.chars().count() < SHORT || COMMON.contains(part))
}

/// Returns the shortest text whose repetition is `text`; `None` if it repeats nothing.
fn repeated_part(text: &str) -> Option<&str> {
    let lengths = text.char_indices().map(|(length, _)| length).skip(1);
    lengths
        .take_while(|length| length * 2 <= text.len())
        .filter(|length| text.len().is_multiple_of(*length))
        .map(|length| &text[..length])
        .find(|part| part.repeat(text.len() / part.len()) == text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn error(password: &str, email: &str) -> Option<String> {
        check(&SecretString::from(password), email).err()
    }

    #[test]
    fn length_is_counted_in_characters_of_the_composed_form() {
        assert!(error("twelve sign", "a@b.co").unwrap().contains("at least 12"));
        assert_eq!(error("twelve signs", "a@b.co"), None);
        // Eleven characters, entered as twelve.
        assert!(error("gru\u{308}ne Wiese", "a@b.co").unwrap().contains("at least 12"));
        let long = "äbcdefgh".repeat(16);
        assert_eq!((long.chars().count(), error(&long, "a@b.co")), (128, None));
        assert!(error(&format!("{long}x"), "a@b.co").unwrap().contains("at most 128"));
    }

    #[test]
    fn common_passwords_are_refused() {
        assert!(COMMON.len() >= 10_000 && ["123456", "password", "qwertyuiop"].iter().all(|one| COMMON.contains(one)));
        for common in [
            "1qaz2wsx3edc",
            "Password1234",
            "QwertyQwerty",
            "passwordpassword",
            "aaaaaaaaaaaa",
            "abcabcabcabc",
            "iloveyou!!!!",
            "2026monkey!!",
        ] {
            assert!(error(common, "a@b.co").is_some(), "{common}");
        }
        for good in ["correct horse", "long enough here", "demo company", "8271-3391-love-9983"] {
            assert_eq!(error(good, "a@b.co"), None, "{good}");
        }
    }

    #[test]
    fn the_address_and_the_product_are_refused() {
        assert!(error("my name is ann.lee", "Ann.Lee+x@example.com").unwrap().contains("email address"));
        assert_eq!(error("my name is ann lee", "Ann.Lee+x@example.com"), None);
        // Names of up to three letters are part of many words.
        assert_eq!(error("banned plants", "ann@example.com"), None);
        let refused = error(&format!("my {} password", brand::NAME), "a@b.co");
        assert_eq!(refused.is_some_and(|reason| reason.contains("doesn't contain")), brand::NAME.chars().count() > 3);
    }

    proptest! {
        #[test]
        fn any_text_is_checked(password in "\\PC{0,140}", email in "\\PC{0,40}") {
            let length = password.nfc().count();
            let checked = error(&password, &email);
            prop_assert!((12..=128).contains(&length) || checked.is_some());
        }

        #[test]
        fn a_repeated_part_repeats(part in "\\PC{1,6}", times in 2_usize..5) {
            let text = part.repeat(times);
            let found = repeated_part(&text).unwrap();
            prop_assert_eq!(found.repeat(text.len() / found.len()), text);
        }
    }
}
