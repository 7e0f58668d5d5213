//! The files of a prompt, as models read them: the text of PDFs and text files as part of the message, and images in addition. `attach` loads them.

use super::image_memory::ImagePermit;
use domain::{MessageId, PromptImage, PromptMessage, Role};
use std::collections::HashMap;
use store::message::PromptMessage as PastMessage;

/// The files of a prompt.
#[derive(Default)]
pub(crate) struct Attached {
    /// The stored message whose files the question has: the one that is answered again, or of which it is another version; `None` for a new one.
    pub question_id: Option<MessageId>,
    /// What follows the text of the question: the texts of its files.
    pub question_text: String,
    /// Images of the question.
    pub question_images: Vec<PromptImage>,
    /// Images of earlier messages.
    pub past_images: HashMap<MessageId, Vec<PromptImage>>,
    /// The memory that the images take; `None` without images, or if only their sizes are known.
    pub image_permit: Option<ImagePermit>,
}

impl Attached {
    /// Returns the question as models read it.
    pub fn question(&self, text: &str) -> PromptMessage {
        let images = self.question_images.clone();
        PromptMessage { images, ..PromptMessage::text(Role::User, format!("{text}{}", self.question_text)) }
    }

    /// Returns an earlier message as models read it.
    pub fn past(&self, message: &PastMessage) -> PromptMessage {
        let images = self.past_images.get(&message.message_id).cloned().unwrap_or_default();
        PromptMessage { images, ..PromptMessage::text(message.role, message.text.as_str()) }
    }

    /// Returns the length of what the files add to the question.
    pub fn question_bytes(&self) -> usize {
        self.question_text.len()
    }
}
