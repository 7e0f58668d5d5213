//! The risk column of `/admin/users`: accounts that may belong to one person.

use crate::app::{HTTP, PASSWORD, TestApp};
use http::StatusCode;

/// Signs up from an address.
async fn sign_up(app: &TestApp, email: &str, address: &str) {
    let form = HTTP.post(format!("{}/sign-up", app.url)).header("x-forwarded-for", address);
    let terms = ("terms", domain::brand::TERMS_VERSION);
    let answer = form.form(&[("email", email), ("password", PASSWORD), terms]).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::SEE_OTHER, "{email}");
}

/// Returns the row of an account; empty if the page doesn't list it.
fn row<'p>(page: &'p str, email: &str) -> &'p str {
    let mut rows = page.split("<tr>").map(|row| row.split("</tr>").next().unwrap_or_default());
    rows.find(|row| row.contains(&format!(">{email}<"))).unwrap_or_default()
}

/// Field note 64: accounts from one address block and those whose addresses reach one mailbox are named, others aren't.
#[tokio::test]
async fn accounts_that_share_a_block_or_a_mailbox_are_named() {
    let app = TestApp::with(&[("TRUSTED_PROXIES", "127.0.0.1")]).await;
    for (email, address) in [
        ("one@example.com", "203.0.113.1"),
        ("two@example.com", "203.0.113.77"),
        ("three@example.com", "203.0.113.200"),
        ("six1@example.com", "2001:db8:1:2::1"),
        ("six2@example.com", "2001:db8:1:3::1"),
        ("six3@example.com", "2001:db8:1:ffff::1"),
        ("pair1@example.com", "198.51.100.1"),
        ("pair2@example.com", "198.51.100.2"),
        ("Ann.Lee@gmail.com", "192.0.2.1"),
        ("annlee+free@googlemail.com", "192.0.9.1"),
        ("admin@example.com", "192.0.10.1"),
    ] {
        sign_up(&app, email, address).await;
    }
    let admin = super::sign_in(&app, "admin@example.com", PASSWORD).await;
    let (block, mailbox) = ("3 accounts from this address block", "2 with the same normalized address");
    let all = admin.text("/admin/users").await;
    let risky = admin.text("/admin/users?risky=yes").await;
    for (email, expected) in [
        ("one@example.com", Some(block)),
        ("three@example.com", Some(block)),
        ("six1@example.com", Some(block)),
        ("six3@example.com", Some(block)),
        ("Ann.Lee@gmail.com", Some(mailbox)),
        ("annlee+free@googlemail.com", Some(mailbox)),
        ("pair1@example.com", None),
        ("admin@example.com", None),
    ] {
        let found = row(&all, email);
        assert!(!found.is_empty(), "{email} isn't listed");
        let named = [block, mailbox].into_iter().filter(|risk| found.contains(risk)).collect::<Vec<_>>();
        assert_eq!(named, expected.into_iter().collect::<Vec<_>>(), "{email}");
        assert_eq!(row(&risky, email).is_empty(), expected.is_none(), "{email} in the filtered list");
    }
    assert!(row(&admin.text("/admin/users?risky=yes&q=six").await, "one@example.com").is_empty());
    let stored = "select bool_and(sign_up_block ~ '^[0-9a-f]{32}$' and address_hash ~ '^[0-9a-f]{64}$') from account";
    assert!(app.one::<bool>(stored).await, "only hashes are stored");
}

/// An account of an earlier release gets the hash of its address, and a changed address the hash of the new one.
#[tokio::test]
async fn the_hash_of_an_address_follows_it() {
    let app = TestApp::new().await;
    let _ann = app.user("ann@example.com").await;
    let hash = app.one::<String>("select address_hash from account").await;
    assert_eq!(hash, app.subject_of("ann@example.com"));
    app.sql("update account set address_hash = null").await;
    let (_, stop) = app.start_second().await;
    app.until("select address_hash is not null from account").await;
    assert_eq!(app.one::<String>("select address_hash from account").await, hash);
    let user = app.one::<uuid::Uuid>("select user_id from account").await;
    let (new, now) = (app.subject_of("ann@example.org"), time::OffsetDateTime::now_utc());
    let mut tx = store::begin(&app.store).await.unwrap();
    store::account::change_email(&mut tx, user.into(), "ann@example.org", &new, now).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(app.one::<String>("select address_hash from account").await, new);
    stop.cancel();
}
