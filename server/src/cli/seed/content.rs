//! The conversations of the demo company: questions and answers in Markdown.

/// A question and its answer.
pub(super) struct Exchange {
    pub question: &'static str,
    pub answer: &'static str,
}

const SHORT: &str = include_str!("short.md");
const LONG: [&str; 5] = [
    include_str!("lease.md"),
    include_str!("query.md"),
    include_str!("launch.md"),
    include_str!("formula.md"),
    include_str!("retry.md"),
];

/// Returns exchanges that each are a conversation of their own.
pub(super) fn short() -> Vec<Exchange> {
    exchanges(SHORT)
}

/// Returns longer conversations, the newest first.
pub(super) fn long() -> Vec<Vec<Exchange>> {
    LONG.map(exchanges).into()
}

/// Splits a file at the comments that name the author of what follows.
fn exchanges(text: &'static str) -> Vec<Exchange> {
    let parts = text.split("<!-- user -->\n").skip(1);
    let pairs = parts.filter_map(|part| part.split_once("<!-- assistant -->\n"));
    pairs.map(|(question, answer)| Exchange { question: question.trim(), answer: answer.trim() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_question_has_an_answer() {
        for text in LONG.into_iter().chain([SHORT]) {
            let found = exchanges(text);
            assert_eq!(found.len(), text.matches("<!-- user -->").count(), "{text}");
            assert!(found.iter().all(|exchange| !exchange.question.is_empty() && !exchange.answer.is_empty()));
            assert!(!found.is_empty());
        }
    }
}
