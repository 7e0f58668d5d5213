//! The HTML view against plain text, and the page of a long conversation.

use crate::{MESSAGE, one_by_one};
use anyhow::ensure;
use bench::process::{Database, Process};
use bench::user::{User, page, time_to_first_block, time_to_first_token};
use bench::{ms, percentile, print_result};
use std::time::Duration;

/// Number of messages in the long conversation.
const MESSAGES: usize = 2_000;
/// How often its page is opened.
const OPENED: usize = 200;

/// Prints the server's CPU time per turn that is read as HTML, and that of plain text, which is measured before (`before`) and after it.
pub async fn compare(server: &Process, user: &User, before: Duration) -> anyhow::Result<()> {
    let (_, html) = one_by_one(server, async || time_to_first_block(user, MESSAGE).await).await?;
    let (_, after) = one_by_one(server, async || time_to_first_token(user, MESSAGE).await).await?;
    let text = (before + after) / 2;
    let ratio = html.as_secs_f64() / text.as_secs_f64();
    let line = format!("text {}  HTML {}  ({ratio:.2} times)", ms(text), ms(html));
    print_result("CPU time per turn of 20 deltas, HTML view", &line)
}

/// Adds messages to one of the user's conversations, and prints how long its page takes.
pub async fn open_long_conversation(db: &Database, user: &User) -> anyhow::Result<()> {
    let sql = format!(
        "with longest as (select conversation_id from conversation order by updated_at desc limit 1)
         , added as (
           insert into message (message_id, parent_id, conversation_id, turn_id, role, body, status, model, created_at)
           select ('01900000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid,
                case when n > 1 then ('01900000-0000-7000-8000-' || lpad(to_hex(n - 1), 12, '0'))::uuid end, conversation_id,
                ('01900000-0000-7000-9000-' || lpad(to_hex(n / 2), 12, '0'))::uuid,
                case when n % 2 = 0 then 'user' else 'assistant' end,
                'Line ' || n || E' with **words**.\\n\\n```rust\\nfn main() {{}}\\n```\\n', 'finished',
                case when n % 2 = 1 then 'claude-haiku-5-5' end, now()
           from longest, generate_series(1, {MESSAGES}) n
         )
         update conversation c set leaf_id = ('01900000-0000-7000-8000-' || lpad(to_hex({MESSAGES}), 12, '0'))::uuid
         from longest l where l.conversation_id = c.conversation_id"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(db.pool()).await?;
    let sql = "select conversation_id::text from conversation order by updated_at desc limit 1";
    let path = format!("/chat/{}", db.one::<String>(sql).await?);
    let (first, size) = page(user, &path).await?;
    let mut times = Vec::with_capacity(OPENED);
    for _ in 0..OPENED {
        let (time, bytes) = page(user, &path).await?;
        ensure!(bytes <= size * 2, "the page grew to {bytes} bytes");
        times.push(time);
    }
    let (half, most) = (percentile(&mut times, 50), percentile(&mut times, 99));
    let line = format!("first {}  then p50 {}  p99 {}  ({} KiB)", ms(first), ms(half), ms(most), size / 1_024);
    print_result(&format!("page of a conversation of {MESSAGES} messages"), &line)
}
