//! The ledger as a file: CSV (RFC 4180, <https://www.rfc-editor.org/rfc/rfc4180>) and JSON, streamed a piece at a time. Cells that a
//! spreadsheet would take for a formula are told apart by an apostrophe in front
//! (<https://owasp.org/www-community/attacks/CSV_Injection>); numbers are left as numbers.

use crate::auth::SignedIn;
use crate::error::internal;
use crate::{AppState, pages};
use app::api::admin::UsageFilter;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use domain::{Problem, UserId, Viewer};
use futures::stream;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use store::usage_row::{self, Row};
use time::OffsetDateTime;

/// Rows that are in memory at once.
const PIECE: i64 = 5_000;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Csv,
    Json,
}

/// `GET /admin/export.csv`
pub(crate) async fn csv(State(app): State<AppState>, request: Request) -> Response {
    export(&app, request, Whose::Everybody, Format::Csv).await
}

/// `GET /admin/export.json`
pub(crate) async fn json(State(app): State<AppState>, request: Request) -> Response {
    export(&app, request, Whose::Everybody, Format::Json).await
}

/// `GET /usage.csv`: the user's own, of whole days where they are (`days`, as their page shows them), or of a period as the owner's.
pub(crate) async fn own(State(app): State<AppState>, SignedIn(viewer): SignedIn, request: Request) -> Response {
    let query = request.uri().query().unwrap_or_default().as_bytes();
    let days = form_urlencoded::parse(query).find(|(name, _)| name == "days").map(|(_, days)| days.parse::<u16>());
    let own = Whose::Own { user_id: viewer.user_id, shows_cost: viewer.plan.shows_cost };
    match days {
        None => export(&app, request, own, Format::Csv).await,
        Some(Ok(days @ 1..=90)) => match days_of(&app, &viewer, days).await {
            Ok(from) => {
                let (asked, to) = (UsageFilter::default(), AppState::now() + time::Duration::DAY);
                let export = Export { db: app.db.clone(), whose: own, asked, from, to, format: Format::Csv };
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

/// Where so many days begin for somebody, today included.
async fn days_of(app: &AppState, viewer: &Viewer, days: u16) -> store::Result<OffsetDateTime> {
    let today = store::usage::today(&app.db, &viewer.time_zone, AppState::now()).await?;
    let first = today - time::Duration::days(i64::from(days) - 1);
    store::usage::midnight(&app.db, &viewer.time_zone, first).await
}

/// Whose calls, and what of them.
#[derive(Clone, Copy)]
enum Whose {
    /// All, with their users.
    Everybody,
    /// Somebody's own; what they cost only where their plan shows it.
    Own { user_id: UserId, shows_cost: bool },
}

/// What an address asks for.
struct Export {
    db: store::Db,
    whose: Whose,
    asked: UsageFilter,
    from: OffsetDateTime,
    to: OffsetDateTime,
    format: Format,
}

/// How far an export has come.
#[derive(Clone, Copy)]
enum At {
    Beginning,
    /// Whatever comes from an instant on.
    From(OffsetDateTime),
    After(OffsetDateTime, uuid::Uuid),
    End,
}

/// So much of a period is asked for at once: where few calls fit a filter, a statement looks at no more than these.
const STRETCH: time::Duration = time::Duration::hours(6);

async fn export(app: &AppState, request: Request, whose: Whose, format: Format) -> Response {
    let asked = match UsageFilter::of_query(request.uri().query().unwrap_or_default()) {
        Ok(asked) => asked,
        Err(problem) => return pages::problem(app, request, problem).await,
    };
    let (from, to) = asked.period.bounds(AppState::now());
    // A user's own rows are few; the owner's go through the owner's connections.
    let db = match whose {
        Whose::Own { .. } => app.db.clone(),
        Whose::Everybody => app.admin_db.clone(),
    };
    let period = asked.period.as_str();
    Export { db, whose, asked, from, to, format }.answer(period)
}

impl Export {
    /// The file, written as it is read.
    fn answer(self, period: &str) -> Response {
        let (kind, ends) = match self.format {
            Format::Csv => ("text/csv; charset=utf-8", "csv"),
            Format::Json => ("application/json", "json"),
        };
        let headers = [
            (CONTENT_TYPE, kind.to_owned()),
            (CONTENT_DISPOSITION, format!("attachment; filename=\"usage-{period}.{ends}\"")),
        ];
        let body = stream::try_unfold((self, At::Beginning), |(export, at)| async move {
            match export.piece(at).await {
                Ok(None) => Ok(None),
                Ok(Some((bytes, next))) => Ok(Some((bytes, (export, next)))),
                Err(error) => {
                    // The file breaks off, so that nobody takes a part for the whole.
                    internal(&error);
                    Err(std::io::Error::other("the export broke off"))
                }
            }
        });
        (headers, Body::from_stream(body)).into_response()
    }

    /// The next piece of the file, and where it ends; none at the end.
    async fn piece(&self, at: At) -> anyhow::Result<Option<(Bytes, At)>> {
        let is_first = matches!(at, At::Beginning);
        let mut at = at;
        // Stretches without a row that fits make no piece.
        let (rows, next) = loop {
            let (from, after) = match at {
                At::Beginning => (self.from, None),
                At::From(from) => (from, None),
                At::After(created_at, id) => (created_at, Some((created_at, id))),
                At::End => return Ok(None),
            };
            // Somebody's own are read by their index, however few they are.
            let to = match self.whose {
                Whose::Own { .. } => self.to,
                Whose::Everybody => self.to.min(from + STRETCH),
            };
            let rows = self.rows(from, to, after).await?;
            let next = match rows.last() {
                Some(row) if rows.len() == usize::try_from(PIECE)? => At::After(row.created_at, row.ai_usage_id),
                _ if to < self.to => At::From(to),
                _ => At::End,
            };
            if !rows.is_empty() || matches!(next, At::End) {
                break (rows, next);
            }
            at = next;
        };
        let bytes = match self.format {
            Format::Csv => csv_of(&rows, is_first, self.whose)?,
            Format::Json => json_of(&rows, is_first, matches!(next, At::End))?,
        };
        Ok(Some((bytes.into(), next)))
    }

    async fn rows(
        &self,
        from: OffsetDateTime,
        to: OffsetDateTime,
        after: Option<(OffsetDateTime, uuid::Uuid)>,
    ) -> store::Result<Vec<Row>> {
        let asked = usage_row::UsageFilter {
            from,
            to,
            plan: self.asked.plan.as_ref(),
            model: self.asked.model.as_ref(),
            search: Some(self.asked.search.as_str()).filter(|text| !text.is_empty()),
            after,
        };
        match self.whose {
            Whose::Own { user_id, .. } => usage_row::next_own(&self.db, user_id, &asked, PIECE).await,
            Whose::Everybody => usage_row::next(&self.db, &asked, PIECE).await,
        }
    }
}

/// A text that no spreadsheet takes for a formula.
fn safe(text: &str) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) { format!("'{text}") } else { text.to_owned() }
}

fn csv_of(rows: &[Row], with_head: bool, whose: Whose) -> anyhow::Result<Vec<u8>> {
    let with_users = matches!(whose, Whose::Everybody);
    let with_cost = !matches!(whose, Whose::Own { shows_cost: false, .. });
    let mut out = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    if with_head {
        let users: &[&str] = if with_users { &["email", "subject"] } else { &[] };
        let head = ["created_at", "ai_usage_id", "turn_id", "call_no", "purpose", "model", "status", "usage_source"];
        let numbers = ["input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens"];
        let cost: &[&str] = if with_cost { &["cost_usd"] } else { &[] };
        let all =
            head.iter().chain(users).chain(&numbers).chain(&["estimated_tokens"]).chain(cost).chain(&["corrects"]);
        out.write_record(all)?;
    }
    let format = time::format_description::well_known::Rfc3339;
    for row in rows {
        let mut cells = vec![
            row.created_at.format(&format)?,
            row.ai_usage_id.to_string(),
            row.turn_id.to_string(),
            row.call_no.to_string(),
            safe(&row.purpose),
            safe(&row.model),
            safe(&row.status),
            row.usage_source.clone().unwrap_or_default(),
        ];
        if with_users {
            cells.extend([safe(row.email.as_deref().unwrap_or_default()), safe(&row.subject)]);
        }
        let numbers = [row.input_tokens, row.cache_read_tokens, row.cache_write_tokens, row.output_tokens];
        cells.extend(numbers.map(|n| n.to_string()));
        cells.extend([row.reasoning_tokens.to_string(), row.estimated_tokens.to_string()]);
        if with_cost {
            cells.push(row.cost_usd.to_string());
        }
        cells.push(row.corrects.map(|id| id.to_string()).unwrap_or_default());
        out.write_record(cells)?;
    }
    Ok(out.into_inner()?)
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
