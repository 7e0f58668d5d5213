//! The terms: accepted by creating an account, and stored with their version and time.

use crate::app::{PASSWORD, TestApp};
use domain::brand;
use http::StatusCode;

#[tokio::test]
async fn sign_up_stores_the_version_of_the_terms() {
    let app = TestApp::new().await;
    let page = app.visitor().text("/sign-up").await;
    assert!(
        page.contains("By creating an account you accept")
            && page.contains("href=\"/terms\"")
            && page.contains("href=\"/privacy\""),
        "{page}"
    );
    app.user("ann@example.com").await;
    assert_eq!(app.one::<String>("select terms_version from account").await, brand::TERMS_VERSION);
    assert!(
        app.one::<bool>("select terms_accepted_at between now() - interval '10 minutes' and now() from account").await
    );
}

/// What is stored is the version that the form showed. If that isn't the current one, or the form has none, no account is created.
#[tokio::test]
async fn a_form_with_other_terms_comes_back_with_what_was_typed() {
    let app = TestApp::new().await;
    let current = format!("name=\"terms\" value=\"{}\"", brand::TERMS_VERSION);
    let typed = [("email", "ann@example.com"), ("name", "Ann Lee"), ("password", PASSWORD), ("next", "/usage?days=7")];
    for shown in ["2020-01-01", ""] {
        let response = app.visitor().form("/sign-up", &[&typed[..], &[("terms", shown)]].concat()).await;
        assert_eq!(response.status(), StatusCode::UNPROCESSABLE_ENTITY, "{shown}");
        let page = response.text().await.unwrap();
        for part in ["The terms have changed", "ann@example.com", "Ann Lee", "value=\"/usage?days=7\"", &current] {
            assert!(page.contains(part), "{part}: {page}");
        }
        assert!(!page.contains(PASSWORD), "{page}");
    }
    assert_eq!(app.one::<i64>("select count(*) from account").await, 0);
    let response = app.visitor().form("/sign-up", &typed).await;
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    assert_eq!(app.one::<String>("select terms_version from account").await, brand::TERMS_VERSION);
}

/// An account that is older than the record of the terms has neither, and keeps working.
#[tokio::test]
async fn earlier_accounts_have_no_version() {
    let app = TestApp::new().await;
    let ann = app.user("ann@example.com").await;
    app.sql("update account set terms_version = null, terms_accepted_at = null").await;
    assert!(ann.text("/settings").await.contains("ann@example.com"));
    let half = sqlx::query("update account set terms_version = 'x'").execute(&app.db).await.unwrap_err();
    assert!(half.to_string().contains("account_terms"), "{half}");
}
