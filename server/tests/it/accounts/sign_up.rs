//! Sign-up and sign-in: passwords, spellings, two submissions at once, and the way back.

use super::{NEW_PASSWORD, is_signed_in, redirect, shows, sign_in};
use crate::app::{PASSWORD, TestApp};
use argon2::password_hash::PasswordHasher as _;
use argon2::{Algorithm, Argon2, Params, Version};
use http::StatusCode;

const REJECTED: StatusCode = StatusCode::UNPROCESSABLE_ENTITY;

#[tokio::test]
async fn passwords_are_long_uncommon_and_not_about_the_user() {
    let app = TestApp::new().await;
    let long = "correct horse battery staple ".repeat(5);
    let brand = format!("i love {} a lot", domain::brand::NAME);
    for (password, sentence) in [
        ("", "Use at least 12 characters."),
        ("eleven char", "Use at least 12 characters."),
        (&long, "Use at most 128 characters."),
        ("1qaz2wsx3edc", "easy to guess"),
        ("Password1234", "easy to guess"),
        ("aaaaaaaaaaaa", "easy to guess"),
        ("annabel in the rain", "contain your email address"),
        ("aNNabel+x twice", "contain your email address"),
        (&brand, "Choose a password that"),
    ] {
        let fields = [("email", "annabel+x@example.com"), ("name", "Ann"), ("password", password)];
        let page = shows(app.visitor().form("/sign-up", &fields).await, REJECTED, sentence).await;
        assert!(page.contains("value=\"annabel+x@example.com\"") && page.contains("value=\"Ann\""));
        assert!(password.is_empty() || !page.contains(password), "the page contains the password");
    }
    for email in ["ann@mailinator.com", "ann@Sub.Mailinator.com", "ann@yopmail.com"] {
        let disposable = app.visitor().form("/sign-up", &[("email", email), ("password", PASSWORD)]).await;
        shows(disposable, REJECTED, "This is a disposable address").await;
    }
    assert_eq!(app.one::<i64>("select count(*) from account").await, 0);
    // 128 characters of any kind are allowed.
    let allowed = "äbc defg".repeat(16);
    let made = app.visitor().form("/sign-up", &[("email", "annabel@example.com"), ("password", &allowed)]).await;
    assert_eq!(redirect(&made), "/chat");
    sign_in(&app, "annabel@example.com", &allowed).await;
}

/// Passwords of an earlier release still work if they are shorter than new ones may be, and are hashed anew if their hash is weaker.
#[tokio::test]
async fn earlier_passwords_still_work_and_are_hashed_anew() {
    let app = TestApp::new().await;
    app.user("ann@example.com").await;
    let weak = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(8 * 1024, 1, 1, None).unwrap());
    let hash = weak.hash_password(b"ten chars!").unwrap().to_string();
    sqlx::query("update account set password_hash = $1").bind(hash).execute(&app.db).await.unwrap();
    let wrong = app.visitor().form("/sign-in", &[("email", "ann@example.com"), ("password", "ten chars?")]).await;
    shows(wrong, REJECTED, "Incorrect email or password.").await;
    assert!(app.one::<bool>("select password_hash like '%m=8192,t=1,p=1%' from account").await);
    sign_in(&app, "ann@example.com", "ten chars!").await;
    app.until("select password_hash like '$argon2id$v=19$m=19456,t=2,p=1$%' from account").await;
    sign_in(&app, "ann@example.com", "ten chars!").await;
    // An account without a password has none to guess.
    app.sql("update account set password_hash = null").await;
    for password in ["", "ten chars!"] {
        let none = app.visitor().form("/sign-in", &[("email", "ann@example.com"), ("password", password)]).await;
        shows(none, REJECTED, "Incorrect email or password.").await;
    }
}

/// Field note 71: systems differ in how they enter "ü". Passwords and addresses are the same in either form.
#[tokio::test]
async fn composed_and_decomposed_entries_are_the_same() {
    let app = TestApp::new().await;
    let composed = ("j\u{fc}rgen@example.com", "gr\u{fc}ne Wiese im Mai");
    let decomposed = ("ju\u{308}rgen@example.com", "gru\u{308}ne Wiese im Mai");
    let made = app.visitor().form("/sign-up", &[("email", decomposed.0), ("password", composed.1)]).await;
    assert_eq!(redirect(&made), "/chat");
    for email in [composed.0, decomposed.0] {
        for password in [composed.1, decomposed.1] {
            sign_in(&app, email, password).await;
        }
    }
    app.sql("update account set created_at = now() - interval '1 hour'").await;
    let again = app.visitor().form("/sign-up", &[("email", composed.0), ("password", composed.1)]).await;
    shows(again, REJECTED, "An account with this email already exists").await;
    assert_eq!(app.one::<String>("select string_agg(email, ' ') from account").await, composed.0);
}

