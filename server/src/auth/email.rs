//! Email addresses: validation and normalization.

/// What stands wrong with an address, if anything. Only what surely can't be delivered to is refused.
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

/// One spelling for all addresses that surely reach the same user: what the subject is made of, so that a plus sign
/// buys no second free plan.
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
    fn addresses_are_checked_gently() {
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
    fn one_user_has_one_spelling() {
        assert_eq!(normalised(" Ann.Lee+free@GMail.com"), "annlee@gmail.com");
        assert_eq!(normalised("ann.lee@googlemail.com"), "annlee@gmail.com");
        assert_eq!(normalised("Ann.Lee+x@example.com"), "ann.lee@example.com");
    }
}
