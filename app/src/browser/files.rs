//! Files that the user picks, drops or pastes, and their upload with its progress.

use super::api::{Failure, Refusal};
use super::dom::{PageElement, PageEvent};
use super::json::Json;
use futures::channel::oneshot;
use std::cell::RefCell;
use std::rc::Rc;
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast as _, JsValue};
use web_sys::{
    ClipboardEvent, DataTransfer, DragEvent, File, FileList, HtmlInputElement, ProgressEvent, XmlHttpRequest,
};

/// A file of the user's device.
#[derive(Clone, Debug)]
pub struct LocalFile(File);

impl LocalFile {
    /// Creates a file with this text. Returns `None` if the browser can't.
    #[must_use]
    pub fn from_text(name: &str, text: &str) -> Option<Self> {
        let parts = js_sys::Array::of1(&JsValue::from_str(text));
        File::new_with_str_sequence(parts.as_ref(), name).ok().map(Self)
    }

    /// Returns its name.
    #[must_use]
    pub fn name(&self) -> String {
        self.0.name()
    }

    /// Returns its size in bytes.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a size is a whole number below 2^53")]
    pub fn bytes(&self) -> u64 {
        self.0.size() as u64
    }
}

fn list(files: Option<FileList>) -> Vec<LocalFile> {
    let Some(files) = files else { return Vec::new() };
    (0..files.length()).filter_map(|index| files.get(index).map(LocalFile)).collect()
}

/// Takes the files of a file picker, which can then pick the same ones again.
#[must_use]
pub fn take_picked(picker: &PageElement) -> Vec<LocalFile> {
    let Some(input) = picker.0.dyn_ref::<HtmlInputElement>() else { return Vec::new() };
    let files = list(input.files());
    input.set_value("");
    files
}

fn dragged(event: &PageEvent) -> Option<DataTransfer> {
    event.0.dyn_ref::<DragEvent>()?.data_transfer()
}

/// Returns whether files are dragged over the page.
#[must_use]
pub fn has_dragged(event: &PageEvent) -> bool {
    dragged(event).is_some_and(|data| data.types().iter().any(|kind| kind.as_string().as_deref() == Some("Files")))
}

/// Returns the files that were dropped.
#[must_use]
pub fn dropped(event: &PageEvent) -> Vec<LocalFile> {
    list(dragged(event).and_then(|data| data.files()))
}

/// Returns the files that were pasted. None if text was pasted too: applications add a picture to text that they copy.
#[must_use]
pub fn pasted(event: &PageEvent) -> Vec<LocalFile> {
    let data = event.0.dyn_ref::<ClipboardEvent>().and_then(ClipboardEvent::clipboard_data);
    let has_text = data.as_ref().is_some_and(|data| data.get_data("text/plain").is_ok_and(|text| !text.is_empty()));
    if has_text { Vec::new() } else { list(data.and_then(|data| data.files())) }
}

/// Returns the text that was pasted, if any.
#[must_use]
pub fn pasted_text(event: &PageEvent) -> Option<String> {
    event.0.dyn_ref::<ClipboardEvent>()?.clipboard_data()?.get_data("text/plain").ok()
}

/// A request that is aborted when this is dropped.
struct Request(XmlHttpRequest);

impl Drop for Request {
    fn drop(&mut self) {
        // Aborting fires events, whose handlers don't exist any more.
        self.0.set_onloadend(None);
        if let Ok(sending) = self.0.upload() {
            sending.set_onprogress(None);
        }
        // Has no effect once it is complete.
        let _ = self.0.abort();
    }
}

/// Uploads a file. `on_progress` gets the percentage that was sent. Dropping the future cancels the upload.
///
/// # Errors
/// Returns the server's refusal, or that no response arrived.
pub async fn upload(file: &LocalFile, on_progress: impl Fn(u8) + 'static) -> Result<Json, Failure> {
    let request = Request(XmlHttpRequest::new().map_err(|_| Failure::Offline)?);
    let (done, ended) = oneshot::channel();
    let done = Rc::new(RefCell::new(Some(done)));
    let progress = Closure::<dyn FnMut(ProgressEvent)>::new(move |event: ProgressEvent| on_progress(percent(&event)));
    let end = Closure::<dyn FnMut()>::new(move || {
        if let Some(done) = done.borrow_mut().take() {
            // The receiver is dropped if the upload was canceled.
            let _ = done.send(());
        }
    });
    if let Ok(sending) = request.0.upload() {
        sending.set_onprogress(Some(progress.as_ref().unchecked_ref()));
    }
    request.0.set_onloadend(Some(end.as_ref().unchecked_ref()));
    let name = String::from(js_sys::encode_uri_component(&file.name()));
    let sent = request
        .0
        .open("POST", &format!("/api/attachments?name={name}"))
        .and_then(|()| request.0.send_with_opt_blob(Some(&file.0)));
    if sent.is_err() || ended.await.is_err() {
        return Err(Failure::Offline);
    }
    request.0.set_onloadend(None);
    let status = request.0.status().unwrap_or_default();
    let answer = request.0.response_text().ok().flatten().and_then(|text| Json::parse(&text));
    match answer {
        Some(answer) if status == 200 => Ok(answer),
        // The error page of a proxy contains no problem in JSON.
        answer => {
            let refusal = answer.and_then(|body| Refusal::read(&body.field("problem"), status));
            Err(refusal.map_or(Failure::Offline, Failure::Refused))
        }
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 100")]
fn percent(event: &ProgressEvent) -> u8 {
    if event.total() > 0.0 { (event.loaded() / event.total() * 100.0).clamp(0.0, 100.0) as u8 } else { 0 }
}
