//! A request independent of its format, borrowed from the request's JSON.

use domain::{CacheMarks, Role};
use serde_json::Value;
use std::borrow::Cow;

/// The messages, tools and settings of a request, independent of its format.
#[derive(Clone, Debug, Default)]
pub(crate) struct Conversation<'a> {
    /// The texts of the system prompt, wherever they are in the conversation.
    pub system: Vec<SystemText<'a>>,
    /// The messages. Consecutive ones have different authors.
    pub turns: Vec<Turn<'a>>,
    /// The tools that the model may call.
    pub tools: Vec<Tool<'a>>,
    /// Whether tools are strict unless they say otherwise, if the provider accepts their schema as strict.
    pub is_strict_by_default: bool,
    /// Which tool the model must call.
    pub tool_choice: Option<ToolChoice<'a>>,
    /// Whether the model may call several tools at once.
    pub parallel_calls: Option<bool>,
    /// The structure of the output.
    pub output: Option<OutputFormat<'a>>,
    /// Texts at which the response ends.
    pub stop: Vec<&'a str>,
    /// Sampling, as sent.
    pub temperature: Option<&'a Value>,
    /// Sampling, as sent.
    pub top_p: Option<&'a Value>,
    /// The reasoning effort.
    pub effort: Option<&'a str>,
    /// Whether reasoning is switched on by Anthropic's setting.
    pub thinks: bool,
    /// Maximum number of reasoning tokens, Anthropic's older setting in place of an effort.
    pub thinking_budget: Option<u64>,
    /// How long answers should be.
    pub verbosity: Option<&'a str>,
    /// Fields of messages that are only passed on, as JSON. They count as part of the prompt.
    pub extra: Vec<String>,
}

/// A text of the system prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SystemText<'a> {
    /// The text.
    pub text: &'a str,
    /// How the prompt is to be cached up to here.
    pub cache: CacheMarks,
}

impl<'a> From<&'a str> for SystemText<'a> {
    fn from(text: &'a str) -> Self {
        Self { text, cache: CacheMarks::None }
    }
}

/// A message.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Turn<'a> {
    /// The author; results of tools are the user's.
    pub role: Role,
    /// Its parts.
    pub parts: Vec<Part<'a>>,
}

/// A part of a message.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Part<'a> {
    /// Text.
    Text(&'a str),
    /// An image.
    Image(Image<'a>),
    /// A tool call of the model.
    ToolCall {
        /// Its id.
        id: &'a str,
        /// The tool.
        name: &'a str,
        /// Its arguments as JSON.
        arguments: Cow<'a, str>,
    },
    /// The result of a tool call.
    ToolResult {
        /// The id of the call.
        id: &'a str,
        /// Texts and images.
        parts: Vec<Part<'a>>,
        /// Whether the tool failed.
        is_error: bool,
    },
    /// Reasoning. Only Anthropic accepts it, and only with a signature.
    Thinking {
        /// The text.
        text: Cow<'a, str>,
        /// Anthropic's signature.
        signature: &'a str,
    },
    /// Reasoning that Anthropic sent encrypted.
    RedactedThinking(&'a str),
    /// The end of a prefix to cache, which the part before is the last of.
    CacheBreakpoint(CacheMarks),
    /// The end of a message of the model, which another one of it follows.
    MessageEnd,
}

/// An image of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Image<'a> {
    /// At a public https address, which the provider loads.
    Url(&'a str),
    /// Within the request, in base64.
    Data {
        /// The media type.
        media_type: &'a str,
        /// The bytes in base64.
        data: &'a str,
    },
}

/// A tool that the caller offers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tool<'a> {
    /// Its name.
    pub name: &'a str,
    /// Description for the model.
    pub description: Option<&'a str>,
    /// The JSON schema of its arguments.
    pub parameters: Option<&'a Value>,
    /// Whether arguments must match the schema.
    pub strict: Option<bool>,
    /// How the prompt is to be cached up to here.
    pub cache: CacheMarks,
}

/// Which tool the model calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ToolChoice<'a> {
    /// Any or none.
    Auto,
    /// None.
    None,
    /// At least one.
    Required,
    /// This one.
    Named(&'a str),
}

/// The structure of the output.
#[derive(Clone, Copy, Debug)]
pub(crate) enum OutputFormat<'a> {
    /// Any JSON object.
    JsonObject,
    /// JSON of a schema.
    JsonSchema {
        /// The schema's name.
        name: &'a str,
        /// Description for the model.
        description: Option<&'a str>,
        /// The schema.
        schema: &'a Value,
        /// Whether the output must match it.
        strict: bool,
    },
}

impl<'a> Conversation<'a> {
    /// Appends parts of an author, to the last message if it is that author's.
    pub fn push(&mut self, role: Role, parts: Vec<Part<'a>>) {
        match self.turns.last_mut() {
            Some(last) if last.role == role => last.parts.extend(parts),
            _ => self.turns.push(Turn { role, parts }),
        }
    }

    /// Appends a message of the model. Its text is kept apart from that of a message before it.
    pub fn push_assistant(&mut self, parts: Vec<Part<'a>>) {
        if let Some(last) = self.turns.last_mut().filter(|last| last.role == Role::Assistant) {
            last.parts.push(Part::MessageEnd);
        }
        self.push(Role::Assistant, parts);
    }

    /// Returns the whole system prompt.
    pub fn system_text(&self) -> String {
        self.system.iter().map(|part| part.text).collect::<Vec<_>>().join("\n\n")
    }

    /// Returns the mark of each prefix to cache.
    pub fn breakpoints(&self) -> impl Iterator<Item = CacheMarks> {
        let tools = self.tools.iter().map(|tool| tool.cache);
        let system = self.system.iter().map(|text| text.cache);
        let parts = self.turns.iter().flat_map(|turn| &turn.parts).map(|part| match part {
            Part::CacheBreakpoint(marks) => *marks,
            _ => CacheMarks::None,
        });
        tools.chain(system).chain(parts).filter(|marks| *marks != CacheMarks::None)
    }

    /// Lists the images, also those in results of tools.
    pub fn images(&self) -> Vec<Image<'a>> {
        fn add<'a>(parts: &[Part<'a>], out: &mut Vec<Image<'a>>) {
            for part in parts {
                match part {
                    Part::Image(image) => out.push(*image),
                    Part::ToolResult { parts, .. } => add(parts, out),
                    _ => {}
                }
            }
        }
        let mut out = Vec::new();
        self.turns.iter().for_each(|turn| add(&turn.parts, &mut out));
        out
    }
}

/// Returns how a `cache_control` marks what it belongs to.
pub(crate) fn cache_marks(control: &Value) -> CacheMarks {
    match (control.is_object(), control.get("ttl")) {
        (false, _) => CacheMarks::None,
        (true, Some(ttl)) if *ttl != "5m" => CacheMarks::Long,
        (true, _) => CacheMarks::Short,
    }
}

/// Returns the breakpoint that an object with a `cache_control` is followed by.
pub(crate) fn breakpoint(object: &Value) -> Option<Part<'static>> {
    let marks = cache_marks(&object["cache_control"]);
    (marks != CacheMarks::None).then_some(Part::CacheBreakpoint(marks))
}
