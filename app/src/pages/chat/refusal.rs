//! What a refusal says about the message that was refused.

/// The ways in which a problem's message says that the text was put back, without the first letter.
const RETURNED: [&str; 3] =
    ["our text is back in the message box", "our text is back in the box", "our message is back in the message box"];

/// Returns a refusal's message as it applies to this turn. The text of a refused message is put back into the message box, and the message
/// says so. Of a refused regeneration nothing is put back: the earlier response and its question are still shown.
pub(super) fn message(message: &str, is_regeneration: bool) -> String {
    if !is_regeneration {
        let says_so = message.contains(" box") || message.contains("draft is kept");
        return if says_so {
            message.to_owned()
        } else {
            format!("{message} Your message is back in the message box.")
        };
    }
    let kept = RETURNED.iter().fold(message.to_owned(), |message, returned| {
        let message = message.replace(&format!("Y{returned}"), "The earlier response is kept");
        message.replace(&format!("y{returned}"), "the earlier response is kept")
    });
    if kept.contains("earlier response is kept") { kept } else { format!("{kept} The earlier response is kept.") }
}

#[cfg(test)]
mod tests {
    use super::message;
    use domain::{Problem, Tokens};

    /// Field note 59: the card says where the user's text is, and it is there.
    #[test]
    fn refused_messages_say_where_the_text_is() {
        let of = |problem: Problem| message(&problem.message, false);
        for problem in [
            Problem::too_large(Tokens(9), Tokens(8), None),
            Problem::model_failed(),
            Problem::model_unavailable(1),
            Problem::limits_unavailable(),
            Problem::chat_paused(),
            Problem::stopped(),
        ] {
            let text = of(problem);
            let says = [" box", "draft is kept"].iter().filter(|words| text.contains(**words)).count();
            assert_eq!(says, 1, "{text}");
        }
    }

    #[test]
    fn refused_regenerations_promise_no_text() {
        for (text, expected) in [
            (
                "Nothing was sent, and your text is back in the message box.",
                "Nothing was sent, and the earlier response is kept.",
            ),
            (
                "Your text is back in the box; choose another model.",
                "The earlier response is kept; choose another model.",
            ),
            ("Try again in a minute.", "Try again in a minute. The earlier response is kept."),
        ] {
            assert_eq!(message(text, true), expected);
        }
        assert!(!message(&Problem::stopped().message, true).contains(" box"));
    }
}
