//! The terms: accepted by creating an account, and stored with their version and time.

use crate::app::TestApp;
use domain::brand;

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
