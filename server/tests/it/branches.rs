//! The tree of a conversation's messages: edited questions, regenerated responses, and the path that the page shows and a model is sent.

mod continued;

use crate::app::TestApp;
use crate::visitor::{EventReader, TestClient, events, problem};
use domain::TurnEvent;
use http::StatusCode;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use uuid::Uuid;

const MODEL: &str = "claude-haiku-4-5";

/// A message on the page.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Shown {
    id: String,
    is_question: bool,
    text: String,
    /// The message before it, of a question.
    parent: Option<String>,
    /// The turn of a response.
    turn: Option<String>,
    /// The neighboring versions.
    others: Vec<String>,
}

fn attribute(html: &str, name: &str) -> Option<String> {
    let rest = html.split_once(&format!(" {name}=\""))?.1;
    Some(rest.split('"').next().unwrap_or_default().to_owned())
}

/// Returns the messages of a conversation as its page has them. A response of the fake provider is `word1 word2 …`.
async fn shown(client: &TestClient, conversation: &str) -> Vec<Shown> {
    let html = client.text(&format!("/chat/{conversation}/messages")).await;
    let articles = html.split("<article").skip(1);
    articles
        .map(|article| {
            let head = article.split('>').next().unwrap();
            let source = attribute(head, "data-source");
            let answer = article.split_once("class=\"markdown\"").map(|(_, rest)| rest.split("</div>").next().unwrap());
            let words = answer.unwrap_or_default().matches("word").count();
            Shown {
                id: attribute(head, "id").unwrap().strip_prefix("m-").unwrap().to_owned(),
                is_question: source.is_some(),
                text: source.unwrap_or_else(|| text_of(words)),
                parent: attribute(head, "data-parent"),
                turn: attribute(head, "data-turn"),
                others: article.split("<button").filter_map(|button| attribute(button, "value")).collect(),
            }
        })
        .collect()
}

/// Returns the response to `{{words:n}}`.
fn text_of(words: usize) -> String {
    (1..=words).map(|n| format!("word{n} ")).collect::<String>().trim().to_owned()
}

fn texts(path: &[Shown]) -> Vec<&str> {
    path.iter().map(|message| message.text.as_str()).collect()
}

/// Sends a message and returns its conversation.
async fn begin(client: &TestClient, text: &str) -> String {
    let all = client.send_and_read(text).await;
    let TurnEvent::Turn { conversation_id, .. } = &all[0].1 else { panic!("{all:?}") };
    conversation_id.to_string()
}

/// Sends a request that succeeds, to its end.
async fn send(client: &TestClient, body: Value) {
    let response = client.post(&body).await;
    assert_eq!(response.status(), StatusCode::OK, "{body}");
    let all = events(response).await;
    assert!(matches!(all.last(), Some((_, TurnEvent::Finish { .. }))), "{all:?}");
}

async fn choose(client: &mut TestClient, conversation: &str, message: &str) -> StatusCode {
    client.form(&format!("/chat/{conversation}/branch"), &[("message", message)]).await.status()
}

/// Returns the texts that the provider was sent last.
fn sent(app: &TestApp) -> Vec<String> {
    let call = app.provider.served_calls().pop().unwrap();
    call.sent.into_iter().map(|message| message.text.trim().to_owned()).collect()
}

