//! The shape of a prompt that every provider accepts.

use domain::PromptMessage;

/// Removes messages without text or images and merges consecutive messages of one author, with an empty line between them. Some providers reject blank
/// messages, and some reject two messages of one author in a row.
#[must_use]
pub fn normalized(messages: Vec<PromptMessage>) -> Vec<PromptMessage> {
    let mut out: Vec<PromptMessage> = Vec::with_capacity(messages.len());
    for message in messages.into_iter().filter(|message| !message.text.trim().is_empty() || !message.images.is_empty())
    {
        match out.last_mut() {
            Some(last) if last.role == message.role => {
                if !last.text.is_empty() && !message.text.is_empty() {
                    last.text.push_str("\n\n");
                }
                last.text.push_str(&message.text);
                last.images.extend(message.images);
            }
            _ => out.push(message),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::Role;

    /// Field note 50: blank messages are never sent, and what they separated is merged.
    #[test]
    fn blank_messages_are_dropped_and_roles_alternate() {
        let message = |role, text: &str| PromptMessage::text(role, text);
        let messages = vec![
            message(Role::User, "first"),
            message(Role::Assistant, "\n\n"),
            message(Role::User, "second"),
            message(Role::Assistant, "answer"),
            message(Role::User, "third"),
        ];
        let expected =
            [message(Role::User, "first\n\nsecond"), message(Role::Assistant, "answer"), message(Role::User, "third")];
        assert_eq!(normalized(messages), expected);
    }
}
