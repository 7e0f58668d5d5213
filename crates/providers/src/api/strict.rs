//! Which JSON schemas each provider accepts as strict. A request with another one is rejected, so that such a schema isn't sent as strict.

use super::conversation::{Conversation, OutputFormat};
use serde_json::{Map, Value};

/// Fields of schemas that neither provider supports.
const UNSUPPORTED: [&str; 16] = [
    "oneOf",
    "not",
    "if",
    "then",
    "else",
    "dependentRequired",
    "dependentSchemas",
    "patternProperties",
    "propertyNames",
    "unevaluatedProperties",
    "unevaluatedItems",
    "prefixItems",
    "contains",
    "minProperties",
    "maxProperties",
    "uniqueItems",
];
/// Further fields that OpenAI doesn't support.
const UNSUPPORTED_BY_OPENAI: [&str; 4] = ["allOf", "default", "minLength", "maxLength"];
/// Further fields that Anthropic doesn't support, or only in part.
const UNSUPPORTED_BY_ANTHROPIC: [&str; 9] = [
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "maxItems",
    "pattern",
];
/// Formats of strings that both support.
const FORMATS: [&str; 9] = ["date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"];
/// Limits of Anthropic over all strict schemas of a request.
const MAX_STRICT_TOOLS: usize = 20;
const MAX_OPTIONAL: usize = 24;
const MAX_UNIONS: usize = 16;

/// Returns whether OpenAI accepts a schema as strict: each object is closed and requires all of its properties.
/// <https://platform.openai.com/docs/guides/structured-outputs#supported-schemas>
pub(super) fn openai_accepts(schema: &Value) -> bool {
    schema["type"] == "object"
        && schema.get("anyOf").is_none()
        && holds(schema, &|fields| {
            is_closed(fields)
                && lists_required(fields)
                && optional(fields) == 0
                && has_known_format(fields, &[])
                && has_none(fields, &UNSUPPORTED_BY_OPENAI)
        })
}

/// Returns whether Anthropic accepts a schema as strict: each object is closed, and no definition refers to another one, which could be recursive.
/// <https://docs.anthropic.com/en/docs/build-with-claude/structured-outputs#json-schema-limitations>
fn anthropic_accepts(schema: &Value) -> bool {
    let is_internal = |fields: &Map<String, Value>| match fields.get("$ref").map(Value::as_str) {
        Some(Some(name)) => name.starts_with("#/$defs/") || name.starts_with("#/definitions/"),
        Some(None) => false,
        None => true,
    };
    let refers = |definition: &Value| !holds(definition, &|fields| !fields.contains_key("$ref"));
    let definitions = ["$defs", "definitions"].into_iter().filter_map(|name| schema.get(name)?.as_object());
    schema["type"] == "object"
        && !definitions.flat_map(Map::values).any(refers)
        && holds(schema, &|fields| {
            let has_scalars =
                fields.get("enum").and_then(Value::as_array).is_none_or(|values| !values.iter().any(is_nested));
            let has_few = fields.get("minItems").is_none_or(|min| min.as_u64().is_some_and(|min| min <= 1));
            is_closed(fields)
                && is_internal(fields)
                && has_scalars
                && has_few
                && has_known_format(fields, &["uri"])
                && has_none(fields, &UNSUPPORTED_BY_ANTHROPIC)
        })
}

/// What Anthropic accepts of a request.
pub(super) struct AnthropicLimits {
    are_kept: bool,
}

impl AnthropicLimits {
    /// Counts the schemas of a request that Anthropic accepts as strict. Beyond its limits none of them is.
    pub fn of(conversation: &Conversation<'_>) -> Self {
        let tools = conversation.tools.iter().filter(|tool| tool.strict == Some(true));
        let tools: Vec<&Value> =
            tools.filter_map(|tool| tool.parameters).filter(|schema| anthropic_accepts(schema)).collect();
        let output = match &conversation.output {
            Some(OutputFormat::JsonSchema { schema, strict: true, .. }) if anthropic_accepts(schema) => Some(*schema),
            _ => None,
        };
        let count = |of: &dyn Fn(&Map<String, Value>) -> usize| -> usize {
            tools.iter().copied().chain(output).map(|schema| sum(schema, of)).sum()
        };
        let are_kept =
            tools.len() <= MAX_STRICT_TOOLS && count(&optional) <= MAX_OPTIONAL && count(&unions) <= MAX_UNIONS;
        Self { are_kept }
    }

    /// Returns whether a schema of the request is sent as strict.
    pub fn accept(&self, schema: &Value) -> bool {
        self.are_kept && anthropic_accepts(schema)
    }
}

fn is_nested(value: &Value) -> bool {
    value.is_object() || value.is_array()
}

/// Returns whether a schema allows no properties but those that it names. Anything but an object does.
fn is_closed(fields: &Map<String, Value>) -> bool {
    let is_object = match fields.get("type") {
        Some(Value::Array(kinds)) => kinds.iter().any(|kind| *kind == "object"),
        kind => kind.is_some_and(|kind| *kind == "object"),
    };
    let is_object = is_object || fields.contains_key("properties");
    !is_object || fields.get("additionalProperties") == Some(&Value::Bool(false))
}

/// Returns whether a schema with properties lists the required ones.
fn lists_required(fields: &Map<String, Value>) -> bool {
    !fields.contains_key("properties") || fields.get("required").is_some_and(Value::is_array)
}

/// Returns the number of properties that aren't required.
fn optional(fields: &Map<String, Value>) -> usize {
    let required = fields.get("required").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let properties = fields.get("properties").and_then(Value::as_object).into_iter().flat_map(Map::keys);
    properties.filter(|name| !required.iter().any(|known| *known == name.as_str())).count()
}

/// Returns 1 if a schema is a union of types.
fn unions(fields: &Map<String, Value>) -> usize {
    usize::from(fields.contains_key("anyOf") || fields.get("type").is_some_and(Value::is_array))
}

fn has_known_format(fields: &Map<String, Value>, more: &[&str]) -> bool {
    let known = |format: &str| FORMATS.contains(&format) || more.contains(&format);
    fields.get("format").is_none_or(|format| format.as_str().is_some_and(known))
}

fn has_none(fields: &Map<String, Value>, unsupported: &[&str]) -> bool {
    !UNSUPPORTED.iter().chain(unsupported).any(|name| fields.contains_key(*name))
}

/// Lists the schemas within a schema.
fn inner(fields: &Map<String, Value>) -> impl Iterator<Item = &Value> {
    let named =
        ["properties", "$defs", "definitions"].into_iter().filter_map(move |name| fields.get(name)?.as_object());
    let listed = ["anyOf", "allOf"].into_iter().filter_map(move |name| fields.get(name)?.as_array());
    named.flat_map(Map::values).chain(listed.flatten()).chain(fields.get("items"))
}

/// Returns whether a rule holds for a schema and all schemas within it.
fn holds(schema: &Value, rule: &dyn Fn(&Map<String, Value>) -> bool) -> bool {
    schema.as_object().is_none_or(|fields| rule(fields) && inner(fields).all(|schema| holds(schema, rule)))
}

/// Sums a count over a schema and all schemas within it.
fn sum(schema: &Value, count: &dyn Fn(&Map<String, Value>) -> usize) -> usize {
    let Some(fields) = schema.as_object() else { return 0 };
    count(fields) + inner(fields).map(|schema| sum(schema, count)).sum::<usize>()
}
