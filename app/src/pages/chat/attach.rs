//! Files that are attached to the next message: chosen, uploaded, shown with their size and estimated tokens, and removed.

use super::meter::compact;
use crate::browser::api::{self, Failure};
use crate::browser::dom::{self, PageElement};
use crate::browser::files::{self, LocalFile};
use crate::browser::json::Json;
use domain::attachment::{MAX_FILE_BYTES, MAX_FILES, format_bytes};
use futures::future::{AbortHandle, abortable};
use leptos::task::spawn_local;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// Shown at a file that no response of the server is about.
const OFFLINE: &str = "The upload failed. Check your internet connection.";
/// Name of a file made of pasted text.
const PASTED_NAME: &str = "Pasted text.txt";

/// A file that was uploaded.
#[derive(Clone, Debug)]
pub(super) struct UploadedFile {
    /// Its id.
    pub id: String,
    name: String,
    bytes: u64,
    is_image: bool,
    /// Estimated tokens by model.
    tokens: Json,
}

impl UploadedFile {
    fn read(answer: &Json) -> Option<Self> {
        Some(Self {
            id: answer.text("attachment_id")?,
            name: answer.text("name")?,
            bytes: answer.number("bytes")?,
            is_image: answer.text("kind")? == "image",
            tokens: answer.field("tokens"),
        })
    }

    fn url(&self) -> String {
        format!("/attachments/{}", self.id)
    }

    /// Returns a link to it, as above its message.
    pub fn sent_link(&self) -> Option<PageElement> {
        let link = dom::from_template(if self.is_image { "sent-image" } else { "sent-file" }, ".sent-file")?;
        link.set("href", &self.url());
        if let Some(image) = link.slot("image") {
            image.set("src", &self.url());
            image.set("alt", &self.name);
        }
        if let (Some(name), Some(details)) = (link.slot("name"), link.slot("details")) {
            name.set_text(&self.name);
            details.set_text(&format_bytes(self.bytes));
        }
        Some(link)
    }
}

/// The result of an upload.
enum State {
    Uploading(AbortHandle),
    Ready(UploadedFile),
    Failed,
}

struct Entry {
    element: PageElement,
    state: RefCell<State>,
}

/// The files of the next message.
pub(super) struct Files {
    list: PageElement,
    notes: PageElement,
    entries: RefCell<Vec<Rc<Entry>>>,
    /// The model that will read them, and its display name.
    model: RefCell<(String, String)>,
    /// Called after a change of the files.
    on_change: RefCell<Option<Rc<dyn Fn()>>>,
    has_refused_more: Cell<bool>,
}

impl Files {
    /// Finds the list that the server rendered.
    pub fn find() -> Option<Rc<Self>> {
        Some(Rc::new(Self {
            list: dom::element("files")?,
            notes: dom::element("file-notes")?,
            entries: RefCell::default(),
            model: RefCell::default(),
            on_change: RefCell::default(),
            has_refused_more: Cell::new(false),
        }))
    }

    /// Sets the handler that is called after a change of the files.
    pub fn on_change(&self, handler: impl Fn() + 'static) {
        *self.on_change.borrow_mut() = Some(Rc::new(handler));
    }

    /// Returns whether there are no files.
    pub fn is_empty(&self) -> bool {
        self.entries.borrow().is_empty()
    }

    /// Uploads files.
    pub fn add(self: &Rc<Self>, chosen: Vec<LocalFile>) {
        self.has_refused_more.set(false);
        for file in chosen {
            if self.entries.borrow().len() >= MAX_FILES {
                self.has_refused_more.set(true);
                break;
            }
            self.upload(file);
        }
        self.changed();
    }

    /// Returns whether another file can be added.
    pub fn has_room(&self) -> bool {
        self.entries.borrow().len() < MAX_FILES
    }

