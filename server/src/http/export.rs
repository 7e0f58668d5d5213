//! Exports the ledger as CSV or JSON, streamed in chunks.

use crate::AppState;
use crate::accounts::attempts::{Attempt, count_attempt};
use crate::failure::{Failure, internal};
use crate::http::extract::SignedIn;
use crate::http::origin::request_origin;
use crate::http::pages;
use crate::usage_csv::{self, Columns};
use app::view::usage_filter::of_query;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use domain::{Problem, UsageFilter, UserId, Viewer};
use futures::stream;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use store::usage_row::{self, Row};
use time::OffsetDateTime;

/// Maximum number of rows in memory at once.
const CHUNK_ROWS: i64 = 5_000;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Csv {
        /// Whether it begins with a byte order mark.
        for_excel: bool,
    },
    Json,
}

/// Returns whether a request asks for CSV that Excel opens as UTF-8 (`bom=1`, field note 93).
fn wants_excel(request: &Request) -> bool {
    let query = request.uri().query().unwrap_or_default().as_bytes();
    form_urlencoded::parse(query).any(|(name, value)| name == "bom" && value == "1")
}

/// `GET /admin/export.csv`: exports the rows of all users.
pub(crate) async fn csv(State(app): State<AppState>, SignedIn(admin): SignedIn, request: Request) -> Response {
    let format = Format::Csv { for_excel: wants_excel(&request) };
    export_all(&app, &admin, request, format).await
}

/// `GET /admin/export.json`: exports the rows of all users.
pub(crate) async fn json(State(app): State<AppState>, SignedIn(admin): SignedIn, request: Request) -> Response {
    export_all(&app, &admin, request, Format::Json).await
}

/// `GET /usage.csv`: exports the user's own rows: whole days in their time zone if `days` is given, as on their usage page, otherwise a
/// period as on the owner's pages.
pub(crate) async fn own(State(app): State<AppState>, SignedIn(viewer): SignedIn, request: Request) -> Response {
    let origin = request_origin(&app, &request);
    if let Err(Failure(problem)) = count(&app, &viewer, origin).await {
        return pages::problem(&app, request, problem).await;
    }
    let query = request.uri().query().unwrap_or_default().as_bytes();
    let days = form_urlencoded::parse(query).find(|(name, _)| name == "days").map(|(_, days)| days.parse::<u16>());
    let own = Scope::Own { user_id: viewer.user_id, shows_cost: viewer.plan.shows_cost };
    match days {
        None => {
            let format = Format::Csv { for_excel: wants_excel(&request) };
            export(&app, request, own, format).await
        }
        Some(Ok(days @ 1..=90)) => match days_of(&app, &viewer, days).await {
            Ok(from) => {
                let (filter, to) = (UsageFilter::default(), AppState::now() + time::Duration::DAY);
                let format = Format::Csv { for_excel: wants_excel(&request) };
                let export = Export { db: app.db.clone(), scope: own, filter, from, to, format };
                export.answer(&format!("{days}-days"))
            }
            Err(error) => pages::problem(&app, request, internal(&error)).await,
        },
        Some(_) => {
            let problem = Problem::invalid("days", "Choose from 1 to 90 days.");
            pages::problem(&app, request, problem).await
        }
    }
}

/// Counts an export, each of which reads many rows.
async fn count(app: &AppState, viewer: &Viewer, origin: Result<String, Problem>) -> Result<(), Failure> {
    count_attempt(app, &origin?, Attempt::Export { user_id: viewer.user_id }).await
}

/// Exports the rows of all users, with an entry in the audit log.
async fn export_all(app: &AppState, admin: &Viewer, request: Request, format: Format) -> Response {
    let origin = request_origin(app, &request);
    let query = request.uri().query().unwrap_or_default().to_owned();
    let recorded = match count(app, admin, origin).await {
        Ok(()) => record(app, admin, &query).await,
        Err(refused) => Err(refused),
    };
    match recorded {
        Ok(()) => export(app, request, Scope::All, format).await,
        Err(Failure(problem)) => pages::problem(app, request, problem).await,
    }
}

/// Records an export of other users' data in the audit log.
async fn record(app: &AppState, admin: &Viewer, query: &str) -> Result<(), Failure> {
    let entry = store::audit::Entry {
        actor: Some(admin.user_id),
        target: None,
        action: "export",
        before: None,
        after: Some(query).filter(|query| !query.is_empty()),
        why: None,
    };
    Ok(store::audit::write(&app.db, &entry, AppState::now()).await?)
}

/// Returns the start of the last `days` days in the user's time zone, today included.
async fn days_of(app: &AppState, viewer: &Viewer, days: u16) -> store::Result<OffsetDateTime> {
    let zone = store::local_time::known_zone(&app.db, &viewer.time_zone).await?;
    let today = store::local_time::today(&app.db, zone, AppState::now()).await?;
    let first = today - time::Duration::days(i64::from(days) - 1);
    store::local_time::midnight(&app.db, zone, first).await
}

/// Whose rows are exported.
#[derive(Clone, Copy)]
enum Scope {
    /// All rows, with their users.
    All,
    /// A user's own rows, with cost only if their plan shows it.
    Own { user_id: UserId, shows_cost: bool },
}

