//! The data of the landing page, which all requests share for a second.

use crate::app::TestApp;
use std::time::Duration;

/// Visitors see plans and models while Postgres can't be read, and a change soon after it was made.
#[tokio::test]
async fn the_landing_page_outlives_a_failing_database() {
    let app = TestApp::new().await;
    let visitor = app.visitor();
    assert!(visitor.text("/").await.contains("<h2>Pro</h2>"));
    app.sql("alter table plan rename to plan_gone").await;
    // Shows what is kept, at first without a query. Then one fails.
    for pause in [0, 1_100, 0] {
        tokio::time::sleep(Duration::from_millis(pause)).await;
        let page = visitor.text("/").await;
        assert!(page.contains("<h2>Pro</h2>") && !page.contains("Something went wrong"), "{page}");
    }
    app.sql("alter table plan_gone rename to plan; update plan set name = 'Prime' where plan_id = 'pro'").await;
    let shown = async {
        while !visitor.text("/").await.contains("<h2>Prime</h2>") {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), shown).await.expect("the plan's new name");
}