#[tokio::test]
async fn an_edited_question_is_another_version_and_nothing_is_lost() {
    let app = TestApp::new().await;
    app.limits("free", 1_000, 10_000_000, 10).await;
    let (mut ann, mut eve) = (app.user("ann@example.com").await, app.user("eve@example.com").await);
    let chat = begin(&ann, "{{words:3}} one").await;
    send(&ann, json!({"conversation_id": chat, "model": MODEL, "text": "{{words:4}} two"})).await;
    let old = shown(&ann, &chat).await;
    assert_eq!(texts(&old), ["{{words:3}} one", &text_of(3), "{{words:4}} two", &text_of(4)]);
    // Another first message.
    send(&ann, json!({"conversation_id": chat, "model": MODEL, "text": "{{words:5}} other", "parent_id": "root"}))
        .await;
    assert_eq!(sent(&app), ["{{words:5}} other"]);
    let new = shown(&ann, &chat).await;
    assert_eq!(texts(&new), ["{{words:5}} other", &text_of(5)]);
    assert_eq!((&new[0].others, new[0].parent.as_deref()), (&vec![old[0].id.clone()], None));
    // Another second message, from the old branch, without leaving the new one first.
    let body = json!({"conversation_id": chat, "model": MODEL, "text": "{{words:6}} second", "parent_id": old[1].id});
    send(&ann, body).await;
    assert_eq!(sent(&app), ["{{words:3}} one", &text_of(3), "{{words:6}} second"]);
    // The way back, as a form; the page that a link opens at a message of another branch, which stays another branch.
    assert_eq!(choose(&mut ann, &chat, &old[2].id).await, StatusCode::SEE_OTHER);
    assert_eq!(texts(&shown(&ann, &chat).await), texts(&old));
    let page = ann.text(&format!("/chat/{chat}?message={}", new[1].id)).await;
    assert!(page.contains(&format!("id=\"m-{}\"", new[1].id)) && page.contains("id=\"composer\""), "{page}");
    assert_eq!(texts(&shown(&ann, &chat).await), texts(&old));
    // Another user finds none of it, and what isn't there isn't found.
    for message in [new[0].id.as_str(), "1", &Uuid::now_v7().to_string()] {
        assert_eq!(choose(&mut eve, &chat, message).await, StatusCode::NOT_FOUND);
    }
    assert_eq!(choose(&mut ann, &chat, &Uuid::now_v7().to_string()).await, StatusCode::NOT_FOUND);
    let hers = begin(&eve, "{{words:1}} mine").await;
    assert_eq!(choose(&mut eve, &hers, &new[0].id).await, StatusCode::NOT_FOUND);
    for (path, conversation) in [("/api/chat", &hers), ("/api/estimate", &hers), ("/api/chat", &chat)] {
        let body = json!({"conversation_id": conversation, "text": "hi", "parent_id": new[1].id});
        let response = eve.request("POST", path).json(&body).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(eve.get(&format!("/chat/{hers}?message={}", new[0].id)).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(texts(&shown(&ann, &chat).await), texts(&old), "nothing has changed");
    assert_eq!(app.one::<i64>("select count(*) from ai_usage").await, 5);
}

/// A turn continues in a branch that isn't shown, and its response is stored there.
#[tokio::test]
async fn turns_in_other_branches_continue() {
    let app = TestApp::new().await;
    app.limits("free", 1_000, 10_000_000, 10).await;
    let mut ann = app.user("ann@example.com").await;
    let chat = begin(&ann, "{{words:3}} one").await;
    let old = shown(&ann, &chat).await;
    let body =
        json!({"conversation_id": chat, "model": MODEL, "text": "{{words:8}}{{hold}} other", "parent_id": "root"});
    let mut running = EventReader::new(ann.post(&body).await);
    let Some((_, TurnEvent::Turn { turn_id, .. })) = running.next().await else { panic!("no turn") };
    assert!(ann.text(&format!("/chat/{chat}")).await.contains(&format!("data-running=\"{turn_id}\"")));
    assert_eq!(choose(&mut ann, &chat, &old[0].id).await, StatusCode::SEE_OTHER);
    assert!(!ann.text(&format!("/chat/{chat}")).await.contains("data-running="), "the old branch is shown");
    // The old branch goes on meanwhile.
    send(&ann, json!({"conversation_id": chat, "model": MODEL, "text": "{{words:2}} two"})).await;
    assert_eq!(sent(&app), ["{{words:3}} one", &text_of(3), "{{words:2}} two"]);
    app.provider.release();
    while running.next().await.is_some() {}
    let kept = shown(&ann, &chat).await;
    assert_eq!(texts(&kept), ["{{words:3}} one", &text_of(3), "{{words:2}} two", &text_of(2)]);
    assert_eq!(choose(&mut ann, &chat, &kept[0].others[0]).await, StatusCode::SEE_OTHER);
    assert_eq!(texts(&shown(&ann, &chat).await), ["{{words:8}}{{hold}} other", &text_of(8)]);
}

/// A message that another tab sends while a response is in progress follows that response once it is stored.
#[tokio::test]
async fn a_message_sent_during_a_response_follows_it() {
    let app = TestApp::new().await;
    app.limits("free", 1_000, 10_000_000, 10).await;
    let ann = app.user("ann@example.com").await;
    let mut first = EventReader::new(ann.send_message("{{words:8}}{{hold}} one").await);
    let Some((_, TurnEvent::Turn { conversation_id: chat, .. })) = first.next().await else { panic!("no turn") };
    let chat = chat.to_string();
    // Both questions reach the model as one, so this response is held as well.
    let second = json!({"conversation_id": chat, "model": MODEL, "text": "{{words:2}} two"});
    let mut second = EventReader::new(ann.post(&second).await);
    app.provider.release();
    while first.next().await.is_some() {}
    while second.next().await.is_some() {}
    let path = shown(&ann, &chat).await;
    assert_eq!(texts(&path), ["{{words:8}}{{hold}} one", &text_of(8), "{{words:2}} two", &text_of(2)]);
    assert_eq!(path[2].parent.as_deref(), Some(path[1].id.as_str()));
    // A question that has a response is no parent.
    let body = json!({"conversation_id": chat, "model": MODEL, "text": "three", "parent_id": path[0].id});
    let response = ann.post(&body).await;
    assert_eq!((response.status(), problem(response).await["kind"].as_str()), (StatusCode::CONFLICT, Some("conflict")));
}

/// A message isn't added to another branch than the one that the model was to be sent.
#[tokio::test]
async fn a_message_is_refused_if_another_branch_is_chosen_meanwhile() {
    let app = TestApp::new().await;
    app.limits("free", 1_000, 10_000_000, 10).await;
    let ann = app.user("ann@example.com").await;
    let chat = begin(&ann, "{{words:3}} one").await;
    let old = shown(&ann, &chat).await;
    send(&ann, json!({"conversation_id": chat, "model": MODEL, "text": "{{words:4}} other", "parent_id": "root"}))
        .await;
    let body = json!({"conversation_id": chat, "model": MODEL, "text": "{{words:1}} next"});
    // The other branch is chosen after the message's path was loaded and before it is written.
    let mut choosing = app.db.begin().await.unwrap();
    let chosen = sqlx::query("update conversation set leaf_id = $1").bind(old[1].id.parse::<Uuid>().unwrap());
    chosen.execute(&mut *choosing).await.unwrap();
    let waits =
        "select exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock')";
    let (response, ()) = tokio::join!(ann.post(&body), async {
        app.until(waits).await;
        choosing.commit().await.unwrap();
    });
    assert_eq!(response.status(), StatusCode::CONFLICT);
    assert_eq!(texts(&shown(&ann, &chat).await), ["{{words:3}} one", &text_of(3)]);
    send(&ann, body).await;
    assert_eq!(sent(&app), ["{{words:3}} one", &text_of(3), "{{words:1}} next"]);
}

/// A link to a message opens the part of a long conversation that has it.
#[tokio::test]
async fn a_page_opens_at_a_message() {
    let app = TestApp::new().await;
    let ann = app.user("ann@example.com").await;
    let chat = begin(&ann, "{{words:1}} last").await;
    app.sql(
        "insert into message (message_id, parent_id, conversation_id, turn_id, role, body, status, created_at)
         select ('01900000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid,
                case when n > 1 then ('01900000-0000-7000-8000-' || lpad((n - 1)::text, 12, '0'))::uuid end, conversation_id,
                gen_random_uuid(), case when n % 2 = 1 then 'user' else 'assistant' end, 'line ' || n, 'finished', now()
         from conversation, generate_series(1, 300) n;
         update message set parent_id = '01900000-0000-7000-8000-000000000300' where body like '%last'",
    )
    .await;
    let numbered = |n: i32| format!("01900000-0000-7000-8000-{n:012}");
    let page = ann.text(&format!("/chat/{chat}?message={}", numbered(100))).await;
    let has = |n: i32| page.contains(&format!("id=\"m-{}\"", numbered(n)));
    assert!(has(100) && has(109) && !has(110) && has(60) && !page.contains("id=\"composer\""), "{page}");
    let page = ann.text(&format!("/chat/{chat}?message={}", numbered(290))).await;
    assert!(page.contains(&format!("id=\"m-{}\"", numbered(290))) && page.contains("id=\"composer\""));
}

/// A conversation in the property test.
struct Conversation<'a> {
    app: &'a TestApp,
    user: TestClient,
    id: String,
    words: usize,
    rng: StdRng,
}

impl Conversation<'_> {
    /// Returns a message whose response has a length of its own, and that length.
    fn next_text(&mut self) -> (String, usize) {
        self.words += 1;
        (format!("{{{{words:{0}}}}} question {0}", self.words), self.words)
    }

    /// Returns a random message of the path; a question or a response.
    fn pick<'p>(&mut self, path: &'p [Shown], is_question: bool) -> (usize, &'p Shown) {
        let found: Vec<_> = path.iter().enumerate().filter(|(_, shown)| shown.is_question == is_question).collect();
        found[self.rng.random_range(0..found.len())]
    }

    /// Sends a turn, and compares what the provider was sent and what the page shows then with the expected path.
    async fn run(&self, body: Value, mut expected: Vec<String>, response: String) {
        send(&self.user, body).await;
        assert_eq!(sent(self.app), expected, "what is sent is what the page has shown");
        expected.push(response);
        assert_eq!(
            texts(&shown(&self.user, &self.id).await),
            expected,
            "the page shows what was sent, with its response"
        );
    }

    /// Makes a random change.
    async fn change(&mut self) {
        let path = shown(&self.user, &self.id).await;
        let upto = |index: usize| path[..index].iter().map(|message| message.text.clone()).collect::<Vec<_>>();
        match self.rng.random_range(0..7) {
            0 => {
                let (text, words) = self.next_text();
                let mut expected = upto(path.len());
                expected.push(text.clone());
                let body = json!({"conversation_id": self.id, "model": MODEL, "text": text});
                self.run(body, expected, text_of(words)).await;
            }
            1 | 2 => {
                let (text, words) = self.next_text();
                let (index, question) = self.pick(&path, true);
                let mut expected = upto(index);
                expected.push(text.clone());
                let parent = question.parent.clone().unwrap_or_else(|| "root".to_owned());
                let body = json!({"conversation_id": self.id, "model": MODEL, "text": text, "parent_id": parent});
                self.run(body, expected, text_of(words)).await;
            }
            3 => {
                let (index, response) = self.pick(&path, false);
                let (expected, words) = (upto(index), response.text.split_whitespace().count());
                self.run(json!({"retry_of": response.turn, "model": MODEL}), expected, text_of(words)).await;
            }
            4 | 5 => {
                let found: Vec<_> = path.iter().enumerate().filter(|(_, shown)| !shown.others.is_empty()).collect();
                let Some((index, message)) = found.get(self.rng.random_range(0..found.len().max(1))) else { return };
                let other = message.others[self.rng.random_range(0..message.others.len())].clone();
                assert_eq!(choose(&mut self.user, &self.id, &other).await, StatusCode::SEE_OTHER);
                let new = shown(&self.user, &self.id).await;
                assert_eq!((&new[..*index], &new[*index].id), (&path[..*index], &other));
                assert!(!new.last().unwrap().is_question, "to the end of the branch");
            }
            // A turn that its provider refuses is undone.
            _ => {
                let (_, question) = self.pick(&path, true);
                let parent = question.parent.clone().unwrap_or_else(|| "root".to_owned());
                let mut body = json!({"conversation_id": self.id, "model": MODEL, "text": "{{status:400}}"});
                if self.rng.random_range(0..2) == 0 {
                    body["parent_id"] = parent.into();
                }
                assert_eq!(self.user.post(&body).await.status(), StatusCode::BAD_GATEWAY);
                assert_eq!(shown(&self.user, &self.id).await, path, "the page is as before");
            }
        }
    }
}