    /// Uploads a pasted text as a file. Its button removes the file and calls `insert` with the text. Returns whether the file was added.
    pub fn add_text(self: &Rc<Self>, text: String, insert: impl Fn(&str) + 'static) -> bool {
        let Some(entry) = LocalFile::from_text(PASTED_NAME, &text).and_then(|file| self.upload(file)) else {
            return false;
        };
        if let Some(button) = entry.element.slot("as-text") {
            button.show(true);
            let files = Rc::clone(self);
            button.listen("click", move |_| {
                files.remove(&entry);
                insert(&text);
            });
        }
        self.has_refused_more.set(false);
        self.changed();
        true
    }

    /// Starts an upload. Returns its entry; `None` if the page lacks the template.
    fn upload(self: &Rc<Self>, file: LocalFile) -> Option<Rc<Entry>> {
        let element = self.chip(&file.name(), &format_bytes(file.bytes()))?;
        if file.bytes() > MAX_FILE_BYTES {
            let entry = Rc::new(Entry { element, state: RefCell::new(State::Failed) });
            entry.fail(&self.list.attribute("data-too-large").unwrap_or_default());
            self.show(&entry);
            return Some(entry);
        }
        let progress = element.slot("progress");
        let uploading = async move {
            let show = move |percent: u8| {
                if let Some(progress) = &progress {
                    progress.set("value", &percent.to_string());
                }
            };
            files::upload(&file, show).await
        };
        let (uploading, handle) = abortable(uploading);
        let entry = Rc::new(Entry { element, state: RefCell::new(State::Uploading(handle)) });
        self.show(&entry);
        let (files, added) = (Rc::clone(self), Rc::clone(&entry));
        spawn_local(async move {
            // An upload that was canceled has no entry any more.
            let Ok(result) = uploading.await else { return };
            let uploaded = result.map(|answer| UploadedFile::read(&answer));
            match uploaded {
                Ok(Some(file)) => entry.ready(file),
                Ok(None) | Err(Failure::Offline) => entry.fail(OFFLINE),
                Err(Failure::Refused(refusal)) => entry.fail(&refusal.message),
            }
            files.changed();
        });
        Some(added)
    }

    fn chip(&self, name: &str, details: &str) -> Option<PageElement> {
        let element = dom::from_template("chosen-file", ".file")?;
        element.slot("name")?.set_text(name);
        element.slot("details")?.set_text(details);
        let remove = element.slot("remove")?;
        remove.set("aria-label", &format!("Remove {name}"));
        remove.set("title", "Remove");
        Some(element)
    }

    /// Adds an entry to the page.
    fn show(self: &Rc<Self>, entry: &Rc<Entry>) {
        if let Some(button) = entry.element.slot("remove") {
            let (files, removed) = (Rc::clone(self), Rc::clone(entry));
            button.listen("click", move |_| files.remove(&removed));
        }
        self.list.append(&entry.element);
        self.entries.borrow_mut().push(Rc::clone(entry));
    }

    /// Removes a file from the page, cancels its upload, or deletes it on the server.
    fn remove(self: &Rc<Self>, removed: &Rc<Entry>) {
        self.entries.borrow_mut().retain(|entry| !Rc::ptr_eq(entry, removed));
        removed.element.remove();
        match &*removed.state.borrow() {
            State::Uploading(handle) => handle.abort(),
            State::Ready(file) => {
                let id = file.id.clone();
                spawn_local(async move { api::delete_attachment(&id).await });
            }
            State::Failed => {}
        }
        self.has_refused_more.set(false);
        self.changed();
    }

    /// Sets the model that will read the files.
    pub fn set_model(&self, name: &str, label: &str) {
        *self.model.borrow_mut() = (name.to_owned(), label.to_owned());
        self.update();
    }