/// Field note 72: the same form submitted twice at once signs in twice. It is one account, and nobody else gets into it.
#[tokio::test]
async fn two_equal_sign_ups_at_once_both_end_signed_in() {
    let app = TestApp::new().await;
    let submit = async |email: &str, password: &str| {
        let mut visitor = app.visitor();
        let response = visitor.form("/sign-up", &[("email", email), ("password", password)]).await;
        (visitor, response)
    };
    for email in ["ann@example.com", "bob@example.com", "tom@example.com"] {
        let (first, second) = tokio::join!(submit(email, PASSWORD), submit(email, PASSWORD));
        for (visitor, response) in [first, second] {
            assert_eq!(redirect(&response), "/chat", "{email}");
            assert!(is_signed_in(&visitor).await);
        }
    }
    assert_eq!(app.one::<i64>("select count(*) from account").await, 3);
    let taken = "An account with this email already exists";
    let (first, second) = tokio::join!(submit("eve@example.com", PASSWORD), submit("EVE@example.com", NEW_PASSWORD));
    let (made, refused): (Vec<_>, Vec<_>) =
        [first, second].into_iter().partition(|(_, response)| response.status() == StatusCode::SEE_OTHER);
    assert_eq!((made.len(), refused.len()), (1, 1));
    for (_, response) in refused {
        shows(response, REJECTED, taken).await;
    }
    // A minute later it is no second submission.
    app.sql("update account set created_at = now() - interval '61 seconds'").await;
    shows(submit("ann@example.com", PASSWORD).await.1, REJECTED, taken).await;
}

/// Field note 72: the page that a visitor came from survives sign-up and sign-in with its query, and a form that was left signed out leads
/// back to a page.
#[tokio::test]
async fn the_way_back_survives_with_its_query() {
    let app = TestApp::new().await;
    let next = "/pricing?plan=pro&interval=year";
    let (encoded, escaped) = ("%2Fpricing%3Fplan%3Dpro%26interval%3Dyear", "/pricing?plan=pro&amp;interval=year");
    for (page, other) in [("/sign-in", "/sign-up"), ("/sign-up", "/sign-in")] {
        let asked = app.visitor().text(&format!("{page}?next={encoded}")).await;
        let fields = [("email", "ann@example.com"), ("password", "short"), ("next", next)];
        let rejected = app.visitor().form(page, &fields).await;
        assert_eq!(rejected.status(), REJECTED);
        for text in [asked, rejected.text().await.unwrap()] {
            assert!(text.contains(&format!("href=\"{other}?next={encoded}\"")), "{page}: {text}");
            assert!(text.contains(&format!("name=\"next\" value=\"{escaped}\"")), "{page}: {text}");
        }
    }
    let fields = [("email", "ann@example.com"), ("password", PASSWORD), ("next", next)];
    for page in ["/sign-up", "/sign-in"] {
        assert_eq!(redirect(&app.visitor().form(page, &fields).await), next);
    }
    // Another site's page is no way back.
    for elsewhere in ["", "https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)"] {
        let fields = [("email", "ann@example.com"), ("password", PASSWORD), ("next", elsewhere)];
        assert_eq!(redirect(&app.visitor().form("/sign-in", &fields).await), "/chat", "{elsewhere}");
    }

    assert_eq!(redirect(&app.visitor().get("/usage?days=7").await), "/sign-in?next=/usage%3Fdays%3D7");
    let left = app.visitor();
    let checkout = async |referer: String| {
        let form = left.request("POST", "/billing/checkout").header("referer", referer).form(&[("plan", "pro")]);
        redirect(&form.send().await.unwrap())
    };
    let back = "/sign-in?next=/pricing%3Fplan%3Dpro%26interval%3Dyear";
    assert_eq!(checkout(format!("{}{next}", app.url)).await, back);
    for foreign in ["https://evil.example/pricing", "about:blank", ""] {
        assert_eq!(checkout(foreign.to_owned()).await, "/sign-in", "{foreign}");
    }
    let ann = sign_in(&app, "ann@example.com", PASSWORD).await;
    assert_eq!(ann.get(next).await.status(), StatusCode::OK);
}