impl Scope {
    fn columns(self) -> Columns {
        match self {
            Self::All => Columns { users: true, cost: true },
            Self::Own { shows_cost, .. } => Columns { users: false, cost: shows_cost },
        }
    }
}

/// The parameters of an export.
struct Export {
    db: store::Db,
    scope: Scope,
    filter: UsageFilter,
    from: OffsetDateTime,
    to: OffsetDateTime,
    format: Format,
}

/// Position in an export.
#[derive(Clone, Copy)]
enum Cursor {
    Start,
    /// Continues at an instant.
    From(OffsetDateTime),
    After(OffsetDateTime, uuid::Uuid),
    End,
}

/// Maximum range of a single query, which bounds the rows that a selective filter has to scan.
const QUERY_RANGE: time::Duration = time::Duration::hours(6);

async fn export(app: &AppState, request: Request, scope: Scope, format: Format) -> Response {
    let filter = match of_query(request.uri().query().unwrap_or_default()) {
        Ok(filter) => filter,
        Err(problem) => return pages::problem(app, request, problem).await,
    };
    let (from, to) = filter.period.bounds(AppState::now());
    // A user's own rows are few. Exports of all rows use the connections of the owner's pages.
    let db = match scope {
        Scope::Own { .. } => app.db.clone(),
        Scope::All => app.admin_db.clone(),
    };
    let period = filter.period.as_str();
    Export { db, scope, filter, from, to, format }.answer(period)
}

impl Export {
    /// Builds the response, whose body is streamed while rows are read.
    fn answer(self, period: &str) -> Response {
        let (kind, ends) = match self.format {
            Format::Csv { .. } => ("text/csv; charset=utf-8", "csv"),
            Format::Json => ("application/json", "json"),
        };
        let headers = [
            (CONTENT_TYPE, kind.to_owned()),
            (CONTENT_DISPOSITION, format!("attachment; filename=\"usage-{period}.{ends}\"")),
        ];
        let body = stream::try_unfold((self, Cursor::Start), |(export, at)| async move {
            match export.piece(at).await {
                Ok(None) => Ok(None),
                Ok(Some((bytes, next))) => Ok(Some((bytes, (export, next)))),
                Err(error) => {
                    // Aborts the response, so that the client doesn't mistake a partial file for a complete one.
                    internal(&error);
                    Err(std::io::Error::other("the export failed"))
                }
            }
        });
        (headers, Body::from_stream(body)).into_response()
    }

    /// Returns the next chunk of the file and the position after it, or `None` at the end.
    async fn piece(&self, at: Cursor) -> anyhow::Result<Option<(Bytes, Cursor)>> {
        let is_first = matches!(at, Cursor::Start);
        let mut at = at;
        // Ranges without matching rows are skipped.
        let (rows, next) = loop {
            let (from, after) = match at {
                Cursor::Start => (self.from, None),
                Cursor::From(from) => (from, None),
                Cursor::After(created_at, id) => (created_at, Some((created_at, id))),
                Cursor::End => return Ok(None),
            };
            // A user's own rows are read through an index, so their range isn't limited.
            let to = match self.scope {
                Scope::Own { .. } => self.to,
                Scope::All => self.to.min(from + QUERY_RANGE),
            };
            let rows = self.rows(from, to, after).await?;
            let next = match rows.last() {
                Some(row) if rows.len() == usize::try_from(CHUNK_ROWS)? => {
                    Cursor::After(row.created_at, row.ai_usage_id)
                }
                _ if to < self.to => Cursor::From(to),
                _ => Cursor::End,
            };
            if !rows.is_empty() || matches!(next, Cursor::End) {
                break (rows, next);
            }
            at = next;
        };
        let bytes = match self.format {
            Format::Csv { for_excel } => {
                let mark = if is_first && for_excel { usage_csv::BYTE_ORDER_MARK } else { "" };
                [mark.as_bytes(), &usage_csv::lines(&rows, is_first, self.scope.columns())?].concat()
            }
            Format::Json => json_of(&rows, is_first, matches!(next, Cursor::End))?,
        };
        Ok(Some((bytes.into(), next)))
    }

    async fn rows(
        &self,
        from: OffsetDateTime,
        to: OffsetDateTime,
        after: Option<(OffsetDateTime, uuid::Uuid)>,
    ) -> store::Result<Vec<Row>> {
        let filter = usage_row::UsageFilter {
            from,
            to,
            plan: self.filter.plan.as_ref(),
            model: self.filter.model.as_ref(),
            search: Some(self.filter.search.as_str()).filter(|text| !text.is_empty()),
            after,
        };
        match self.scope {
            Scope::Own { user_id, .. } => usage_row::next_own(&self.db, user_id, &filter, CHUNK_ROWS).await,
            Scope::All => usage_row::next(&self.db, &filter, CHUNK_ROWS).await,
        }
    }
}

fn json_of(rows: &[Row], is_first: bool, is_last: bool) -> anyhow::Result<Vec<u8>> {
    let mut out = Vec::new();
    if is_first {
        out.push(b'[');
    }
    for (n, row) in rows.iter().enumerate() {
        out.extend_from_slice(if is_first && n == 0 { b"\n" } else { b",\n" });
        serde_json::to_writer(&mut out, row)?;
    }
    if is_last {
        out.extend_from_slice(b"\n]\n");
    }
    Ok(out)
}