    /// Returns why the message can't be sent with these files, as the name of a note.
    fn blocking_note(&self) -> Option<&'static str> {
        let entries = self.entries.borrow();
        let (model, _) = &*self.model.borrow();
        let any = |is: &dyn Fn(&State) -> bool| entries.iter().any(|entry| is(&entry.state.borrow()));
        if any(&|state| matches!(state, State::Failed)) {
            Some("failed")
        } else if any(
            &|state| matches!(state, State::Ready(file) if file.is_image && file.tokens.number(model).is_none()),
        ) {
            Some("no-images")
        } else if any(&|state| matches!(state, State::Uploading(_))) {
            Some("uploading")
        } else {
            None
        }
    }

    /// Returns whether the message can be sent with these files. If it can't, shows why.
    pub fn check(&self, is_busy: bool) -> bool {
        let blocking_note = self.blocking_note().or((is_busy && !self.is_empty()).then_some("busy"));
        if let Some(blocking_note) = blocking_note {
            self.show_notes(Some(blocking_note));
        }
        blocking_note.is_none()
    }

    /// Hides the note that files wait for a response, once that has ended.
    pub fn hide_busy_note(&self) {
        if let Some(note) = self.notes.find("[data-note=busy]") {
            note.show(false);
        }
    }

    /// Takes the files to send them.
    pub fn take(&self) -> Vec<UploadedFile> {
        let entries = std::mem::take(&mut *self.entries.borrow_mut());
        let taken = entries.iter().filter_map(|entry| {
            entry.element.remove();
            match &*entry.state.borrow() {
                State::Ready(file) => Some(file.clone()),
                _ => None,
            }
        });
        let taken = taken.collect();
        self.changed();
        taken
    }

    /// Puts files back whose message wasn't sent.
    pub fn put_back(self: &Rc<Self>, taken: &[UploadedFile]) {
        for file in taken {
            let Some(element) = self.chip(&file.name, "") else { continue };
            let entry = Rc::new(Entry { element, state: RefCell::new(State::Failed) });
            entry.ready(file.clone());
            self.show(&entry);
        }
        self.changed();
    }

    /// Returns the ids of the files that are uploaded.
    pub fn ids(&self) -> Vec<String> {
        let entries = self.entries.borrow();
        let id = |entry: &Rc<Entry>| match &*entry.state.borrow() {
            State::Ready(file) => Some(file.id.clone()),
            _ => None,
        };
        entries.iter().filter_map(id).collect()
    }

    fn changed(&self) {
        self.update();
        let handler = self.on_change.borrow().clone();
        if let Some(handler) = handler {
            handler();
        }
    }

    /// Updates the tokens of each file and the notes.
    fn update(&self) {
        let (model, label) = self.model.borrow().clone();
        for entry in self.entries.borrow().iter() {
            entry.show_tokens(&model);
        }
        self.list.show(!self.is_empty());
        if let Some(slot) = self.notes.slot("model") {
            slot.set_text(&label);
        }
        let blocking_note = self.blocking_note().filter(|note| *note == "no-images");
        self.show_notes(blocking_note.or(self.has_refused_more.get().then_some("too-many")));
    }

    fn show_notes(&self, shown: Option<&str>) {
        for note in self.notes.find_all("[data-note]") {
            note.show(note.attribute("data-note").as_deref() == shown);
        }
    }
}

impl Entry {
    fn ready(&self, file: UploadedFile) {
        if let Some(progress) = self.element.slot("progress") {
            progress.show(false);
        }
        if file.is_image
            && let (Some(preview), Some(icon)) = (self.element.slot("preview"), self.element.slot("icon"))
        {
            preview.set("src", &file.url());
            preview.show(true);
            icon.show(false);
        }
        *self.state.borrow_mut() = State::Ready(file);
    }

    fn fail(&self, message: &str) {
        if let Some(progress) = self.element.slot("progress") {
            progress.show(false);
        }
        // Announced with the file's name.
        if let Some(text) = self.element.find(".file-text") {
            text.set("role", "alert");
        }
        if let Some(details) = self.element.slot("details") {
            details.set_text(message);
        }
        self.element.mark("data-failed", true);
        *self.state.borrow_mut() = State::Failed;
    }

    fn show_tokens(&self, model: &str) {
        let State::Ready(file) = &*self.state.borrow() else { return };
        let size = format_bytes(file.bytes);
        let tokens = file.tokens.number(model);
        if let Some(details) = self.element.slot("details") {
            details.set_text(&match tokens {
                Some(tokens) => format!("{size} · ≈ {} tokens", compact(tokens)),
                None => size,
            });
        }
        self.element.mark("data-unread", file.is_image && tokens.is_none());
    }
}
