//! GitHub's API: the user who has signed in. GitHub has no ID tokens; the user is read with the access token that the code was exchanged for.

use super::error::IdentityError;
use super::fetch::Fetcher;
use super::id_token::Claims;
use serde::Deserialize;

#[derive(Deserialize)]
struct User {
    /// Unlike the login, it never changes.
    id: u64,
    login: String,
    #[serde(default)]
    name: Option<String>,
}

#[derive(Deserialize)]
struct Email {
    email: String,
    primary: bool,
    verified: bool,
}

/// Loads the user of an access token, with their primary address. It counts only if GitHub has verified it.
pub(super) async fn load_user(fetcher: &Fetcher, api_url: &str, token: &str) -> Result<Claims, IdentityError> {
    let user: User = fetcher.json(&format!("{api_url}/user"), Some(token)).await?;
    let emails: Vec<Email> = fetcher.json(&format!("{api_url}/user/emails"), Some(token)).await?;
    Ok(Claims {
        sub: user.id.to_string(),
        email: primary(emails),
        is_email_verified: true,
        name: Some(user.name.filter(|name| !name.is_empty()).unwrap_or(user.login)),
    })
}

/// Returns the primary address, if it is verified.
fn primary(emails: Vec<Email>) -> Option<String> {
    emails.into_iter().find(|email| email.primary && email.verified).map(|email| email.email)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_verified_primary_address_counts() {
        let email = |email: &str, primary, verified| Email { email: email.to_owned(), primary, verified };
        let both = vec![email("other@example.com", false, true), email("ann@example.com", true, true)];
        assert_eq!(primary(both), Some("ann@example.com".to_owned()));
        assert_eq!(primary(vec![email("a@example.com", false, true), email("ann@example.com", true, false)]), None);
    }
}
