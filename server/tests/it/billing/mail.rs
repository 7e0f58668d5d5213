//! Mail is sent, and retried if that fails.

use super::{GOOD, buy, selling};

/// Mail is queued with its cause and handed over by SMTP; a server that says later is asked later.
#[tokio::test]
async fn mail_is_handed_over_and_tried_again() {
    let (port, mut letters) = smtp().await;
    let app =
        selling(&[("SMTP_URL", &format!("smtp://127.0.0.1:{port}")), ("MAIL_FROM", "The House <app@example.com>")])
            .await;
    sqlx::query("update plan set trial_days = 2 where plan_id = 'pro'").execute(&app.db).await.unwrap();
    let mut ann = app.user("ann@example.com").await;
    buy(&mut ann, "pro", GOOD).await;
    app.until("select count(*) = 1 from job where attempts = 1 and done_at is null and error like '%451%'").await;
    sqlx::query("update job set run_at = now()").execute(&app.db).await.unwrap();
    let letter = letters.recv().await.unwrap();
    for said in [
        "From: \"The House\" <app@example.com>",
        "To: ann@example.com",
        "Subject: Your Pro trial ends on",
        "text/plain",
        "text/html",
    ] {
        assert!(letter.contains(said), "{said} in {letter}");
    }
    app.until("select bool_and(done_at is not null) from job").await;
}

/// A mail server of a few lines, which says "later" to the first letter.
async fn smtp() -> (u16, tokio::sync::mpsc::UnboundedReceiver<String>) {
    use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut refused = false;
        while let Ok((socket, _)) = listener.accept().await {
            let (read, mut write) = socket.into_split();
            let mut lines = BufReader::new(read).lines();
            write.write_all(b"220 test\r\n").await.unwrap();
            while let Ok(Some(line)) = lines.next_line().await {
                let answer = match line.split(' ').next().unwrap_or_default() {
                    "RCPT" if !refused => {
                        refused = true;
                        "451 later"
                    }
                    "DATA" => {
                        write.write_all(b"354 go on\r\n").await.unwrap();
                        let mut letter = String::new();
                        while let Ok(Some(line)) = lines.next_line().await {
                            if line == "." {
                                break;
                            }
                            letter.push_str(&line);
                            letter.push('\n');
                        }
                        sender.send(letter).unwrap();
                        "250 taken"
                    }
                    "QUIT" => "221 bye",
                    _ => "250 ok",
                };
                write.write_all(format!("{answer}\r\n").as_bytes()).await.unwrap();
            }
        }
    });
    (port, receiver)
}