/// After any edits, regenerations, changes of the version, undone turns and deletions, what is sent is what the page shows, and usage counts
/// every call.
#[tokio::test]
async fn what_is_sent_is_what_the_page_shows() {
    let app = TestApp::new().await;
    app.limits("free", 100_000, 1_000_000_000, 10).await;
    let user = app.user("ann@example.com").await;
    for seed in 0..4 {
        let id = begin(&user, "{{words:1}} first").await;
        let (user, rng) = (user.clone(), StdRng::seed_from_u64(seed));
        let mut chat = Conversation { app: &app, user, id, words: 1, rng };
        for _ in 0..25 {
            chat.change().await;
        }
        let used =
            "select count(*) filter (where status = 'finished')::text || ' ' || sum(output_tokens) from ai_usage";
        let before: String = app.one(used).await;
        let response = chat.user.form(&format!("/chat/{}/delete", chat.id), &[]).await;
        assert_eq!(response.status(), StatusCode::SEE_OTHER);
        app.sql("delete from conversation where deleted_at is not null").await;
        assert_eq!(app.one::<i64>("select count(*) from message").await, 0);
        assert_eq!(app.one::<String>(used).await, before, "a deletion changes no usage");
    }
    let served = app.provider.served_calls().len();
    assert_eq!(
        app.one::<i64>("select count(*) from ai_usage where status = 'finished'").await,
        i64::try_from(served).unwrap()
    );
}
