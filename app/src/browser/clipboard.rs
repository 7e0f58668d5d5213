//! Copies and downloads parts of responses.

use super::dom::PageElement;
use gloo_timers::future::TimeoutFuture;
use js_sys::{Array, Function, Object, Promise, Reflect};
use leptos::task::spawn_local;
use wasm_bindgen::{JsCast as _, JsValue};
use wasm_bindgen_futures::{JsFuture, future_to_promise};

/// Handles a click on one of the buttons within a response's text: Copy, Wrap and Download of a code block, "Copy as CSV" of a table.
/// Does nothing for any other.
pub fn click(button: &PageElement, announce: impl Fn(&str) + 'static) {
    let code = || button.closest(".code").and_then(|block| block.find("code"));
    if button.attribute("data-copy").is_some() {
        if let Some(code) = code() {
            copy_from(button, code.text(), announce);
        }
    } else if button.attribute("data-csv").is_some() {
        if let Some(table) = button.closest(".table-scroll").and_then(|block| block.find("table")) {
            copy_from(button, csv(&table), announce);
        }
    } else if button.attribute("data-wrap").is_some() {
        if let Some(block) = button.closest(".code") {
            let is_wrapped = block.attribute("data-wrapped").is_none();
            block.mark("data-wrapped", is_wrapped);
            button.set("aria-pressed", if is_wrapped { "true" } else { "false" });
        }
    } else if button.attribute("data-download").is_some()
        && let (Some(block), Some(code)) = (button.closest(".code"), code())
    {
        download(&file_name(&block), &code.text());
    }
}

/// Copies a response as the model wrote it. If its text can't be loaded, what the page shows is copied: its blocks, code between fences, tables
/// with tabs.
pub fn copy_answer(
    button: &PageElement,
    markdown: &PageElement,
    text: impl Future<Output = Option<String>> + 'static,
    announce: impl Fn(&str) + 'static,
) {
    let blocks: Vec<_> = markdown.find_all(":scope > *").iter().map(block_text).collect();
    let shown = blocks.join("\n\n");
    let (button, fallback) = (button.clone(), shown.clone());
    let copying = copy_when_loaded(async move { text.await.unwrap_or(fallback) });
    spawn_local(async move {
        let copied = match copying {
            Some(copying) => JsFuture::from(copying).await.is_ok(),
            None => false,
        };
        let copied = if copied { Some(()) } else { copy(&shown).await };
        show_copied(button, copied, announce).await;
    });
}

/// Copies a text that is still being loaded. Browsers allow it only if it begins with the click, so the clipboard gets a promise. Returns
/// `None` if the browser can't do that.
fn copy_when_loaded(text: impl Future<Output = String> + 'static) -> Option<Promise> {
    let window = web_sys::window()?;
    let constructor = |name: &str| Reflect::get(&window, &name.into()).ok()?.dyn_into::<Function>().ok();
    let (blob, item) = (constructor("Blob")?, constructor("ClipboardItem")?);
    let clipboard = Reflect::get(&window.navigator(), &"clipboard".into()).ok()?;
    let write = Reflect::get(&clipboard, &"write".into()).ok()?.dyn_into::<Function>().ok()?;
    let kind = Object::new();
    Reflect::set(&kind, &"type".into(), &"text/plain".into()).ok()?;
    let loaded = future_to_promise(async move {
        let parts = Array::of1(&JsValue::from_str(&text.await));
        Reflect::construct(&blob, &Array::of2(&parts, &kind))
    });
    let types = Object::new();
    Reflect::set(&types, &"text/plain".into(), &loaded).ok()?;
    let item = Reflect::construct(&item, &Array::of1(&types)).ok()?;
    let items = Array::of1(&item);
    Reflect::apply(&write, &clipboard, &Array::of1(&items)).ok()?.dyn_into().ok()
}

