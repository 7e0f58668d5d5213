//! Reads the structure that the output must have.

use crate::api::conversation::OutputFormat;
use crate::api::fields::{Fields, Read};
use crate::api::strict;
use serde_json::Value;

/// Reads `response_format` of chat completions, whose schema is one level deeper than the type.
pub(super) fn of_completions(value: &Value) -> Read<Option<OutputFormat<'_>>> {
    let mut fields = Fields::new(value, "response_format")?;
    match fields.name("type", &["text", "json_object", "json_schema"])? {
        Some("json_object") => Ok(Some(OutputFormat::JsonObject)),
        Some("json_schema") => {
            let schema = fields.value("json_schema").ok_or_else(|| fields.invalid("json_schema", "is required"))?;
            schema_of(&mut Fields::new(schema, "response_format.json_schema")?).map(Some)
        }
        _ => Ok(None),
    }
}

/// Reads `text.format` of responses.
pub(super) fn of_responses(value: &Value) -> Read<Option<OutputFormat<'_>>> {
    let mut fields = Fields::new(value, "text.format")?;
    match fields.name("type", &["text", "json_object", "json_schema"])? {
        Some("json_object") => Ok(Some(OutputFormat::JsonObject)),
        Some("json_schema") => schema_of(&mut fields).map(Some),
        _ => Ok(None),
    }
}

/// Reads `output_config.format` of messages, which is always strict. The request is only translated for OpenAI, which accepts fewer schemas as
/// strict.
pub(super) fn of_messages(value: &Value) -> Read<Option<OutputFormat<'_>>> {
    let mut fields = Fields::new(value, "output_config.format")?;
    fields.name("type", &["json_schema"])?;
    let schema = schema(&mut fields)?;
    fields.finish()?;
    let strict = strict::openai_accepts(schema);
    Ok(Some(OutputFormat::JsonSchema { name: "output", description: None, schema, strict }))
}

fn schema_of<'a>(fields: &mut Fields<'a>) -> Read<OutputFormat<'a>> {
    let format = OutputFormat::JsonSchema {
        name: fields.required_text("name")?,
        description: fields.text("description")?,
        schema: schema(fields)?,
        strict: fields.flag("strict")?.unwrap_or(false),
    };
    fields.finish()?;
    Ok(format)
}

fn schema<'a>(fields: &mut Fields<'a>) -> Read<&'a Value> {
    let schema = fields.value("schema").filter(|schema| schema.is_object());
    schema.ok_or_else(|| fields.invalid("schema", "must be a JSON schema"))
}
