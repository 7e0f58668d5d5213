//! Email addresses: validation and normalization.

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

/// Normalizes an address, so that all spellings that reach the same user are equal. Subjects are derived from it, so that a plus sign
/// doesn't get a user a second free plan.
pub(crate) fn normalised(email: &str) -> String {
    let lower = email.trim().to_lowercase();
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

    #[test]
    fn spellings_of_one_mailbox_are_normalized() {
        assert_eq!(normalised(" Ann.Lee+free@GMail.com"), "annlee@gmail.com");
        assert_eq!(normalised("ann.lee@googlemail.com"), "annlee@gmail.com");
        assert_eq!(normalised("Ann.Lee+x@example.com"), "ann.lee@example.com");
    }
}