fn block_text(block: &PageElement) -> String {
    if let Some(code) = block.find("pre code") {
        let language = block.find("figcaption span").map(|label| label.text()).unwrap_or_default();
        let end = if code.text().ends_with('\n') { "" } else { "\n" };
        return format!("```{language}\n{}{end}```", code.text());
    }
    if let Some(table) = block.find("table") {
        let rows: Vec<_> = rows(&table).iter().map(|cells| cells.join("\t")).collect();
        return rows.join("\n");
    }
    let items = block.find_all(":scope > li");
    if items.is_empty() {
        return block.laid_out_text().trim().to_owned();
    }
    let first = block.number("start").unwrap_or(1);
    let is_ordered = block.is_ordered_list();
    let lines = items.iter().zip(first..).map(|(item, number)| {
        let marker = if is_ordered { format!("{number}.") } else { "-".to_owned() };
        format!("{marker} {}", item.laid_out_text().trim())
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn rows(table: &PageElement) -> Vec<Vec<String>> {
    let cells = |row: &PageElement| -> Vec<String> {
        row.find_all("th, td").iter().map(|cell| cell.text().trim().to_owned()).collect()
    };
    table.find_all("tr").iter().map(cells).collect()
}

/// Returns a table as CSV (<https://www.rfc-editor.org/rfc/rfc4180>).
fn csv(table: &PageElement) -> String {
    rows(table).iter().map(|cells| csv_line(cells)).collect()
}

fn csv_line(cells: &[String]) -> String {
    let quoted = cells.iter().map(|cell| {
        if cell.contains(['"', ',', '\n', '\r']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell.clone() }
    });
    quoted.collect::<Vec<_>>().join(",") + "\r\n"
}

/// Returns a name for a code block's file by its language.
fn file_name(block: &PageElement) -> String {
    let language = block.find("figcaption span").map(|label| label.text()).unwrap_or_default();
    format!("code.{}", extension(&language))
}

fn extension(language: &str) -> String {
    match language.trim() {
        "rust" => "rs".to_owned(),
        "python" => "py".to_owned(),
        "javascript" => "js".to_owned(),
        "typescript" => "ts".to_owned(),
        "markdown" => "md".to_owned(),
        "bash" | "shell" => "sh".to_owned(),
        short if !short.is_empty() && short.len() <= 5 && short.chars().all(|c| c.is_ascii_alphanumeric()) => {
            short.to_ascii_lowercase()
        }
        _ => "txt".to_owned(),
    }
}

fn download(name: &str, text: &str) {
    if let Some(link) = PageElement::create("a") {
        let encoded = String::from(js_sys::encode_uri_component(text));
        link.set("href", &format!("data:text/plain;charset=utf-8,{encoded}"));
        link.set("download", name);
        link.click();
    }
}

/// Copies a text and shows on the button that it was copied.
pub fn copy_from(button: &PageElement, text: String, announce: impl Fn(&str) + 'static) {
    let button = button.clone();
    spawn_local(async move {
        let copied = copy(&text).await;
        show_copied(button, copied, announce).await;
    });
}

/// Shows on a button that its text was copied, for a moment, or announces that it wasn't.
async fn show_copied(button: PageElement, copied: Option<()>, announce: impl Fn(&str)) {
    if copied.is_none() {
        return announce("Copying isn't allowed here.");
    }
    announce("Copied");
    // A button with an icon shows a check mark, by the style sheet.
    let label = Some(button.text()).filter(|label| !label.trim().is_empty() && button.find("svg").is_none());
    button.mark("data-done", true);
    if label.is_some() {
        button.set_text("Copied");
    }
    TimeoutFuture::new(1_500).await;
    button.mark("data-done", false);
    if let Some(label) = label.filter(|label| label != "Copied") {
        button.set_text(&label);
    }
}

/// Copies text to the clipboard. Returns `None` if the clipboard is unavailable (plain HTTP) or access is denied.
async fn copy(text: &str) -> Option<()> {
    let navigator = web_sys::window()?.navigator();
    Reflect::get(&navigator, &"clipboard".into()).ok().filter(|clipboard| !clipboard.is_undefined())?;
    JsFuture::from(navigator.clipboard().write_text(text)).await.ok().map(drop)
}

#[cfg(test)]
mod tests {
    use super::{csv_line, extension};

    #[test]
    fn cells_with_commas_quotes_or_breaks_are_quoted() {
        let cells = ["a", "b,c", "say \"hi\"", "two\nlines"].map(str::to_owned);
        assert_eq!(csv_line(&cells), "a,\"b,c\",\"say \"\"hi\"\"\",\"two\nlines\"\r\n");
    }

    #[test]
    fn code_is_saved_under_its_usual_extension() {
        let names = ["rust", "json", "typescript", "", "a/../b", "objective-c"].map(extension);
        assert_eq!(names, ["rs", "json", "ts", "txt", "txt", "txt"]);
    }
}
