//! Accounts: sign-up and sign-in forms, passwords, sessions.

use crate::app::TestApp;
use http::StatusCode;
use server::cli::{Admin, Command};
use sha2::{Digest as _, Sha256};

#[tokio::test]
async fn user_can_sign_up_sign_out_and_sign_in() {
    let app = TestApp::new().await;
    let mut ann = app.user("Ann@Example.com").await;
    let first = ann.cookie.clone();
    assert_eq!(ann.get("/chat").await.status(), StatusCode::OK);
    let out = ann.form("/sign-out", &[]).await;
    assert_eq!((out.status(), &out.headers()["location"]), (StatusCode::SEE_OTHER, &"/".parse().unwrap()));
    ann.cookie = first;
    let gone = ann.get("/chat").await;
    assert_eq!(
        (gone.status(), gone.headers()["location"].to_str().unwrap()),
        (StatusCode::SEE_OTHER, "/sign-in?next=/chat")
    );
    let back =
        ann.form("/sign-in", &[("email", "ann@example.COM"), ("password", "correct horse"), ("next", "/usage")]).await;
    assert_eq!((back.status(), back.headers()["location"].to_str().unwrap()), (StatusCode::SEE_OTHER, "/usage"));
    assert_eq!(ann.get("/usage").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn sign_in_issues_a_new_token_and_stores_only_its_hash() {
    use base64::Engine as _;
    let app = TestApp::new().await;
    let mut ann = app.user("ann@example.com").await;
    let before = ann.cookie.clone().unwrap();
    ann.form("/sign-in", &[("email", "ann@example.com"), ("password", "correct horse")]).await;
    let after = ann.cookie.clone().unwrap();
    assert_ne!(before, after);
    let token =
        base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(after.strip_prefix("session=").unwrap()).unwrap();
    let stored: Vec<Vec<u8>> = sqlx::query_scalar("select token_hash from session").fetch_all(&app.db).await.unwrap();
    assert_eq!(stored, [Sha256::digest(&token).to_vec()]);
    let rows: String = app.one("select coalesce(string_agg(session::text, ' '), '') from session").await;
    assert!(!rows.contains(after.strip_prefix("session=").unwrap()));
}

#[tokio::test]
async fn invalid_input_is_reported_by_field_and_keeps_the_email() {
    let app = TestApp::new().await;
    app.user("taken@example.com").await;
    for (fields, sentence) in [
        ([("email", "not an address"), ("password", "long enough here")], "Enter a valid email address"),
        ([("email", "a@b.co"), ("password", "short")], "Use at least 12 characters"),
        ([("email", "Taken@Example.com"), ("password", "long enough here")], "account with this email already exists"),
    ] {
        let response = app.visitor().form("/sign-up", &fields).await;
        assert_eq!(response.status(), StatusCode::UNPROCESSABLE_ENTITY);
        let page = response.text().await.unwrap();
        assert!(page.contains(sentence), "{sentence}");
        assert!(page.contains(&format!("value=\"{}\"", fields[0].1)), "{}", fields[0].1);
        assert!(!page.contains(fields[1].1), "the page contains the password");
        assert!(page.contains("aria-invalid=\"true\""));
    }
    for fields in [
        [("email", "taken@example.com"), ("password", "wrong password")],
        [("email", "nobody@example.com"), ("password", "wrong password")],
    ] {
        let response = app.visitor().form("/sign-in", &fields).await;
        assert_eq!(response.status(), StatusCode::UNPROCESSABLE_ENTITY);
        let page = response.text().await.unwrap();
        assert!(page.contains("Incorrect email or password") && page.contains(fields[0].1));
    }
}

/// Field note 41: form fields that a client may not set are ignored.
#[tokio::test]
async fn a_form_cannot_make_an_admin_or_pick_a_plan() {
    let app = TestApp::new().await;
    let mut eve = app.visitor();
    let fields = [
        ("email", "eve@example.com"),
        ("password", "long enough here"),
        ("role", "admin"),
        ("plan_id", "max"),
        ("is_admin", "true"),
        ("subject", "x"),
    ];
    assert_eq!(eve.form("/sign-up", &fields).await.status(), StatusCode::SEE_OTHER);
    assert_eq!(app.one::<String>("select role || ' ' || plan_id from account").await, "member free");
    assert_eq!(eve.get("/admin").await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn admin_emails_grant_admin_on_loopback_only() {
    let app = TestApp::new().await;
    assert_eq!(app.user("admin@example.com").await.get("/admin").await.status(), StatusCode::OK);

    let public = TestApp::with(&[("PUBLIC_URL", "https://chat.example.com"), ("TRUSTED_PROXIES", "none")]).await;
    let mut first = public.visitor();
    let response = first.form("/sign-up", &[("email", "admin@example.com"), ("password", "correct horse")]).await;
    let cookies: Vec<&str> = response.headers().get_all("set-cookie").iter().map(|one| one.to_str().unwrap()).collect();
    assert_eq!(cookies.len(), 2, "{cookies:?}");
    for (cookie, name) in cookies.into_iter().zip(["__Host-session=", "__Host-browser="]) {
        for part in [name, "HttpOnly", "SameSite=Lax", "Secure", "Path=/"] {
            assert!(cookie.contains(part), "{part} in {cookie}");
        }
    }
    assert_eq!(first.get("/admin").await.status(), StatusCode::NOT_FOUND);
    // Until the address is verified, anyone may have created the account.
    let add = async |email: &str| {
        let command = Command::Admin(Admin::Add { email: email.to_owned() });
        server::cli::run(command, &public.config, &mut std::io::sink()).await
    };
    let refused = add("ADMIN@example.com").await.unwrap_err().to_string();
    assert!(refused.contains("hasn't confirmed its email"), "{refused}");
    assert_eq!(first.get("/admin").await.status(), StatusCode::NOT_FOUND);
    assert!(add("nobody@example.com").await.unwrap_err().to_string().contains("Sign up first"));
    public.verify("admin@example.com").await;
    add("ADMIN@example.com").await.unwrap();
    assert_eq!(first.get("/admin").await.status(), StatusCode::OK);
    assert_eq!(public.one::<String>("select action from audit").await, "make_admin");
}

#[tokio::test]
async fn cross_site_posts_are_refused() {
    let app = TestApp::new().await;
    let ann = app.user("ann@example.com").await;
    for (name, value) in
        [("sec-fetch-site", "cross-site"), ("sec-fetch-site", "same-site"), ("origin", "https://evil.example")]
    {
        let response = ann.request("POST", "/sign-out").header(name, value).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::FORBIDDEN, "{name}: {value}");
    }
    assert_eq!(ann.get("/chat").await.status(), StatusCode::OK);
    let own = ann.request("POST", "/sign-out").header("sec-fetch-site", "same-origin").send().await.unwrap();
    assert_eq!(own.status(), StatusCode::SEE_OTHER);
}
