//! The upload of a file with conversations. It is written to disk while it arrives.

use crate::AppState;
use crate::accounts::attempts::{self, Attempt};
use crate::accounts::rejection::Rejection;
use crate::failure::{Failure, internal};
use crate::http::account_form::reject;
use crate::http::browser::client_info;
use crate::http::extract::SignedIn;
use crate::import::{self, MAX_UPLOAD, Upload, UploadError};
use axum::body::Body;
use axum::extract::{FromRequest as _, Multipart, Request, State};
use axum::response::{IntoResponse, Redirect, Response};
use std::time::Duration;

const PAGE: &str = "/settings/import";
/// Maximum size of a body that is read. The rest of a file that is too large is read and dropped up to this size, so that its user sees the
/// reason for the refusal.
pub(crate) const MAX_BODY: usize = 4 * MAX_UPLOAD;
/// How long the response waits for the import, which then continues in the background.
const WAIT: Duration = Duration::from_secs(15);

const UNREADABLE: &str = "The upload was interrupted. Check your connection and upload the file again.";
const TOO_LARGE: &str =
    "The file is larger than 50 MB. Upload only the conversations.json in it, or a ZIP with that file alone.";

/// `POST /settings/import`: starts the import of a file. Redirects back to the page, which lists what was imported.
pub(crate) async fn upload(
    State(app): State<AppState>,
    SignedIn(viewer): SignedIn,
    request: Request,
) -> Result<Response, Failure> {
    let (parts, body) = request.into_parts();
    let again = Request::from_parts(parts.clone(), Body::empty());
    let client = client_info(&app, &again)?;
    if let Err(refused) =
        attempts::count_attempt(&app, &client.origin, Attempt::Export { user_id: viewer.user_id }).await
    {
        return Ok(reject(&app, again, PAGE, Vec::new(), Rejection::Refused(refused)).await);
    }
    let started = match read(Request::from_parts(parts, body)).await {
        Ok(upload) => import::start(&app, &viewer, upload).await.map_err(Rejection::from),
        Err(rejection) => Err(rejection),
    };
    match started {
        Ok(running) => {
            // An import that isn't done by then is listed as in progress. A panic is logged by the runtime, and the import listed as
            // interrupted.
            let _ = tokio::time::timeout(WAIT, running).await;
            Ok(Redirect::to(PAGE).into_response())
        }
        Err(rejection) => Ok(reject(&app, again, PAGE, Vec::new(), rejection).await),
    }
}

/// Reads the file of the form.
async fn read(request: Request) -> Result<Upload, Rejection> {
    let failed = |error: std::io::Error| Rejection::from(internal(&format!("storing an upload: {error}")));
    let unreadable = |_| Rejection::invalid("file", UNREADABLE);
    let mut fields = Multipart::from_request(request, &()).await.map_err(|_| Rejection::invalid("file", UNREADABLE))?;
    let mut upload = Upload::new().map_err(failed)?;
    let mut is_too_large = false;
    while let Some(mut field) = fields.next_field().await.map_err(unreadable)? {
        let is_file = field.name() == Some("file");
        while let Some(chunk) = field.chunk().await.map_err(unreadable)? {
            if !is_file || is_too_large {
                continue;
            }
            match upload.push(&chunk) {
                Ok(()) => {}
                Err(UploadError::TooLarge) => is_too_large = true,
                Err(UploadError::Io(error)) => return Err(failed(error)),
            }
        }
    }
    if is_too_large {
        return Err(Rejection::invalid("file", TOO_LARGE));
    }
    if upload.is_empty() {
        return Err(Rejection::invalid("file", "Choose a file."));
    }
    Ok(upload)
}
