//! Sending mail, with retries after failures.

use super::{GOOD, buy, local_day, other_zone, selling};

/// Mail is queued in the transaction that causes it and sent by SMTP. After a temporary failure it is retried: here that of the first one,
/// with which Ann confirms her address. Days are those of her time zone, as on her billing page.
#[tokio::test]
async fn mail_is_sent_and_retried_after_a_temporary_failure() {
    let (port, mut mails) = smtp().await;
    let app =
        selling(&[("SMTP_URL", &format!("smtp://127.0.0.1:{port}")), ("MAIL_FROM", "The App <app@example.com>")]).await;
    sqlx::query("update plan set trial_days = 2 where plan_id = 'pro'").execute(&app.db).await.unwrap();
    let mut ann = app.user("ann@example.com").await;
    let zone = other_zone();
    ann.form("/settings/time-zone", &[("zone", zone)]).await;
    buy(&mut ann, "pro", GOOD).await;
    // The retry, two seconds later, removes the error.
    app.until("select count(*) = 1 from job where attempts = 1 and (done_at is not null or error like '%451%')").await;
    sqlx::query("update job set run_at = now()").execute(&app.db).await.unwrap();
    let sent = [mails.recv().await.unwrap(), mails.recv().await.unwrap()];
    let day = local_day(&app, zone, "select trial_end from subscription").await;
    assert!(ann.text("/settings/billing").await.contains(&format!("Your Pro trial ends on {day}.")));
    let trial_ends = format!("Subject: Your Pro trial ends on {day}");
    for subject in [trial_ends.as_str(), "Subject: Confirm your email address"] {
        let mail =
            sent.iter().find(|mail| mail.contains(subject)).unwrap_or_else(|| panic!("no {subject} in {sent:?}"));
        for part in ["From: \"The App\" <app@example.com>", "To: ann@example.com", "text/plain", "text/html"] {
            assert!(mail.contains(part), "{part} in {mail}");
        }
    }
    app.until("select bool_and(done_at is not null) from job").await;
}

/// Starts a minimal SMTP server that rejects the first recipient with a temporary failure. Returns its port and the mails it receives.
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
                        let mut mail = String::new();
                        while let Ok(Some(line)) = lines.next_line().await {
                            if line == "." {
                                break;
                            }
                            mail.push_str(&line);
                            mail.push('\n');
                        }
                        sender.send(mail).unwrap();
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
