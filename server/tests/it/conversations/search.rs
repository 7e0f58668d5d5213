//! Search in a user's own titles and messages.

use super::conversation;
use crate::app::TestApp;
use crate::visitor::problem;
use http::StatusCode;
use std::collections::BTreeSet;

/// Messages are found by all of their words, titles by a part of them or a similar spelling. Matches are marked, everything else is text,
/// and nobody finds what is another user's.
#[tokio::test]
async fn users_find_their_own_titles_and_messages() {
    let app = TestApp::new().await;
    let (ann, eve) = (app.user("ann@example.com").await, app.user("eve@example.com").await);
    let lease = conversation(&ann, "{{words:1}} When does my <b>Mietvertrag</b> end?").await;
    conversation(&ann, "{{words:1}} A poem about autumn").await;
    conversation(&eve, "{{words:1}} The Mietvertrag of Eve").await;
    let page = ann.text("/search?q=mietvertrag+END").await;
    let message: uuid::Uuid = app.one("select message_id from message where body like '%<b>%'").await;
    assert!(page.contains(&format!("href=\"/chat/{lease}?message={message}#m-{message}\"")), "{page}");
    assert!(page.contains("&lt;b&gt;<mark>Mietvertrag</mark>&lt;/b&gt; <mark>end</mark>?"), "{page}");
    assert!(!page.contains("of Eve") && !page.contains("autumn") && !page.contains("<leptos-island"), "{page}");
    // The last word may be the beginning of a longer one; the others are whole.
    assert!(ann.text("/search?q=my+miet").await.contains("<mark>Miet</mark>vertrag"));
    assert!(!ann.text("/search?q=miet+my").await.contains("?message="));
    // A title by a part of it, and by another spelling.
    for query in ["mietvertr", "mitvertrag"] {
        let page = ann.text(&format!("/search?q={query}")).await;
        assert!(
            page.contains("<h2>Conversations</h2>") && page.contains(&format!("href=\"/chat/{lease}\"")),
            "{query}: {page}"
        );
    }
    let palette = ann.text("/search/results?q=autumn").await;
    assert!(palette.contains("<mark>autumn</mark>") && !palette.contains("<html"), "{palette}");
    assert!(eve.text("/search?q=autumn").await.contains("Nothing found for “autumn”"));
    // Responses are shown without their Markdown.
    conversation(&ann, "How does a lease end?").await;
    let page = ann.text("/search?q=receipt").await;
    assert!(page.contains("Send notice in writing, and keep the <mark>receipt</mark>. Read the clause"), "{page}");
    // An archived conversation is found too.
    app.sql("update conversation set archived_at = now()").await;
    assert!(ann.text("/search?q=autumn").await.contains(", archived"));
    // What a query could mean to Postgres is text.
    for query in ["", "%26%7C!", "'", "a%3A*%20%26", "%25", "%5C", "%00x"] {
        assert_eq!(ann.get(&format!("/search?q={query}")).await.status(), StatusCode::OK, "{query}");
    }
    assert_eq!(app.visitor().get("/search/results?q=autumn").await.status(), StatusCode::UNAUTHORIZED);
}

/// Results come in pages, newest first, each message once. A text that is too long is explained, and stays in its field.
#[tokio::test]
async fn results_have_pages() {
    let app = TestApp::new().await;
    let ann = app.user("ann@example.com").await;
    conversation(&ann, "{{words:1}}").await;
    app.sql(
        "insert into message (message_id, conversation_id, turn_id, role, body, status, created_at)
         select ('01900000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, conversation_id, gen_random_uuid(), 'user', 'heron ' || n, 'finished', now()
         from conversation, generate_series(1, 45) n",
    )
    .await;
    let mut next = Some("/search?q=heron".to_owned());
    let (mut found, mut pages) = (Vec::new(), 0);
    while let Some(path) = next {
        let page = ann.text(&path).await;
        let numbers = page.split("<mark>heron</mark> ").skip(1).map(|rest| rest.split('<').next().unwrap().to_owned());
        found.extend(numbers);
        let older = page.split("<a href=\"").skip(1).find(|rest| rest.contains(">Older messages<"));
        let older = older.filter(|rest| rest.split("</a>").next().unwrap().contains("Older messages"));
        next = older.map(|rest| rest.split('"').next().unwrap().replace("&amp;", "&"));
        pages += 1;
    }
    assert_eq!((found.len(), found.iter().collect::<BTreeSet<_>>().len(), pages), (45, 45, 3));
    assert_eq!((found[0].as_str(), found[44].as_str()), ("45", "1"));
    let long = "x".repeat(201);
    let page = ann.text(&format!("/search?q={long}")).await;
    assert!(page.contains("Search for at most 200 characters.") && page.contains(&long), "{page}");
    let refused = ann.get(&format!("/search/results?q={long}")).await;
    assert_eq!(problem(refused).await["field"], "q");
}
