//! The chat page reads a conversation's running turn and its messages in two statements. Whatever happens between them, the page has the
//! response once.

use crate::app::TestApp;
use uuid::Uuid;

/// Makes the only turn run again, and end while the first of the two statements runs, whichever that is: the policies of both tables call a
/// function for each row that the server reads. What it writes is committed with that statement, which doesn't see it; the next one does.
const ENDS_IN_BETWEEN: &str = "
    create table answer as select * from message where role = 'assistant';
    delete from message where role = 'assistant';
    update conversation set leaf_id = (select message_id from message);
    update turn set ended_at = null, alive_until = now() + interval '1 hour';
    create function end_turn(id uuid) returns boolean language plpgsql security definer as $$
    begin
      -- Not in statements of the server's jobs.
      if current_query() like '%conversation_id = $2%' then
        insert into message select * from answer where turn_id = id on conflict do nothing;
        update turn set ended_at = now() where turn_id = id and ended_at is null;
      end if;
      return true;
    end $$;
    create policy end_turn on turn using (end_turn(turn_id));
    create policy end_turn on message using (end_turn(turn_id));
    alter table turn enable row level security;
    alter table message enable row level security";

#[tokio::test]
async fn a_turn_that_ends_between_the_reads_of_the_chat_page_is_shown_once() {
    let app = TestApp::new().await;
    let ann = app.user("ann@example.com").await;
    ann.send_and_read("{{words:3}} please").await;
    app.until("select bool_and(meter_settled_at is not null) from turn").await;
    let conversation: Uuid = app.one("select conversation_id from conversation").await;
    app.sql(ENDS_IN_BETWEEN).await;
    assert!(app.one::<bool>("select bool_and(ended_at is null) from turn").await);
    let page = ann.text(&format!("/chat/{conversation}")).await;
    assert!(
        app.one::<bool>("select bool_and(ended_at is not null) from turn").await,
        "the turn ends while the page reads it; `end_turn` must know the statements"
    );
    assert_eq!(page.matches("word3").count(), 1, "{page}");
    assert!(!page.contains("data-running="), "the response isn't followed as well: {page}");
}
