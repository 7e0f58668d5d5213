//! Counts a request's tokens, as an upper bound.

use super::conversation::{Conversation, OutputFormat, Part};
use super::images;
use crate::estimate;
use domain::{Model, Tokens};

/// Tokens that a format adds to a message and to each of its parts, at most.
const PER_PART: u64 = 4;
/// Tokens that are added once.
const ONCE: u64 = 7;
/// Tokens that a format adds to the definition of a tool, beyond its JSON.
const PER_TOOL: u64 = 16;
/// Tokens of the system prompt that a provider adds once tools are offered; 530 is the largest known
/// (<https://docs.anthropic.com/en/docs/agents-and-tools/tool-use/overview>).
const TOOLS: u64 = 600;
/// Tokens of the instruction that comes with a schema of the output.
const OUTPUT_FORMAT: u64 = 100;

/// The counts of a request, independent of the model.
#[derive(Clone, Debug, Default)]
pub(crate) struct Count {
    /// Tokens in the o200k vocabulary, with framing.
    pub text: u64,
    /// All texts, of which the share of each script matters.
    pub scripts: estimate::Scripts,
    /// The width and height of each image; `None` if they are unknown.
    pub images: Vec<Option<(u32, u32)>>,
}

impl Count {
    /// Counts a conversation.
    pub fn of(conversation: &Conversation<'_>) -> Self {
        let mut count = Self { text: ONCE, ..Self::default() };
        conversation.system.iter().for_each(|part| count.add(part.text));
        conversation.extra.iter().for_each(|text| count.add(text));
        conversation.stop.iter().for_each(|text| count.add(text));
        for turn in &conversation.turns {
            count.text += PER_PART;
            count.add_parts(&turn.parts);
        }
        for tool in &conversation.tools {
            count.text += PER_TOOL;
            count.add(tool.name);
            count.add(tool.description.unwrap_or_default());
            count.add(&tool.parameters.map(ToString::to_string).unwrap_or_default());
        }
        let calls_tools =
            || conversation.turns.iter().flat_map(|turn| &turn.parts).any(|part| matches!(part, Part::ToolCall { .. }));
        if !conversation.tools.is_empty() || calls_tools() {
            count.text += TOOLS;
        }
        match &conversation.output {
            Some(OutputFormat::JsonSchema { name, description, schema, .. }) => {
                count.text += OUTPUT_FORMAT;
                count.add(name);
                count.add(description.unwrap_or_default());
                count.add(&schema.to_string());
            }
            Some(OutputFormat::JsonObject) => count.text += OUTPUT_FORMAT,
            None => {}
        }
        count.images = conversation.images().into_iter().map(images::size).collect();
        count
    }

    fn add_parts(&mut self, parts: &[Part<'_>]) {
        for part in parts {
            match part {
                Part::Text(text) | Part::RedactedThinking(text) => self.add(text),
                Part::Image(_) => self.text += PER_PART,
                Part::ToolCall { id, name, arguments } => {
                    [*id, *name, arguments.as_ref()].into_iter().for_each(|text| self.add(text));
                }
                Part::ToolResult { id, parts, .. } => {
                    self.add(id);
                    self.add_parts(parts);
                }
                // The signature holds the reasoning that the text only summarizes.
                Part::Thinking { text, signature } => {
                    [text.as_ref(), *signature].into_iter().for_each(|text| self.add(text))
                }
                Part::CacheBreakpoint(_) => {}
                Part::MessageEnd => self.text += PER_PART,
            }
        }
    }

    fn add(&mut self, text: &str) {
        if !text.is_empty() {
            self.text = self.text.saturating_add(estimate::text(text).0).saturating_add(PER_PART);
            self.scripts.add(text);
        }
    }

    /// Returns the estimate for a model.
    pub fn estimate(&self, model: &Model) -> estimate::Estimate {
        let image = |size: &Option<(u32, u32)>| match size {
            Some((width, height)) => estimate::image(model, *width, *height),
            None => estimate::max_image(model),
        };
        let images: Tokens = self.images.iter().map(image).sum();
        let text = estimate::of_scripts(model, Tokens(self.text), &self.scripts);
        estimate::Estimate { counted: text.counted + images, estimated: text.estimated + images }
    }
}
