//! Exports of everything that belongs to an account, of all conversations, and of one. They are written page by page while they are sent, so
//! that their size needs no memory, and no connection to Postgres is held while a slow client reads.

mod archive;
mod attachments;
mod conversation;
mod records;

use crate::AppState;
use crate::failure::internal;
use archive::{Archive, Disconnected, Plain, Sink as _};
use bytes::Bytes;
pub(crate) use conversation::{FORMAT, Format, VERSION, download_name};
use domain::{Viewer, brand};
use store::export::ExportedConversation;
use store::usage_row::{self, UsageFilter};
use time::{Duration, OffsetDateTime};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// Number of chunks that may wait for the client.
const CHUNKS: usize = 4;
/// Number of conversations and of security events per query.
const PAGE: i64 = 500;
/// Number of ledger rows per query.
const USAGE_PAGE: i64 = 2_000;

/// Where an export's bytes go.
type Chunks = mpsc::Sender<std::io::Result<Bytes>>;
/// The bytes of an export as it is written.
pub(crate) type Stream = ReceiverStream<std::io::Result<Bytes>>;

/// Returns the export of everything that belongs to a user.
pub(crate) fn stream(app: &AppState, viewer: &Viewer) -> Stream {
    let (app, viewer) = (app.clone(), viewer.clone());
    written(move |chunks| async move { write(&app, &viewer, Archive::new(chunks, AppState::now())).await })
}

/// Returns the export of all conversations of a user, as a ZIP.
pub(crate) fn conversations(app: &AppState, viewer: &Viewer) -> Stream {
    let (app, viewer) = (app.clone(), viewer.clone());
    written(move |chunks| async move {
        let mut archive = Archive::new(chunks, AppState::now());
        write_conversations(&app, &viewer, &mut archive).await?;
        archive.finish().await
    })
}

/// Returns the export of one conversation.
pub(crate) fn conversation(
    app: &AppState,
    viewer: &Viewer,
    conversation: ExportedConversation,
    format: Format,
) -> Stream {
    let (app, viewer) = (app.clone(), viewer.clone());
    written(
        move |chunks| async move { conversation::write(&app, &viewer, &mut Plain(chunks), &conversation, format).await },
    )
}

/// Returns what `write` writes. A failure is logged and aborts the stream, so that a part isn't mistaken for the whole.
fn written<F>(write: impl FnOnce(Chunks) -> F) -> Stream
where
    F: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let (chunks, stream) = mpsc::channel(CHUNKS);
    let writing = write(chunks.clone());
    tokio::spawn(async move {
        if let Err(error) = writing.await
            && error.downcast_ref::<Disconnected>().is_none()
        {
            internal(&format!("{error:#}"));
            // A client that has disconnected needs no error.
            let _ = chunks.send(Err(std::io::Error::other("the export failed"))).await;
        }
    });
    ReceiverStream::new(stream)
}

async fn write(app: &AppState, viewer: &Viewer, mut archive: Archive) -> anyhow::Result<()> {
    archive.file("README.txt", readme(viewer, AppState::now()).as_bytes()).await?;
    archive.file("account.json", &records::account(app, viewer).await?).await?;
    archive.file("api_keys.json", &records::api_keys(app, viewer).await?).await?;
    archive.file("ways_to_sign_in.json", &records::ways_to_sign_in(app, viewer).await?).await?;
    archive.file("billing.json", &records::billing(app, viewer).await?).await?;
    archive.file("sessions.json", &records::sessions(app, viewer).await?).await?;
    archive.file("chat_settings.json", &records::chat_settings(app, viewer).await?).await?;
    archive.file("shared_links.json", &records::shared_links(app, viewer).await?).await?;
    write_events(app, viewer, &mut archive).await?;
    write_ratings(app, viewer, &mut archive).await?;
    write_usage(app, viewer, &mut archive).await?;
    write_conversations(app, viewer, &mut archive).await?;
    attachments::write(app, viewer, &mut archive).await?;
    archive.finish().await
}

