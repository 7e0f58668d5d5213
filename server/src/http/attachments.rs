//! HTTP handlers of attached files: upload, download, and removal before they are sent.

use crate::AppState;
use crate::failure::Failure;
use crate::files::upload::{Upload, Uploaded, upload};
use crate::http::extract::{Id, SignedIn};
use axum::Json;
use axum::body::{Body, HttpBody as _};
use axum::extract::{Query, Request, State};
use axum::response::{IntoResponse as _, Response};
use domain::{AttachmentId, AttachmentKind, Problem};
use http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use serde::Deserialize;

/// What nothing in a served file may do: run, load, or be framed.
const POLICY: HeaderValue = HeaderValue::from_static("default-src 'none'; sandbox; frame-ancestors 'none'");

/// The query of an upload.
#[derive(Deserialize)]
pub(crate) struct FileName {
    name: String,
}

/// `POST /api/attachments?name=…`: stores a file, which is the whole body. What it is follows from its content, not from its name or media
/// type.
pub(crate) async fn create(
    State(app): State<AppState>,
    SignedIn(viewer): SignedIn,
    request: Request,
) -> Result<Json<Uploaded>, Failure> {
    let Ok(Query(FileName { name })) = Query::try_from_uri(request.uri()) else {
        return Err(Problem::invalid("name", "Send the file's name as `name` in the query.").into());
    };
    let body = request.into_body();
    let announced = body.size_hint().exact();
    Ok(Json(upload(&app, &viewer, Upload { name, announced }, body.into_data_stream()).await?))
}

/// `DELETE /api/attachments/{attachment_id}`: removes a file that wasn't sent. A file that was is deleted with its conversation.
pub(crate) async fn delete(
    State(app): State<AppState>,
    SignedIn(viewer): SignedIn,
    Id(id): Id<AttachmentId>,
) -> Result<StatusCode, Failure> {
    match store::attachment::delete_unsent(&app.db, viewer.user_id, id).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(Problem::not_found("file").into()),
    }
}

/// `GET /attachments/{attachment_id}`: the file. Images are shown; anything else is downloaded.
pub(crate) async fn show(
    State(app): State<AppState>,
    SignedIn(viewer): SignedIn,
    Id(id): Id<AttachmentId>,
) -> Result<Response, Failure> {
    let gone = || Failure(Problem::not_found("file"));
    let found = store::attachment::load(&app.db, viewer.user_id, id, false).await?.ok_or_else(gone)?;
    let is_image = found.file.kind == AttachmentKind::Image;
    let disposition = if is_image { "inline" } else { "attachment" };
    let headers = [
        (CONTENT_TYPE, header(&found.file.media_type)?),
        (CONTENT_DISPOSITION, header(&format!("{disposition}; filename*=UTF-8''{}", encoded(&found.file.name)))?),
        (CONTENT_SECURITY_POLICY, POLICY),
        (CONTENT_LENGTH, found.file.bytes.into()),
    ];
    let bytes = app.files.stream(&app.db, viewer.user_id, found).await?;
    Ok((headers, Body::from_stream(bytes)).into_response())
}

fn header(text: &str) -> Result<HeaderValue, Failure> {
    Ok(HeaderValue::from_str(text).map_err(anyhow::Error::from)?)
}

/// Encodes a name for a header: <https://www.rfc-editor.org/rfc/rfc8187>
fn encoded(name: &str) -> String {
    let mut out = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::encoded;

    #[test]
    fn names_are_encoded_for_headers() {
        assert_eq!(encoded("Übersicht 1.pdf"), "%C3%9Cbersicht%201.pdf");
        assert_eq!(encoded("a\"; b\r\n"), "a%22%3B%20b%0D%0A");
    }
}
