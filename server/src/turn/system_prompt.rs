//! The system prompt of a turn: the deployment's own, followed by what the user has set.

use domain::{AnswerLength, ChatSettings, brand};

/// Returns the system prompt with a user's instructions for all of their conversations and the settings of one conversation. Both may be
/// empty. It is counted, reserved and sent as a whole.
pub(super) fn system_prompt(account_instructions: &str, conversation: &ChatSettings) -> String {
    let with_heading = |heading: &str, text: &str| match text.trim() {
        "" => None,
        text => Some(format!("{heading}\n{text}")),
    };
    let parts = [
        Some(brand::SYSTEM_PROMPT.trim().to_owned()).filter(|own| !own.is_empty()),
        with_heading("Instructions of the user for all conversations:", account_instructions),
        with_heading("Instructions of the user for this conversation:", &conversation.instructions),
        conversation.answer_length.map(AnswerLength::instruction).map(str::to_owned),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join("\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_follows_the_deployments_own_prompt() {
        let own = brand::SYSTEM_PROMPT.trim();
        assert_eq!(system_prompt(" \n", &ChatSettings::default()), own);
        let settings = ChatSettings {
            instructions: "Answer in French.\n".into(),
            answer_length: Some(AnswerLength::Short),
            ..ChatSettings::default()
        };
        let prompt = system_prompt("My name is Ann.", &settings);
        let expected = [
            own,
            "Instructions of the user for all conversations:\nMy name is Ann.",
            "Instructions of the user for this conversation:\nAnswer in French.",
            AnswerLength::Short.instruction(),
        ];
        assert_eq!(prompt, expected.join("\n\n"));
    }
}