/// Describes the files of the archive.
fn readme(viewer: &Viewer, now: OffsetDateTime) -> String {
    format!(
        "{name}: the data of {email}, exported on {date}. Times are in UTC.\r\n\r\n\
         account.json          your account: address, name, plan, time zone, the version of the terms that you accepted\r\n\
         api_keys.json         API keys that are not revoked, with their limits and without their secrets\r\n\
         ways_to_sign_in.json  accounts at other services, passkeys, and whether you have an authenticator app\r\n\
         billing.json          subscriptions and invoices, amounts in the smallest unit of the currency\r\n\
         sessions.json         the browsers in which you are signed in\r\n\
         chat_settings.json    your instructions and presets\r\n\
         ratings.json          your ratings of responses, with your comments\r\n\
         security_events.json  sign-ins and changes of your account in the last 180 days\r\n\
         shared_links.json     read-only links to copies of your conversations, without their URLs\r\n\
         usage.csv             every call of a model with its tokens, in UTF-8; for Excel, download \"CSV for Excel\" in the settings\r\n\
         conversations/        each conversation twice: as text (.md) and with all details (.json)\r\n\
         attachments.json      the names and messages of the files that you attached\r\n\
         attachments/          these files\r\n\r\n\
         The .json files of conversations have all versions of your messages and of the responses, and can be imported again: parent_id is\r\n\
         the preceding message, and leaf_id is the last message of the version that the page shows. The .md files have that version.\r\n\
         origin is a keyed hash of a network address. The address itself is not stored.\r\n\
         Passwords, links and recovery codes are stored as hashes only. These hashes, the keys of passkeys and the secret of an\r\n\
         authenticator app are not part of this export.\r\n",
        name = brand::NAME,
        email = viewer.email,
        date = now.date(),
    )
}

async fn write_events(app: &AppState, viewer: &Viewer, archive: &mut Archive) -> anyhow::Result<()> {
    let (mut list, mut after) = (archive.list("security_events.json")?, None);
    loop {
        let events = store::security_event::next(&app.db, viewer.user_id, after, PAGE).await?;
        let Some(last) = events.last() else { return list.end(archive).await };
        after = Some((last.created_at, last.security_event_id));
        list.add(archive, &events).await?;
    }
}

async fn write_ratings(app: &AppState, viewer: &Viewer, archive: &mut Archive) -> anyhow::Result<()> {
    let (mut list, mut after) = (archive.list("ratings.json")?, None);
    loop {
        let ratings = store::feedback::next(&app.db, viewer.user_id, after, PAGE).await?;
        let Some(last) = ratings.last() else { return list.end(archive).await };
        after = Some(last.turn_id);
        list.add(archive, &ratings).await?;
    }
}

async fn write_usage(app: &AppState, viewer: &Viewer, archive: &mut Archive) -> anyhow::Result<()> {
    let columns = crate::usage_csv::Columns { users: false, cost: viewer.plan.shows_cost };
    let (to, mut after) = (AppState::now() + Duration::DAY, None);
    archive.begin("usage.csv")?;
    archive.write(&crate::usage_csv::lines(&[], true, columns)?).await?;
    loop {
        let filter = UsageFilter { from: OffsetDateTime::UNIX_EPOCH, to, plan: None, model: None, search: None, after };
        let rows = usage_row::next_own(&app.db, viewer.user_id, &filter, USAGE_PAGE).await?;
        let Some(last) = rows.last() else { return Ok(()) };
        after = Some((last.created_at, last.ai_usage_id));
        archive.write(&crate::usage_csv::lines(&rows, false, columns)?).await?;
    }
}

async fn write_conversations(app: &AppState, viewer: &Viewer, archive: &mut Archive) -> anyhow::Result<()> {
    let (mut number, mut after) = (0, None);
    loop {
        let page = store::export::conversations(&app.db, viewer.user_id, after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = Some(last.id);
        for found in &page {
            number += 1;
            for format in [Format::Markdown, Format::Json] {
                archive.begin(&conversation::path(number, &found.title, format))?;
                conversation::write(app, viewer, archive, found, format).await?;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn a_client_that_disconnects_stops_the_export() {
        let (complete, completed) = oneshot::channel();
        let stream = written(move |chunks| async move {
            let mut file = Plain(chunks);
            for _ in 0..100 {
                file.write(b"a line").await?;
            }
            let _ = complete.send(());
            Ok(())
        });
        drop(stream);
        assert!(completed.await.is_err(), "it isn't written to its end");
    }
}
