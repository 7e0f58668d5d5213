//! The page `/docs/api`, written as Markdown from the document and rendered as the site's other texts are.

use app::view::content::Entry;
use serde_json::Value;
use std::fmt::Write as _;

/// Writes the page.
pub(crate) fn entry(document: &Value) -> Entry {
    Entry {
        path: "/docs/api".to_owned(),
        title: "API".to_owned(),
        description: text(&document["info"]["summary"]).to_owned(),
        html: markdown::render_page(&page(document)),
        ..Entry::default()
    }
}

/// An operation of the document.
struct Operation<'a> {
    document: &'a Value,
    method: String,
    path: &'a str,
    value: &'a Value,
}

impl Operation<'_> {
    /// Returns the operation as the heading names it.
    fn name(&self) -> String {
        format!("{} `{}`", self.method, self.path)
    }

    /// Returns the id of that heading.
    fn id(&self) -> String {
        let name = format!("{} {}", self.method.to_lowercase(), self.path);
        let words = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
        words.collect::<Vec<_>>().join("-")
    }
}

/// Returns a text, or an empty one.
fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Follows a value's reference, if it is one.
fn resolve<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    let target = value["$ref"].as_str().and_then(|reference| document.pointer(reference.strip_prefix('#')?));
    target.unwrap_or(value)
}

/// Lists the operations with a tag, by path.
fn operations<'a>(document: &'a Value, tag: &str) -> Vec<Operation<'a>> {
    let paths = document["paths"].as_object().into_iter().flatten();
    let all = paths.flat_map(|(path, methods)| {
        let methods = methods.as_object().into_iter().flatten();
        methods.map(move |(method, value)| Operation { document, method: method.to_uppercase(), path, value })
    });
    all.filter(|operation| operation.value["tags"][0] == tag).collect()
}

/// Writes the whole page: what all endpoints have in common, then each endpoint.
fn page(document: &Value) -> String {
    let mut out = format!("{}\n\n", text(&document["info"]["summary"]));
    let tags = document["tags"].as_array().into_iter().flatten();
    let mut endpoints = String::new();
    for tag in tags {
        let name = text(&tag["name"]);
        // Writing to a string can't fail.
        let _ = write!(endpoints, "## {name}\n\n{}\n\n", text(&tag["description"]));
        for operation in operations(document, name) {
            let summary = text(&operation.value["summary"]);
            let _ = writeln!(out, "- [{summary}](#{}): {}", operation.id(), operation.name());
            write_operation(&operation, &mut endpoints);
        }
    }
    let _ = write!(out, "\n{}\n{endpoints}", text(&document["info"]["description"]));
    out
}

fn write_operation(operation: &Operation<'_>, out: &mut String) {
    let Operation { document, value, .. } = operation;
    let _ = write!(out, "### {}\n\n{}\n\n", operation.name(), text(&value["description"]));
    write_parameters(operation, out);
    let body = &value["requestBody"]["content"]["application/json"];
    write_fields(document, &body["schema"], out);
    let _ = write!(out, "An example with curl:\n\n```sh\n{}\n```\n\n", curl(operation, &body["example"]));
    let answer = &value["responses"]["200"]["content"]["application/json"]["example"];
    let _ = write!(out, "Its response:\n\n```json\n{answer:#}\n```\n\n");
    for sample in value["x-codeSamples"].as_array().into_iter().flatten() {
        let _ = write!(
            out,
            "With {}:\n\n```{}\n{}\n```\n\n",
            text(&sample["label"]),
            text(&sample["lang"]),
            text(&sample["source"])
        );
    }
    write_errors(operation, out);
}

/// Writes the parameters in path and headers.
fn write_parameters(operation: &Operation<'_>, out: &mut String) {
    let Operation { document, value, .. } = operation;
    let parameters = value["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
    if parameters.is_empty() {
        return;
    }
    out.push_str("| Parameter | In | Meaning |\n|---|---|---|\n");
    for parameter in parameters {
        let parameter = resolve(document, parameter);
        let _ = writeln!(
            out,
            "| `{}` | {} | {} |",
            text(&parameter["name"]),
            text(&parameter["in"]),
            text(&parameter["description"])
        );
    }
    out.push('\n');
}

/// Writes the fields of a body, the required ones first.
fn write_fields(document: &Value, schema: &Value, out: &mut String) {
    let schema = resolve(document, schema);
    let Some(fields) = schema["properties"].as_object() else { return };
    let required = schema["required"].as_array().map(Vec::as_slice).unwrap_or_default();
    let (first, others): (Vec<_>, Vec<_>) =
        fields.iter().partition(|(name, _)| required.iter().any(|required| required == *name));
    out.push_str("| Field | Type | Meaning |\n|---|---|---|\n");
    for (is_required, fields) in [(true, first), (false, others)] {
        let note = if is_required { ", required" } else { "" };
        for (name, field) in fields {
            let field = resolve(document, field);
            let _ = writeln!(out, "| `{name}` | {}{note} | {} |", kind(document, field), text(&field["description"]));
        }
    }
    out.push('\n');
}

/// Names the type of a field.
fn kind(document: &Value, schema: &Value) -> String {
    let schema = resolve(document, schema);
    match (&schema["type"], schema["anyOf"].as_array()) {
        (Value::String(name), _) => name.clone(),
        (_, Some(kinds)) => kinds.iter().map(|schema| kind(document, schema)).collect::<Vec<_>>().join(" or "),
        _ => "any".to_owned(),
    }
}

/// Writes a call of an operation with curl.
fn curl(operation: &Operation<'_>, example: &Value) -> String {
    let Operation { document, path, value, .. } = operation;
    let mut path = (*path).to_owned();
    for parameter in value["parameters"].as_array().into_iter().flatten() {
        let parameter = resolve(document, parameter);
        path = path.replace(&format!("{{{}}}", text(&parameter["name"])), text(&parameter["example"]));
    }
    let key = match path.starts_with("/v1/messages") {
        true => "-H \"x-api-key: $API_KEY\" -H \"anthropic-version: 2023-06-01\"",
        false => "-H \"Authorization: Bearer $API_KEY\"",
    };
    let url = format!("curl {}{path} \\\n  {key}", text(&document["servers"][0]["url"]));
    match example.is_null() {
        true => url,
        false => format!("{url} \\\n  -H \"Content-Type: application/json\" \\\n  -d '{example:#}'"),
    }
}

/// Writes which errors an operation has, with an example.
fn write_errors(operation: &Operation<'_>, out: &mut String) {
    let Operation { document, value, .. } = operation;
    let errors = value["responses"].as_object().into_iter().flatten().filter(|(status, _)| *status != "200");
    let (statuses, responses): (Vec<_>, Vec<_>) = errors.unzip();
    let statuses: Vec<String> = statuses.into_iter().map(|status| format!("`{status}`")).collect();
    let _ = write!(out, "[Errors](#errors): {}.", statuses.join(", "));
    let example = responses
        .first()
        .map(|response| &resolve(document, response)["content"]["application/json"]["example"])
        .filter(|example| !example.is_null());
    match example {
        Some(example) => {
            let _ = write!(out, " For example:\n\n```json\n{example:#}\n```\n\n");
        }
        None => out.push_str("\n\n"),
    }
}
